#!lua
-- Keep a plan, or drop it, and log that, unless it has moved on since it was read.
-- KEYS: 1 plans (hash)  2 log (stream)  3 decisions (stream)  4 tail (string)
-- ARGV: 1 id  2 what was kept, as read ('' for none)  3 what to keep (JSON; '' to drop it)  4 decision (JSON)
-- Reply: {1, entry id} when done; {0} when it is another by now
-- Cost: O(bytes). Bound: one field, one entry, one decision.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then
  return {0}
end
local after = redis.call('GET', KEYS[4]) or ''
local entry = redis.call('XADD', KEYS[2], '*', 'tick', '1', 'told', ARGV[4], 'after', after)
redis.call('SET', KEYS[4], entry)
redis.call('XADD', KEYS[3], entry, 'decision', ARGV[4])
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return {1, entry}
