#!lua
-- Give each new product the next runner number, keep every runner's data, and log what changed as one entry.
-- The roll holds 16 hex characters for each number: the digest of all products up to it.
-- A runner's JSON begins with its product and its merchant, both ids, which hold no quotes.
-- KEYS: 1 products (hash)  2 runners (hash)  3 log (stream)  4 roll (string)  5 decisions (stream)
--   6 merchants (sorted set)  7 tail (string)  8 watched (sorted set)
-- ARGV: 1 author (JSON), then product, runner JSON, product, runner JSON, ... (each product once)
-- Reply: {entry id or '', number, state, number, state, ...}; state: 0 unchanged, 1 new, 2 changed
-- Cost: O(products), and once O(all) where a roll is missing. Bound: the caller passes at most 1,000.
local reply, writes, logged, rolled, told = {''}, {}, {}, {}, {}
local next_number = redis.call('HLEN', KEYS[1])
local from = math.min(math.floor(redis.call('STRLEN', KEYS[4]) / 16), next_number)
local digest = from > 0 and redis.call('GETRANGE', KEYS[4], from * 16 - 16, from * 16 - 1) or ''
local function bare(document)
  return (string.gsub(document, ',"sum":"%x+"}$', '}'))
end
local function roll(product)
  digest = string.sub(redis.sha1hex(digest .. ' ' .. product), 1, 16)
  rolled[#rolled + 1] = digest
end
local function owned(json, number)
  return (string.match(json, '"merchant":"([^"]*)"') or '') .. ':' .. string.format('%010d', number)
end
for number = from, next_number - 1 do
  local read, runner = pcall(cjson.decode, redis.call('HGET', KEYS[2], string.format('%d', number)) or '')
  roll(read and type(runner) == 'table' and tostring(runner.product) or '')
end
for i = 2, #ARGV, 2 do
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  local number, state, before = known, 0, 'null'
  if not known then
    number, state = string.format('%d', next_number), 1
    next_number = next_number + 1
    roll(ARGV[i])
  else
    before = redis.call('HGET', KEYS[2], known) or 'null'
    state = before == ARGV[i + 1] and 0 or 2
    if state == 2 and owned(before, known) ~= owned(ARGV[i + 1], known) then
      redis.call('ZREM', KEYS[6], owned(before, known))
      redis.call('ZREM', KEYS[8], owned(before, known)) -- only its former merchant could end that
    end
  end
  if state > 0 then
    writes[#writes + 1] = {ARGV[i], number, ARGV[i + 1]}
    logged[#logged + 1] = '[' .. number .. ',' .. ARGV[i + 1] .. ']'
    told[#told + 1] = '{"from":' .. bare(before) .. ',"to":' .. bare(ARGV[i + 1]) .. '}'
  end
  reply[#reply + 1] = number
  reply[#reply + 1] = state
end
if #rolled > 0 then
  redis.call('SETRANGE', KEYS[4], from * 16, table.concat(rolled))
end
if #writes > 0 then
  for _, write in ipairs(writes) do
    redis.call('HSET', KEYS[1], write[1], write[2])
    redis.call('HSET', KEYS[2], write[2], write[3])
    redis.call('ZADD', KEYS[6], 0, owned(write[3], write[2]))
  end
  local entry = '{"type":"enrol","format":2,"author":' .. ARGV[1] .. ',"runners":[' .. table.concat(logged, ',') .. ']}'
  local after = redis.call('GET', KEYS[7]) or ''
  reply[1] = redis.call('XADD', KEYS[3], '*', 'decision', entry, 'sum', redis.sha1hex(entry), 'after', after)
  redis.call('SET', KEYS[7], reply[1])
  local decision = '{"who":' .. ARGV[1] .. ',"what":"enrol","changes":[' .. table.concat(told, ',') .. ']}'
  redis.call('XADD', KEYS[5], reply[1], 'decision', decision)
end
return reply
