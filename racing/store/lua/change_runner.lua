#!lua
-- Replace a runner's data and log the change, unless it has moved on since it was read.
-- KEYS: 1 products (hash)  2 runners (hash)  3 log (stream)  4 tail (string)
-- ARGV: 1 product  2 runner JSON as it was read  3 runner JSON to be
-- Reply: {1, entry id} when changed; {0} when it is another one by now, or there is none
-- Cost: O(1). Bound: one field, one entry.
local number = redis.call('HGET', KEYS[1], ARGV[1])
if not number or redis.call('HGET', KEYS[2], number) ~= ARGV[2] then
  return {0}
end
redis.call('HSET', KEYS[2], number, ARGV[3])
local said = '{"type":"enrol","format":1,"runners":[[' .. number .. ',' .. ARGV[3] .. ']]}'
local after = redis.call('GET', KEYS[4]) or ''
local entry = redis.call('XADD', KEYS[3], '*', 'decision', said, 'sum', redis.sha1hex(said), 'after', after)
redis.call('SET', KEYS[4], entry)
return {1, entry}
