#!lua
-- Log a decision that the race itself knows nothing of, as a tick that carries it.
-- KEYS: 1 log (stream)  2 decisions (stream)  3 tail (string)
-- ARGV: 1 decision (JSON)
-- Reply: entry id
-- Cost: O(bytes). Bound: one entry, one decision.
local after = redis.call('GET', KEYS[3]) or ''
local entry = redis.call('XADD', KEYS[1], '*', 'tick', '1', 'told', ARGV[1], 'after', after)
redis.call('SET', KEYS[3], entry)
redis.call('XADD', KEYS[2], entry, 'decision', ARGV[1])
return entry
