#!lua
-- Replace the data of some runners and log the change, unless one has moved on since it was read.
-- The history of one that goes to another merchant is no longer kept on request: only its former one could end that.
-- A runner's JSON begins with its product and its merchant, both ids, which hold no quotes.
-- KEYS: 1 products (hash)  2 runners (hash)  3 log (stream)  4 decisions (stream)  5 merchants (sorted set)
--   6 tail (string)  7 watched (sorted set)
-- ARGV: 1 author (JSON)  2 decision (JSON)  then of each runner: product, runner JSON as it was read, to be
-- Reply: {1, entry id} when changed; {0, product} of the first that is another one by now, or there is none
-- Cost: O(runners). Bound: one entry, one decision; the caller passes at most 1,000.
local numbers, logged = {}, {}
local function owned(json, number)
  return (string.match(json, '"merchant":"([^"]*)"') or '') .. ':' .. string.format('%010d', number)
end
for i = 3, #ARGV, 3 do
  local number = redis.call('HGET', KEYS[1], ARGV[i])
  if not number or redis.call('HGET', KEYS[2], number) ~= ARGV[i + 1] then
    return {0, ARGV[i]}
  end
  numbers[#numbers + 1] = number
  logged[#logged + 1] = '[' .. number .. ',' .. ARGV[i + 2] .. ']'
end
for i, number in ipairs(numbers) do
  local before, after = owned(ARGV[3 * i + 1], number), owned(ARGV[3 * i + 2], number)
  if before ~= after then
    redis.call('ZREM', KEYS[5], before)
    redis.call('ZADD', KEYS[5], 0, after)
    redis.call('ZREM', KEYS[7], before)
  end
  redis.call('HSET', KEYS[2], number, ARGV[3 * i + 2])
end
local entry = '{"type":"enrol","format":2,"author":' .. ARGV[1] .. ',"runners":[' .. table.concat(logged, ',') .. ']}'
local before = redis.call('GET', KEYS[6]) or ''
local id = redis.call('XADD', KEYS[3], '*', 'decision', entry, 'sum', redis.sha1hex(entry), 'after', before)
redis.call('SET', KEYS[6], id)
redis.call('XADD', KEYS[4], id, 'decision', ARGV[2])
return {1, id}
