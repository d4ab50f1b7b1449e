#!lua
-- Log again what damaged entries said of orders, if their hash still stands as it was read.
-- KEYS: 1 orders (hash)  2 log (stream)
-- ARGV: 1 entry that changed orders last, as read ('' for none)  2 log entry (JSON)
-- Reply: 1 when logged, 0 when the orders have moved on: the log has it all then
-- Cost: O(bytes). Bound: one entry.
if (redis.call('HGET', KEYS[1], '@last') or '') ~= ARGV[1] then
  return 0
end
redis.call('XADD', KEYS[2], '*', 'decision', ARGV[2], 'sum', redis.sha1hex(ARGV[2]))
return 1
