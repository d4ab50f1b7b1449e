#!lua
-- Give a field of a hash another value, unless it has moved on since it was read.
-- KEYS: 1 hash
-- ARGV: 1 field  2 value as it was read ('' for none)  3 value to be ('' for none)
-- Reply: 1 when it was given, 0 when it has moved on
-- Cost: O(1). Bound: one field.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then
  return 0
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
