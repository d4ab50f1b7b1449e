#!lua
-- Keep an application, unless too many of its venue are kept, or there is one of its id.
-- KEYS: 1 applications (hash)  2 applied (hash)
-- ARGV: 1 id  2 application (JSON)  3 its products (JSON)  4 most that are kept
-- Reply: 1 when kept, or kept before; 0 when there are too many
-- Cost: O(1). Bound: as ARGV[4].
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  return 1
end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return 1
