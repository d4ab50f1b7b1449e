#!lua
-- Replace the data of some runners and log the change, unless one has moved on since it was read.
-- KEYS: 1 products (hash)  2 runners (hash)  3 log (stream)  4 decisions (stream)
-- ARGV: 1 author (JSON)  2 decision (JSON)  then of each runner: product, runner JSON as it was read, to be
-- Reply: {1, entry id} when changed; {0, product} of the first that is another one by now, or there is none
-- Cost: O(runners). Bound: one entry, one decision; the caller passes at most 1,000.
local numbers, logged = {}, {}
for i = 3, #ARGV, 3 do
  local number = redis.call('HGET', KEYS[1], ARGV[i])
  if not number or redis.call('HGET', KEYS[2], number) ~= ARGV[i + 1] then
    return {0, ARGV[i]}
  end
  numbers[#numbers + 1] = number
  logged[#logged + 1] = '[' .. number .. ',' .. ARGV[i + 2] .. ']'
end
for i, number in ipairs(numbers) do
  redis.call('HSET', KEYS[2], number, ARGV[3 * i + 2])
end
local entry = '{"type":"enrol","format":2,"author":' .. ARGV[1] .. ',"runners":[' .. table.concat(logged, ',') .. ']}'
local id = redis.call('XADD', KEYS[3], '*', 'decision', entry, 'sum', redis.sha1hex(entry))
redis.call('XADD', KEYS[4], id, 'decision', ARGV[2])
return {1, id}
