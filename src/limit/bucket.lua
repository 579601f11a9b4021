-- SPDX-License-Identifier: MIT
--
-- One decision over all windows of one identity, on Redis's clock: the twin of bucket.c (contract
-- sections 3 and 4). Everything is read before anything is written, and a denial writes nothing.
-- bucket_script.c writes the arguments and reads the reply.
--
-- KEYS     layout window: one hash for each window; layout identity: one hash for all
-- ARGV[1]  little-endian doubles: deadline on Redis's clock in ms (later than that nothing is done); what to do:
--          0 take from all windows or from none, 1 take whatever is there (negative gives back), 2 look;
--          tokens; then for each window P, L, burst, period in ms
-- ARGV[2…] the burst of each window as text; in layout identity then its name with a colon, 'minute:'
--
-- Reply, integers only: {status, now in ms, the level of each window in units}, and when a bucket's
-- time lies ahead of now, as many more: by how many ms.
--   1 allowed or done   0 denied   2 late, {2, now}   3 not numbers or not a hash, {3, now, window from 1}
--
-- Doubles are exact here: the configuration keeps levels within 2^50, and a sum beyond 2^53 is only
-- ever compared with such. Numbers leave as %.17g and %.3f, for tostring gives 14 digits.
-- Effects are replicated and not the script (the default since Redis 5), so TIME before a write is fine.
--
-- Its time goes into strings: an argument costs 100 ns, a conversion as much, a pattern three times
-- that. Hence the packed numbers, arithmetic on text that a pattern has passed, and constants for
-- what is usual.
local call, read, find = redis.call, redis.pcall, string.find
local MOST = 1125899906842624 -- 2^50

