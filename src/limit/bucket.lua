-- SPDX-License-Identifier: MIT
--
-- One decision over all windows of one identity, on Redis's clock: the twin of bucket.c (contract
-- sections 3 and 4). Everything is read before anything is written, and a denial writes nothing.
-- bucket_script.c writes the arguments and reads the reply.
--
-- KEYS     layout window: one hash for each window; layout identity: one hash for all
-- ARGV[1]  MessagePack: deadline on Redis's clock in ms (later than that nothing is done); what to do: 0 take from
--          all windows or from none, 1 take whatever is there (negative gives back), 2 look; tokens; then for each
--          window P, L, capacity in units, period in ms, the burst as text; then, in layout identity, the names of
--          each window's three fields
--
-- Reply, integers only: {status, now in ms, the level of each window in units}, and when a bucket's
-- time lies ahead of now, as many more: by how many ms.
--   1 allowed or done   0 denied   2 late, {2, now}   3 not numbers or not a hash, {3, now, window from 1}
--
-- Doubles are exact here: the configuration keeps levels within 2^50, and a sum beyond 2^53 is only
-- ever compared with such. Numbers leave as %.17g and %.3f, for tostring gives 14 digits.
-- Effects are replicated and not the script (the default since Redis 5), so TIME before a write is fine.
--
-- What costs (`./dev bench script`): a call of Redis 0.3 us, with a table to answer 0.6 to 0.9; a number to text, an
-- argument or a table 0.2; a number from text, or a pattern, 0.1. Hence one packed argument, arithmetic on text that
-- a pattern has passed, and a short way for what this script wrote itself, which is most windows of most calls.
local read, find = redis.pcall, string.find
local MOST = 1125899906842624 -- 2^50

local keys, set = KEYS, {cmsgpack.unpack(ARGV[1])}
local time = read('TIME')
local seconds, micros = time[1], time[2]
local now = micros / 1000
now = seconds * 1000 + now - now % 1
local deadline, action, cost = set[1], set[2], set[3]
if now > deadline then return {2, now} end

