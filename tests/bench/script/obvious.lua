-- SPDX-License-Identifier: MIT
--
-- What one writes first: the yardstick of bucket.lua. Floats, a hash for each window, written and given its life anew
-- by every call, denied or not.
--
-- KEYS: a hash for each window; ARGV: cost, then limit and period in s of each window; reply: {allowed, wait in s, tokens...}
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local cost = tonumber(ARGV[1])
local levels, allowed, wait = {}, 1, 0
for i = 1, #KEYS do
  local limit, period = tonumber(ARGV[i * 2]), tonumber(ARGV[i * 2 + 1])
  local stored = redis.call('HMGET', KEYS[i], 'tokens', 'last_refill')
  local tokens, last = tonumber(stored[1]), tonumber(stored[2])
  if tokens == nil then
    tokens, last = limit, now
  end
  levels[i] = math.min(limit, tokens + (now - last) * limit / period)
  if levels[i] < cost then
    allowed = 0
    wait = math.max(wait, (cost - levels[i]) * period / limit)
  end
end
local reply = {allowed, math.ceil(wait)}
for i = 1, #KEYS do
  if allowed == 1 then levels[i] = levels[i] - cost end
  redis.call('HSET', KEYS[i], 'tokens', tostring(levels[i]), 'last_refill', tostring(now))
  redis.call('EXPIRE', KEYS[i], tonumber(ARGV[i * 2 + 1]) * 2)
  reply[#reply + 1] = math.floor(levels[i])
end
return reply
