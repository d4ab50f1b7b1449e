#!lua
-- Replace a venue's own data, unless it has moved on since it was read.
-- KEYS: 1 venues (hash)
-- ARGV: 1 venue  2 JSON as it was read  3 JSON to be
-- Reply: 1 when replaced, 0 when it is another by now, or there is none
-- Cost: O(1). Bound: one field.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
