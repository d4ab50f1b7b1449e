#!lua
-- Read the numbers of some products, if the table of enrolments still holds all that it held at a mark.
-- KEYS: 1 products (hash)  2 roll (string)
-- ARGV: 1 number of the mark (-1 for none)  2 its digest ('' for none)  3... products
-- Reply: {1, highest number, its digest, number or nil, ...}; {0} when enrolments of the mark are gone
-- Cost: O(products). Bound: as many as are passed.
local from = tonumber(ARGV[1]) * 16
if from >= 0 and redis.call('GETRANGE', KEYS[2], from, from + 15) ~= ARGV[2] then
  return {0}
end
local highest = redis.call('STRLEN', KEYS[2]) / 16 - 1
local reply = {1, highest, redis.call('GETRANGE', KEYS[2], -16, -1)}
for i = 3, #ARGV do
  reply[i + 1] = redis.call('HGET', KEYS[1], ARGV[i])
end
return reply
