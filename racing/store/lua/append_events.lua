#!lua
-- Append one event batch to the log, once for an idempotency key, if its runner numbers are of the table that stands.
-- KEYS: 1 log (stream)  2 tail (string)  3 idempotency key (hash)  4 roll (string)
-- ARGV: 1 packed batch  2 digest of the request body (hex)  3 time to keep the answer (ms)  4 answer (JSON)
--       5 highest number of the table of enrolments  6 digest up to it ('' for none: not checked)
-- Reply: {1, entry id} when appended; {0, stored digest, stored entry id, stored answer} when known;
--        {2} when the table is another one
-- A known key is written again as it is: a sync or a WAIT after this write covers the entry of that time as well.
-- Cost: O(bytes). Bound: one entry, one hash that expires.
local known = redis.call('HMGET', KEYS[3], 'digest', 'entry', 'answer')
if known[1] then
  redis.call('HSET', KEYS[3], 'digest', known[1])
  return {0, known[1], known[2], known[3]}
end
local from = ARGV[5] * 16
if ARGV[6] ~= '' and redis.call('GETRANGE', KEYS[4], from, from + 15) ~= ARGV[6] then
  return {2}
end
local entry = redis.call('XADD', KEYS[1], '*', 'events', ARGV[1], 'after', redis.call('GET', KEYS[2]) or '')
redis.call('SET', KEYS[2], entry)
redis.call('HSET', KEYS[3], 'digest', ARGV[2], 'entry', entry, 'answer', ARGV[4])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return {1, entry}
