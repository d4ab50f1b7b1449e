#!lua
-- What the sorted sets say of some runners, with the commit that they are of: all at one moment.
-- KEYS: 1 commit (string)  2 held (string)  3 standings (sorted set)  4... sums (sorted sets): of each measure total,
--   window and delta; who has no total has neither of the others
-- ARGV: 1 members, each a zero-padded runner number of ten digits, one after the other
-- Reply: {commit or '', held or '', runners in the standings, ranks from 0, scores, how many are better, then of each
--   measure totals of all, and windows and deltas of those that have one}: each a text of numbers parted by commas; of
--   one that is in no such set a rank of -1, null for a total, 0 else. (A text is read ten times as fast as a list.)
-- Cost: O(members * log n + members * sets). Bound: the caller passes at most 200.
local members = {}
for at = 1, #ARGV[1], 10 do
  members[#members + 1] = string.sub(ARGV[1], at, at + 9)
end
local function read(i, some, absent)
  local found, there = #some > 0 and redis.call('ZMSCORE', KEYS[i], unpack(some)) or {}, {}
  for at = 1, #some do
    if found[at] then
      there[#there + 1] = some[at]
    else
      found[at] = absent
    end
  end
  return found, there
end
local scores = read(3, members, false)
local ranks, better, known = {}, {}, {}
for i = 1, #members do
  local score = scores[i]
  if score then
    ranks[i] = redis.call('ZRANK', KEYS[3], members[i])
    known[score] = known[score] or redis.call('ZCOUNT', KEYS[3], '-inf', '(' .. score)
    better[i] = known[score]
  else
    scores[i], ranks[i], better[i] = '0', -1, 0
  end
end
local commit, held = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
local reply = {commit or '', held or '', redis.call('ZCARD', KEYS[3])}
reply[4], reply[5], reply[6] = table.concat(ranks, ','), table.concat(scores, ','), table.concat(better, ',')
for i = 4, #KEYS, 3 do
  local totals, there = read(i, members, 'null')
  reply[i + 3] = table.concat(totals, ',')
  reply[i + 4] = table.concat(read(i + 1, there, '0'), ',')
  reply[i + 5] = table.concat(read(i + 2, there, '0'), ',')
end
return reply
