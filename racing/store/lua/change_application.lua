#!lua
-- Replace an application, unless it has moved on since it was read.
-- KEYS: 1 applications (hash)
-- ARGV: 1 id  2 application as it was read (JSON)  3 to be
-- Reply: 1 when changed; 0 when it is another one by now, or there is none
-- Cost: O(1). Bound: one field.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
