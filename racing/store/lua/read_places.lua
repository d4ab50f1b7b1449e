#!lua
-- The places of some runners in the standings.
-- KEYS: 1 standings (sorted set)
-- ARGV: members, each a zero-padded runner number
-- Reply: ranks from 0, false for one that is not there
-- Cost: O(members * log n). Bound: the caller passes at most 250.
local ranks = {}
for i = 1, #ARGV do
  ranks[i] = redis.call('ZRANK', KEYS[1], ARGV[i])
end
return ranks
