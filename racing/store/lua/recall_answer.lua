#!lua
-- What was answered to an idempotency key, if it is known.
-- KEYS: 1 idempotency key (hash)
-- ARGV: none
-- Reply: {stored digest, stored entry id, stored answer} when known; {} when not
-- A known key is written again as it is: a sync or a WAIT after this write covers the entry of that time as well.
-- Cost: O(bytes of the answer). Bound: nothing new is kept.
local known = redis.call('HMGET', KEYS[1], 'digest', 'entry', 'answer')
if not known[1] then
  return {}
end
redis.call('HSET', KEYS[1], 'digest', known[1])
return known
