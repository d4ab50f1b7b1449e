#!lua
-- Log again orders of the desk that damaged entries said, unless orders have been changed since they were read.
-- KEYS: 1 orders (hash)  2 log (stream)  3 tail (string)
-- ARGV: 1 entry that changed orders last, as read ('' for none)  2 log entry of orders
-- Reply: 1 when logged, 0 when something has moved on
-- Cost: O(1). Bound: one entry.
if (redis.call('HGET', KEYS[1], '@last') or '') ~= ARGV[1] then
  return 0
end
local after = redis.call('GET', KEYS[3]) or ''
local entry = redis.call('XADD', KEYS[2], '*', 'decision', ARGV[2], 'sum', redis.sha1hex(ARGV[2]), 'after', after)
redis.call('SET', KEYS[3], entry)
return 1