local time = call('TIME')
local now = time[2] / 1000
now = time[1] * 1000 + now - now % 1
local packed = ARGV[1]
local count = (#packed - 24) / 32
local format = count == 3 and '<ddddddddddddddd' or count == 2 and '<ddddddddddd' or count == 1 and '<ddddddd'
local number = {struct.unpack(format or '<' .. string.rep('d', 3 + count * 4), packed)}
if now > number[1] then return {2, now} end

local action, cost, prefixed = number[2], number[3], ARGV[count + 2]

local hash -- prefixed: the fields of all windows, three each
if prefixed then
  local fields = {}
  for i = 1, count do
    local prefix = ARGV[count + 1 + i]
    fields[i * 3 - 2], fields[i * 3 - 1], fields[i * 3] = prefix .. 'tokens', prefix .. 'last_refill', prefix .. 'capacity'
  end
  hash = read('HMGET', KEYS[1], unpack(fields))
  if hash.err then return find(hash.err, '^WRONGTYPE') and {3, now, 1} or hash end
end

local reply = count == 3 and {1, now, 0, 0, 0} or count == 2 and {1, now, 0, 0} or {1, now} -- so that it seldom grows
local allowed, ahead, changed, stuck, known = true, nil, nil, nil, nil
local last_text, last_ms -- the windows of one identity mostly have one time
for i = 1, count do
  local tokens, last, capacity
  if prefixed then
    tokens, last, capacity = hash[i * 3 - 2], hash[i * 3 - 1], hash[i * 3]
  else
    hash = read('HMGET', KEYS[i], 'tokens', 'last_refill', 'capacity')
    if hash.err then return find(hash.err, '^WRONGTYPE') and {3, now, i} or hash end
    tokens, last, capacity = hash[1], hash[2], hash[3]
  end
  local at = i * 4
  local units, speed, burst, period = number[at], number[at + 1], number[at + 2], number[at + 3]
  local level = burst * units
  if tokens and last then
    local full, stored = level, burst
    known = true
    if last ~= last_text then
      last_text = last
      last_ms = #last <= 40 and find(last, '^%d+%.%d%d%d$') and last * 1000 + 0.5 -- as %.3f writes it
      if last_ms then last_ms = last_ms - last_ms % 1 end
    end
    if last_ms and capacity == ARGV[i + 1] and #tokens <= 40 and (find(tokens, '^%-?%d+%.?%d+$') or find(tokens, '^%d$')) then
      level = tokens * units + 0.5
    else
      -- nil unless text is -?digits[.digits][e[+-]digits], finite and at most 40 bytes: tonumber takes nan, inf, 0x10.
      local function decimal(text)
        if #text <= 40 and (find(text, '^%-?%d+%.?%d*$') or find(text, '^%-?%d+%.?%d*e[+-]?%d+$'))
            and not find(text, '%.$') and not find(text, '.e', 1, true) then
          local finite = tonumber(text)
          if finite - finite == 0 then return finite end
        end
      end
      level = decimal(tokens)
      if not last_ms then -- another writer's, or before 1970: rounded up where it is finer
        last_ms = decimal(last)
        last_ms = last_ms and math.ceil(last_ms * 1000)
      end
      if capacity then stored = decimal(capacity) end
      if not (level and last_ms and stored) then return {3, now, i} end
      if capacity ~= ARGV[i + 1] then
        changed = changed or {}
        changed[i] = true
      end
      level = level * units + 0.5
    end
    level = level - level % 1
    if level > MOST then level = MOST elseif level < -MOST then level = -MOST end
    if stored ~= burst then
      level = level + (burst - stored) * units
      if level < -MOST then level = -MOST end
    end
    if level > full then level = full end
    local elapsed = now - last_ms
    if elapsed > 0 then
      level = level + elapsed * speed
      if level > full then level = full end
    elseif elapsed < 0 and -elapsed <= period then
      ahead = ahead or {}
      ahead[i] = -elapsed
    end
  else
    if tokens or last then return {3, now, i} end
    changed = changed or {}
    changed[i] = 'new'
  end
  if level < cost * units then
    allowed = false
    -- Longer than the window: what no admission heals in time (below), this denial does.
    if (cost * units - level) / speed > period then
      stuck = stuck or {}
      stuck[i] = true
    end
  end
  reply[i + 2] = level
end

if action == 0 and not allowed or action == 2 then
  if not allowed then reply[1] = 0 end
  if not stuck or action == 2 then action = nil end
end

if action then
  format = string.format
  local now_text = format('%s.%03d', time[1], now % 1000)
  local fields = prefixed and {}
  local key_life, key_rest = 0, 0
  for i = 1, count do
    local at = i * 4
    local units, speed, burst, period = number[at], number[at + 1], number[at + 2], number[at + 3]
    local level, full, key, novelty, text = reply[i + 2], burst * units, KEYS[i], changed and changed[i], now_text
    if reply[1] == 1 then
      level = level - cost * units
      if level > full then level = full elseif level < -MOST then level = -MOST end
      reply[i + 2] = level
      if ahead and ahead[i] then text = format('%.3f', (now + ahead[i]) / 1000) end
    end
    -- A key lives for twice the window, or twice the time to full where that is longer, and is prolonged when less than
    -- once is left: so it never ends while the bucket still fills. Below zero, or ahead of the clock, it may need more.
    local rest = full / speed
    if rest < period then rest = period end
    local life = rest * 2
    if level < 0 or ahead then
      local fill = (full - level) / speed + (ahead and ahead[i] or 0)
      if fill > rest then rest = fill end
      if life < rest then life = rest + 1000 end
    end
    if prefixed then
      if life > key_life then key_life = life end
      if rest > key_rest then key_rest = rest end
      if reply[1] == 1 and (novelty ~= 'new' or level < full) then
        local prefix, n = ARGV[count + 1 + i], #fields
        fields[n + 1], fields[n + 2] = prefix .. 'tokens', format('%.17g', level / units)
        fields[n + 3], fields[n + 4] = prefix .. 'last_refill', text
        if novelty then fields[n + 5], fields[n + 6] = prefix .. 'capacity', ARGV[i + 1] end
      end
    elseif reply[1] == 0 then
      if stuck[i] and call('PTTL', key) == -1 then call('EXPIRE', key, math.ceil(life / 1000)) end
    elseif not novelty then
      call('HSET', key, 'tokens', format('%.17g', level / units), 'last_refill', text)
      if call('PTTL', key) < rest then call('EXPIRE', key, math.ceil(life / 1000)) end
    elseif novelty ~= 'new' or level < full then
      call('HSET', key, 'tokens', format('%.17g', level / units), 'last_refill', text, 'capacity', ARGV[i + 1])
      call('EXPIRE', key, math.ceil(life / 1000))
    end
  end
  if prefixed and (reply[1] == 0 or fields[1]) then
    if fields[1] then call('HSET', KEYS[1], unpack(fields)) end
    local left = known and call('PTTL', KEYS[1]) or -1
    if left == -1 or reply[1] == 1 and left < key_rest then call('EXPIRE', KEYS[1], math.ceil(key_life / 1000)) end
  end
end

if ahead then
  for i = 1, count do reply[count + 2 + i] = ahead[i] or 0 end
end
return reply
