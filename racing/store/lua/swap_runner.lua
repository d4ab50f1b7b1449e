#!lua
-- Put another product under a runner's number and log it, unless either has moved on since it was read.
-- The roll's digests from that number on become others: tables of numbers that API processes hold are void with it, and
-- no batch that was made from one is appended.
-- The history of the one that goes is no longer kept on request: whoever asked for it has that runner no more.
-- A runner's JSON begins with its product and its merchant, both ids, which hold no quotes.
-- KEYS: 1 products (hash)  2 runners (hash)  3 log (stream)  4 roll (string)  5 decisions (stream)
--   6 merchants (sorted set)  7 tail (string)  8 watched (sorted set)
-- ARGV: 1 author (JSON)  2 decision (JSON)  3 product that goes  4 its runner JSON as it was read
--       5 product that comes  6 its runner JSON
-- Reply: {1, entry id} when swapped; {0} when the one that goes is another by now; {2} when the other is enrolled
-- Cost: O(runners enrolled after it), about 1 us each. Bound: one entry, one decision.
local function owned(json, number)
  return (string.match(json, '"merchant":"([^"]*)"') or '') .. ':' .. string.format('%010d', number)
end
local number = redis.call('HGET', KEYS[1], ARGV[3])
if not number or redis.call('HGET', KEYS[2], number) ~= ARGV[4] then
  return {0}
end
if redis.call('HEXISTS', KEYS[1], ARGV[5]) == 1 then
  return {2}
end
local from, rolled = tonumber(number) * 16, {}
local old = redis.call('GETRANGE', KEYS[4], from, -1)
for i = 1, #old - 15, 16 do
  rolled[#rolled + 1] = string.sub(redis.sha1hex(string.sub(old, i, i + 15) .. ' ' .. ARGV[5]), 1, 16)
end
if #rolled > 0 then
  redis.call('SETRANGE', KEYS[4], from, table.concat(rolled))
end
redis.call('HDEL', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[1], ARGV[5], number)
redis.call('HSET', KEYS[2], number, ARGV[6])
redis.call('ZREM', KEYS[6], owned(ARGV[4], number))
redis.call('ZREM', KEYS[8], owned(ARGV[4], number))
redis.call('ZADD', KEYS[6], 0, owned(ARGV[6], number))
local after = redis.call('GET', KEYS[7]) or ''
local entry = '{"type":"enrol","format":2,"author":' .. ARGV[1] .. ',"runners":[[' .. number .. ',' .. ARGV[6] .. ']]}'
local id = redis.call('XADD', KEYS[3], '*', 'decision', entry, 'sum', redis.sha1hex(entry), 'after', after)
redis.call('SET', KEYS[7], id)
redis.call('XADD', KEYS[5], id, 'decision', ARGV[2])
return {1, id}
