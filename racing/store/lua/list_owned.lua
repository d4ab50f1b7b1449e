#!lua
-- The runners of a merchant, in order of enrolment, and whether the sorted set of merchants is whole.
-- KEYS: 1 merchants (sorted set)  2 runners (hash)
-- ARGV: 1 low  2 high, as ZRANGEBYLEX has them  3 at most so many
-- Reply: {members of the set, runners of the venue, member, member, ...}
-- Cost: O(log n + members given). Bound: the caller asks for at most 10,001.
local found = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
local reply = {redis.call('ZCARD', KEYS[1]), redis.call('HLEN', KEYS[2])}
for i = 1, #found do
  reply[i + 2] = found[i]
end
return reply
