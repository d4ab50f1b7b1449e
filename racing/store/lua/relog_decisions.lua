#!lua
-- Log again what damaged entries said: the data of some runners, and the current rule, as their hashes have it.
-- KEYS: 1 log (stream)  2 tail (string)  3 runners (hash)  4 rules (hash)
-- ARGV: 1 rule version that the race holds, '' to leave the rule alone  2... numbers of runners
-- Reply: {runners logged, 1 if the rule was logged else 0}
-- Cost: O(runners). Bound: as many as are passed; the caller passes at most 1,000.
local function log(said)
  local after = redis.call('GET', KEYS[2]) or ''
  local entry = redis.call('XADD', KEYS[1], '*', 'decision', said, 'sum', redis.sha1hex(said), 'after', after)
  redis.call('SET', KEYS[2], entry)
end
local logged = {}
for i = 2, #ARGV do
  local runner = redis.call('HGET', KEYS[3], ARGV[i])
  if runner then
    logged[#logged + 1] = '[' .. ARGV[i] .. ',' .. runner .. ']'
  end
end
if #logged > 0 then
  log('{"type":"enrol","format":2,"runners":[' .. table.concat(logged, ',') .. ']}')
end
local current = ARGV[1] ~= '' and redis.call('HGET', KEYS[4], 'current')
local document = current and current ~= ARGV[1] and redis.call('HGET', KEYS[4], current)
if document then
  log('{"type":"rule","format":2,' .. string.sub(document, 2))
  return {#logged, 1}
end
return {#logged, 0}
