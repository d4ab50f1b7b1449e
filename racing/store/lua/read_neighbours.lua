#!lua
-- Who stands around a runner.
-- KEYS: 1 standings (sorted set)
-- ARGV: 1 member  2 how many on each side
-- Reply: {} where it is not there; else {rank of the first from 0, member, score as text, member, score, ...}
-- Cost: O(log n + members given). Bound: the caller asks for at most 10.
local rank = redis.call('ZRANK', KEYS[1], ARGV[1])
if not rank then
  return {}
end
local first = math.max(rank - ARGV[2], 0)
local reply = redis.call('ZRANGE', KEYS[1], first, rank + ARGV[2], 'WITHSCORES')
table.insert(reply, 1, first)
return reply
