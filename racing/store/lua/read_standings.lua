#!lua
-- What the sorted sets say of some runners, with the commit that they are of: all at one moment.
-- KEYS: 1 commit (string)  2 held (string)  3 standings (sorted set)  4... sums (sorted sets)
-- ARGV: members, each a zero-padded runner number of ten digits, one after the other; at most 100 in an argument, for the
--   server's allocator is slower with more of them in a call
-- Reply: {commit or '', held or '', runners in the standings, ranks from 0, how many are better, scores, then of each
--   set of sums its scores}. Ranks and better are lists, for Lua writes whole numbers slowly; scores are texts of numbers
--   parted by commas, which are read ten times as fast as lists. Of one that is in no such set a rank of -1, else 0
-- Cost: O(members * log n + members * sets). Bound: the caller passes at most 200.
local ranks, better, known, texts = {}, {}, {}, {}
local function place(members, scores)
  for i = 1, #members do
    local rank, score = redis.call('ZRANK', KEYS[3], members[i]), scores[i]
    if rank then
      known[score] = known[score] or redis.call('ZCOUNT', KEYS[3], '-inf', '(' .. score)
    end
    ranks[#ranks + 1], better[#better + 1] = rank or -1, rank and known[score] or 0
  end
end
for part = 1, #ARGV do
  local members = {}
  for at = 1, #ARGV[part], 10 do
    members[#members + 1] = string.sub(ARGV[part], at, at + 9)
  end
  for i = 3, #KEYS do
    local scores = redis.call('ZMSCORE', KEYS[i], unpack(members))
    for j = 1, #members do
      scores[j] = scores[j] or '0'
    end
    if i == 3 then
      place(members, scores)
    end
    texts[i] = (part > 1 and texts[i] .. ',' or '') .. table.concat(scores, ',')
  end
end
local commit, held = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
return {commit or '', held or '', redis.call('ZCARD', KEYS[3]), ranks, better, unpack(texts, 3, #KEYS)}
