#!lua
-- Put and withdraw orders of the desk, perhaps with a rule, and log it, if neither has moved on since they were read.
-- KEYS: 1 orders (hash)  2 rules (hash)  3 log (stream)  4 tail (string)  5 decisions (stream)
-- ARGV: 1 entry that changed orders last, as read ('' for none)  2, 3 current and highest rule version, as read
--       4 log entry of a rule ('' for none)  5 log entry of orders ('' for none)  6 decision (JSON)
--       7 rule version to be current ('' to leave it)  8 n, then n times: rule version, its document (JSON)
--       then m, then m times: id of an order, what is kept of it (JSON, an object)  then ids of orders to withdraw
-- Reply: {1, entry id} when done; {0} when something has moved on
-- Cost: O(what is passed). Bound: the caller passes at most 2,000 orders.
local current = redis.call('HGET', KEYS[2], 'current') or '0'
local highest = redis.call('HGET', KEYS[2], 'highest') or current
if (redis.call('HGET', KEYS[1], '@last') or '') ~= ARGV[1] or current ~= ARGV[2] or highest ~= ARGV[3] then
  return {0}
end
local entry
for i = 4, 5 do
  if ARGV[i] ~= '' then
    local after = redis.call('GET', KEYS[4]) or ''
    entry = redis.call('XADD', KEYS[3], '*', 'decision', ARGV[i], 'sum', redis.sha1hex(ARGV[i]), 'after', after)
    redis.call('SET', KEYS[4], entry)
  end
end
redis.call('XADD', KEYS[5], entry, 'decision', ARGV[6])
local at = 9
for _ = 1, tonumber(ARGV[8]) do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1], 'highest', ARGV[at])
  at = at + 2
end
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[2], 'current', ARGV[7])
end
local puts = tonumber(ARGV[at])
at = at + 1
for _ = 1, puts do
  local kept = '{"entry":"' .. entry .. '",' .. string.sub(ARGV[at + 1], 2, -2)
  redis.call('HSET', KEYS[1], ARGV[at], kept .. ',"sum":"' .. redis.sha1hex(kept) .. '"}')
  at = at + 2
end
for i = at, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[i])
end
redis.call('HSET', KEYS[1], '@last', entry)
return {1, entry}
