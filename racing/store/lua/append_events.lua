#!lua
-- Append one event batch to the log, once for an idempotency key, if its runner numbers are of the table that stands.
-- KEYS: 1 log (stream)  2 tail (string)  3 answers (hash)  4 answers of before (hash)  5 roll (string)
-- ARGV: 1 packed batch  2 idempotency key  3 digest of the request body (hex)  4 answer (JSON)
--       5 highest number of the table of enrolments  6 digest up to it ('' for none: not checked)
-- Reply: {1, entry id} when appended; {0, what is kept: "digest entry-id answer"} when known;
--        {2} when the table is another one
-- A known key is written again as it is: a sync or a WAIT after this write covers the entry of that time as well.
-- Cost: O(bytes). Bound: one entry, one field.
for i = 3, 4 do
  local known = redis.call('HGET', KEYS[i], ARGV[2])
  if known then
    redis.call('HSET', KEYS[i], ARGV[2], known)
    return {0, known}
  end
end
local from = ARGV[5] * 16
if ARGV[6] ~= '' and redis.call('GETRANGE', KEYS[5], from, from + 15) ~= ARGV[6] then
  return {2}
end
local entry = redis.call('XADD', KEYS[1], '*', 'events', ARGV[1], 'after', redis.call('GET', KEYS[2]) or '')
redis.call('SET', KEYS[2], entry)
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3] .. ' ' .. entry .. ' ' .. ARGV[4])
return {1, entry}
