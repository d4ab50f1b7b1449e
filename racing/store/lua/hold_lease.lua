#!lua flags=allow-oom
-- Take the lease of a venue, or renew it, unless another process holds it. For liveness only: safety is the epoch.
-- KEYS: 1 lease (string)
-- ARGV: 1 name of the process  2 time to hold (ms)
-- Reply: 1 when held by the caller now, 0 when held by another
-- Cost: O(1). Bound: one string that expires.
-- A lease that is to last longer than any can be set to (60 s) was given before the server's clock was set back, and its
-- end has moved away with it: whoever asks may have it.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] and redis.call('PTTL', KEYS[1]) <= 60000 then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
