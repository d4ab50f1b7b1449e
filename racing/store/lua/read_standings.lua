#!lua
-- What the sorted sets say of some runners, with the commit that they are of: all at one moment.
-- KEYS: 1 commit (string)  2 held (string)  3 standings (sorted set)  4... sums (sorted sets)
-- ARGV: members, each a zero-padded runner number
-- Reply: {commit or '', held or '', runners in the standings, ranks from 0, scores, how many are better, sums of
--   KEYS[4], sums of KEYS[5], ...}: each a list with one element for each member, false where it is in no such set;
--   scores and sums are text, as ZMSCORE has them
-- Cost: O(members * log n + members * sets). Bound: the caller passes at most 100.
local commit, held = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
local scores = redis.call('ZMSCORE', KEYS[3], unpack(ARGV))
local ranks, better = {}, {}
for i = 1, #ARGV do
  ranks[i] = redis.call('ZRANK', KEYS[3], ARGV[i])
  better[i] = scores[i] and redis.call('ZCOUNT', KEYS[3], '-inf', '(' .. scores[i])
end
local reply = {commit or '', held or '', redis.call('ZCARD', KEYS[3]), ranks, scores, better}
for i = 4, #KEYS do
  reply[i + 3] = redis.call('ZMSCORE', KEYS[i], unpack(ARGV))
end
return reply
