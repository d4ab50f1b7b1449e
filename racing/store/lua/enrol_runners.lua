#!lua
-- Give each new product the next runner number, keep every runner's data, and log what changed as one entry.
-- KEYS: 1 products (hash)  2 runners (hash)  3 log (stream)
-- ARGV: product, runner JSON, product, runner JSON, ... (each product once)
-- Reply: {entry id or '', number, state, number, state, ...}; state: 0 unchanged, 1 new, 2 changed
-- Cost: O(products). Bound: as many as are passed; the caller passes at most 1,000.
local reply, writes, logged = {''}, {}, {}
local next_number = redis.call('HLEN', KEYS[1])
for i = 1, #ARGV, 2 do
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  local number, state = known, 0
  if not known then
    number, state = string.format('%d', next_number), 1
    next_number = next_number + 1
  elseif redis.call('HGET', KEYS[2], known) ~= ARGV[i + 1] then
    state = 2
  end
  if state > 0 then
    writes[#writes + 1] = {ARGV[i], number, ARGV[i + 1]}
    logged[#logged + 1] = '[' .. number .. ',' .. ARGV[i + 1] .. ']'
  end
  reply[#reply + 1] = number
  reply[#reply + 1] = state
end
if #writes > 0 then
  for _, write in ipairs(writes) do
    redis.call('HSET', KEYS[1], write[1], write[2])
    redis.call('HSET', KEYS[2], write[2], write[3])
  end
  local entry = '{"type":"enrol","format":1,"runners":[' .. table.concat(logged, ',') .. ']}'
  reply[1] = redis.call('XADD', KEYS[3], '*', 'decision', entry)
end
return reply
