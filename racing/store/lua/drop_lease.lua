#!lua flags=allow-oom
-- Give up the lease of a venue, if the caller holds it.
-- KEYS: 1 lease (string)
-- ARGV: 1 name of the process
-- Reply: 1 when it was dropped, 0 when another process holds it or none
-- Cost: O(1).
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
