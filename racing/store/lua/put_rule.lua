#!lua
-- Make a rule version current and log it, if the version before it is still the current one.
-- KEYS: 1 rules (hash)  2 log (stream)  3 tail (string)  4 decisions (stream)
-- ARGV: 1 version that must be current ('0' for none)  2 new version, never given before
--       3 version document (JSON)  4 log entry (JSON)  5 decision (JSON)
-- Reply: {1, entry id} when made; {0, current version} when another one has come
-- Cost: O(1). Bound: one field, one entry, one decision.
local current = redis.call('HGET', KEYS[1], 'current') or '0'
if current ~= ARGV[1] or redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1 then
  return {0, current}
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3], 'current', ARGV[2], 'highest', ARGV[2])
local after = redis.call('GET', KEYS[3]) or ''
local entry = redis.call('XADD', KEYS[2], '*', 'decision', ARGV[4], 'sum', redis.sha1hex(ARGV[4]), 'after', after)
redis.call('SET', KEYS[3], entry)
redis.call('XADD', KEYS[4], entry, 'decision', ARGV[5])
return {1, entry}
