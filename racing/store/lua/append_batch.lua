#!lua
-- Append one event batch to the log, if its runner numbers are of the table of enrolments that stands.
-- KEYS: 1 log (stream)  2 tail (string)  3 roll (string)
-- ARGV: 1 packed batch  2 highest number of the table  3 digest up to it ('' for none: not checked)
-- Reply: entry id when appended; 0 when the table is another one
-- Cost: O(bytes). Bound: one entry.
local from = ARGV[2] * 16
if ARGV[3] ~= '' and redis.call('GETRANGE', KEYS[3], from, from + 15) ~= ARGV[3] then
  return 0
end
local entry = redis.call('XADD', KEYS[1], '*', 'events', ARGV[1], 'after', redis.call('GET', KEYS[2]) or '')
redis.call('SET', KEYS[2], entry)
return entry
