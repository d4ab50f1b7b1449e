#!lua
-- The places of some runners in the standings.
-- KEYS: 1 standings (sorted set)
-- ARGV: 1 members, each a zero-padded runner number of ten digits, one after the other
-- Reply: ranks from 0; -1 of one that is not there
-- Cost: O(members * log n). Bound: the caller passes at most 250.
local ranks = {}
for at = 1, #ARGV[1], 10 do
  ranks[#ranks + 1] = redis.call('ZRANK', KEYS[1], string.sub(ARGV[1], at, at + 9)) or -1
end
return ranks
