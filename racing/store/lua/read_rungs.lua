#!lua
-- Who stands at some places of the standings.
-- KEYS: 1 standings (sorted set)
-- ARGV: ranks from 0
-- Reply: members, false where nobody stands
-- Cost: O(ranks * log n). Bound: the caller passes at most 100.
local found = {}
for i = 1, #ARGV do
  found[i] = redis.call('ZRANGE', KEYS[1], ARGV[i], ARGV[i])[1] or false
end
return found
