#!lua
-- Have the standings of a runner kept until a moment, wherever it stands, unless too many are.
-- KEYS: 1 watched (sorted set)
-- ARGV: 1 merchant  2 member: merchant:runner number, zero-padded to ten digits  3 until (ms)  4 now (ms)
--   5 most of a merchant  6 most of the venue
-- Reply: 1 when it is; 0 when there are too many of the merchant, -1 of the venue
-- Cost: O(members). Bound: as ARGV[6].
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[4])
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then
  local all, own = redis.call('ZRANGE', KEYS[1], 0, -1), 0
  for i = 1, #all do
    if string.sub(all[i], 1, -12) == ARGV[1] then
      own = own + 1
    end
  end
  if own >= tonumber(ARGV[5]) then
    return 0
  end
  if #all >= tonumber(ARGV[6]) then
    return -1
  end
end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
return 1
