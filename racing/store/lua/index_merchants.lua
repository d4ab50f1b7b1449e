#!lua
-- Put runners into the sorted set of merchants, as their data has it: for one that is missing or not whole.
-- KEYS: 1 runners (hash)  2 merchants (sorted set)
-- ARGV: 1 first number  2 last number  3 '1' to begin the set anew
-- Reply: how many were put
-- Cost: O(runners). Bound: the caller passes at most 1,000.
if ARGV[3] == '1' then
  redis.call('DEL', KEYS[2])
end
local put = 0
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local runner = redis.call('HGET', KEYS[1], string.format('%d', number))
  if runner then
    local merchant = string.match(runner, '"merchant":"([^"]*)"') or ''
    redis.call('ZADD', KEYS[2], 0, merchant .. ':' .. string.format('%010d', number))
    put = put + 1
  end
end
return put
