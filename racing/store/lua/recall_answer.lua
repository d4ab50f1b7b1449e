#!lua
-- What was answered to an idempotency key, if it is known.
-- KEYS: 1 answers (hash)  2 answers of before (hash)
-- ARGV: 1 idempotency key
-- Reply: what is kept, "digest entry-id answer", when known; nil when not
-- A known key is written again as it is: a sync or a WAIT after this write covers the entry of that time as well.
-- Cost: O(bytes of the answer). Bound: nothing new is kept.
for i = 1, 2 do
  local known = redis.call('HGET', KEYS[i], ARGV[1])
  if known then
    redis.call('HSET', KEYS[i], ARGV[1], known)
    return known
  end
end
return false
