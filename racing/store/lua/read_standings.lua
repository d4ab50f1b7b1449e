#!lua
-- What the sorted sets say of some runners, with the commit that they are of: all at one moment.
-- KEYS: 1 commit (string)  2 held (string)  3 standings (sorted set)  4... sums (sorted sets)
-- ARGV: 1 members, each a zero-padded runner number of ten digits, one after the other
-- Reply: {commit or '', held or '', runners in the standings, ranks from 0, scores, how many are better, then of each
--   set of sums its scores}: each a text of numbers parted by commas, which is read ten times as fast as a list; of one
--   that is in no such set a rank of -1, else 0
-- Cost: O(members * log n + members * sets). Bound: the caller passes at most 200.
local members = {}
for at = 1, #ARGV[1], 10 do
  members[#members + 1] = string.sub(ARGV[1], at, at + 9)
end
local function joined(numbers)
  local whole, text = pcall(table.concat, numbers, ',')
  if whole then
    return text -- as most are: to look at each would cost half as much again as to read them
  end
  for i = 1, #members do
    numbers[i] = numbers[i] or '0'
  end
  return table.concat(numbers, ',')
end
local scores = redis.call('ZMSCORE', KEYS[3], unpack(members))
local ranks, better, known = {}, {}, {}
for i = 1, #members do
  local score = scores[i]
  if score then
    ranks[i] = redis.call('ZRANK', KEYS[3], members[i])
    known[score] = known[score] or redis.call('ZCOUNT', KEYS[3], '-inf', '(' .. score)
    better[i] = known[score]
  else
    ranks[i], better[i] = -1, 0
  end
end
local commit, held = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
local reply = {commit or '', held or '', redis.call('ZCARD', KEYS[3]), joined(ranks), joined(scores), joined(better)}
for i = 4, #KEYS do
  reply[i + 3] = joined(redis.call('ZMSCORE', KEYS[i], unpack(members)))
end
return reply