local count = #keys
local names = 4 + 5 * count -- where the names of fields stand in `set`, if any do
local together = #set >= names
if together then
  count = (#set - 3) / 8
  names = 4 + 5 * count
end

local hash -- the fields of one window; together: of all, three each
if together then hash = read('HMGET', keys[1], unpack(set, names)) end
local reply = count == 3 and {1, now, 0, 0, 0} or count == 2 and {1, now, 0, 0} or {1, now} -- so that it seldom grows
local allowed, new, ahead, changed, stuck = true, 0, nil, nil, nil
local known, elapsed -- a last_refill and how long it is ago: the windows of one identity mostly share it
local at = 4
for i = 1, count do
  local units, speed, full, burst = set[at], set[at + 1], set[at + 2], set[at + 4]
  local tokens, last, capacity
  if together then
    tokens, last, capacity = hash[i * 3 - 2], hash[i * 3 - 1], hash[i * 3]
  else
    hash = read('HMGET', keys[i], 'tokens', 'last_refill', 'capacity')
    tokens, last, capacity = hash[1], hash[2], hash[3]
  end
  if last ~= known and last and #last <= 40 and find(last, '^%d+%.%d%d%d$') then -- as %.3f writes it
    local ms = last * 1000 + 0.5
    ms = ms - ms % 1
    if ms <= now then known, elapsed = last, now - ms end
  end

  local level
  if last == known and capacity == burst and tokens and #tokens <= 40
      and (tokens == '0' or find(tokens, '^%d+%.?%d+$') or find(tokens, '^%d$')) then
    level = tokens * units + 0.5
    level = level - level % 1 + elapsed * speed
    if level > full then level = full end
  elseif tokens or last then
    -- Another writer's text, another limit, a debt, or a time ahead.
    -- nil unless text is -?digits[.digits][e[+-]digits], finite and at most 40 bytes: tonumber takes nan, inf, 0x10.
    local function decimal(text)
      if text and #text <= 40 and (find(text, '^%-?%d+%.?%d*$') or find(text, '^%-?%d+%.?%d*e[+-]?%d+$'))
          and not find(text, '%.$') and not find(text, '.e', 1, true) then
        local finite = tonumber(text)
        if finite - finite == 0 then return finite end
      end
    end
    local present, stored, ms = full / units, nil, decimal(last)
    level = decimal(tokens)
    if capacity then stored = decimal(capacity) else stored = present end
    if not (level and ms and stored) then return {3, now, i} end
    ms = find(last, '^%d+%.%d%d%d$') and math.floor(ms * 1000 + 0.5) or math.ceil(ms * 1000) -- finer: rounded up
    level = math.floor(level * units + 0.5)
    if level > MOST then level = MOST elseif level < -MOST then level = -MOST end
    level = level + (present - stored) * units
    if level < -MOST then level = -MOST elseif level > full then level = full end
    if ms < now then
      level = level + (now - ms) * speed
      if level > full then level = full end
    elseif ms > now and ms - now <= set[at + 3] then
      ahead = ahead or {}
      ahead[i] = ms - now
    end
    if capacity ~= burst then
      changed = changed or {}
      changed[i] = 'limit'
    end
  elseif hash.err then
    return find(hash.err, '^WRONGTYPE') and {3, now, i} or hash
  else
    level, new = full, new + 1
    changed = changed or {}
    changed[i] = 'new'
  end
  reply[i + 2] = level

  local need = cost * units
  if level < need then
    allowed = false
    -- Longer than the window: what no admission heals in time (below), this denial does.
    if need - level > speed * set[at + 3] then
      stuck = stuck or {}
      stuck[i] = true
    end
  end
  at = at + 5
end
if not allowed and action ~= 1 then reply[1] = 0 end

local charge = action == 1 or action == 0 and allowed
if charge or stuck and action == 0 then
  local call, format = redis.call, string.format
  local now_text = #micros == 6 and seconds .. '.' .. string.sub(micros, 1, 3) or format('%s.%03d', seconds, now % 1000)
  local fields = together and {}
  local key_life, key_rest = 0, 0
  at = 4
  for i = 1, count do
    local units, speed, full, period = set[at], set[at + 1], set[at + 2], set[at + 3]
    local level, key, novelty, text = reply[i + 2], keys[i], changed and changed[i], now_text
    if charge then
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
    if together then
      if life > key_life then key_life = life end
      if rest > key_rest then key_rest = rest end
      if charge and (novelty ~= 'new' or level < full) then
        local n, name = #fields, names + i * 3 - 3
        fields[n + 1], fields[n + 2] = set[name], format('%.17g', level / units)
        fields[n + 3], fields[n + 4] = set[name + 1], text
        if novelty then fields[n + 5], fields[n + 6] = set[name + 2], set[at + 4] end
      end
    elseif not charge then
      if stuck[i] and call('PTTL', key) == -1 then call('EXPIRE', key, math.ceil(life / 1000)) end
    elseif not novelty then
      call('HSET', key, 'tokens', format('%.17g', level / units), 'last_refill', text)
      if call('PTTL', key) < rest then call('EXPIRE', key, math.ceil(life / 1000)) end
    elseif novelty == 'limit' or level < full then -- a new one that is full says nothing
      call('HSET', key, 'tokens', format('%.17g', level / units), 'last_refill', text, 'capacity', set[at + 4])
      call('EXPIRE', key, math.ceil(life / 1000))
    end
    at = at + 5
  end
  if together and (not charge or fields[1]) then
    if fields[1] then call('HSET', keys[1], unpack(fields)) end
    local left = new < count and call('PTTL', keys[1]) or -1
    if left == -1 or charge and left < key_rest then call('EXPIRE', keys[1], math.ceil(key_life / 1000)) end
  end
end

if ahead then
  for i = 1, count do reply[count + 2 + i] = ahead[i] or 0 end
end
return reply
