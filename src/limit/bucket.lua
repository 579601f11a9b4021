-- SPDX-License-Identifier: MIT
--
-- One decision over all windows of one identity, on Redis's clock: the twin of bucket.c (contract
-- sections 3 and 4). Everything is read before anything is written, and a denial takes nothing: it writes only what
-- would stay wrong for ever, a time too far ahead and a missing TTL.
-- bucket_script.c writes the arguments and reads the reply.
--
-- KEYS     layout window: one hash for each window; layout identity: one hash for all
-- ARGV[1]  MessagePack: deadline on Redis's clock in ms (later than that nothing is done); what to do: 0 take from
--          all windows or from none, 1 take whatever is there (negative gives back), 2 look; tokens; in layout
--          identity the names of each window's three fields, packed and in one text, else nil; then for each window
--          P, L, capacity in units, period in ms, the burst as text
--
-- Reply, integers only: {now in ms * 4 + status, the level of each window in units}, and when a bucket's
-- time lies ahead of now, as many more: by how many ms. The statuses:
--   1 allowed or done   0 denied   2 late, without levels   3 not numbers or not a hash, {now * 4 + 3, window from 1}
--
-- Doubles are exact here: the configuration keeps levels within 2^50, and a sum beyond 2^53 is only
-- ever compared with such. Numbers leave as %.17g (%d where that is the same) and %.3f, for tostring gives 14 digits.
-- Effects are replicated and not the script (the default since Redis 5), so TIME before a write is fine.
--
-- What costs (`./dev bench script`): a call of Redis 0.3 us, with a table to answer 0.6 to 0.9; a number to text, an
-- argument or a table 0.2; a number from text, or a pattern, 0.1. Hence one packed argument, unpacked into locals for
-- as many windows as there are as a rule; arithmetic on text that a pattern has passed; and a short way for what this
-- script wrote itself, which is most windows of most calls. The loops set their locals one by one, for setting several
-- at once copies each twice.
local read, find, unpacked = redis.pcall, string.find, cmsgpack.unpack_limit
local MOST = 1125899906842624 -- 2^50

local keys, argument = KEYS, ARGV[1]
local time = read('TIME')
local seconds, micros = time[1], time[2]
local now = micros / 1000
now = seconds * 1000 + now - now % 1
-- Three windows' numbers, and where the fourth's begin; -1 where the argument ends.
local fourth, deadline, action, cost, names, P1, L1, full1, period1, burst1, P2, L2, full2, period2, burst2,
  P3, L3, full3, period3, burst3 = unpacked(argument, 19, 0)
if now > deadline then return {now * 4 + 2} end

local hash -- the fields of one window; with names: of all, three each
if names then hash = read('HMGET', keys[1], cmsgpack.unpack(names)) end
local reply -- the first table that HMGET answers: a new one would cost more than writing over what has been read
local allowed, ahead, astray, changed, stuck = true, nil, nil, nil, nil
local known, elapsed -- a last_refill and how long it is ago: the windows of one identity mostly share it
local i, at, units, speed, full, period, burst = 1, fourth, P1, L1, full1, period1, burst1
while units do
  local tokens, last, capacity
  if names then
    tokens, last, capacity = hash[i * 3 - 2], hash[i * 3 - 1], hash[i * 3]
  else
    hash = read('HMGET', keys[i], 'tokens', 'last_refill', 'capacity')
    tokens = hash[1]; last = hash[2]; capacity = hash[3]
  end
  if last ~= known and last and #last <= 40 and find(last, '^%d+%.%d%d%d$') then -- as %.3f writes it
    local ms = last * 1000 + 0.5
    ms = ms - ms % 1
    if ms <= now then known, elapsed = last, now - ms end
  end

  local level
  if last == known and capacity == burst and tokens and #tokens <= 40
      and (find(tokens, '^%d+%.?%d+$') or find(tokens, '^%d$')) then
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
    if not (level and ms and stored) then return {now * 4 + 3, i} end
    ms = find(last, '^%d+%.%d%d%d$') and math.floor(ms * 1000 + 0.5) or math.ceil(ms * 1000) -- finer: rounded up
    level = math.floor(level * units + 0.5)
    if level > MOST then level = MOST elseif level < -MOST then level = -MOST end
    level = level + (present - stored) * units
    if level < -MOST then level = -MOST elseif level > full then level = full end
    if ms < now then
      level = level + (now - ms) * speed
      if level > full then level = full end
    elseif ms > now and ms - now <= period then
      ahead = ahead or {}
      ahead[i] = ms - now
    elseif ms > now then -- counts as now, and must stand as now, or nothing is gained until the clock is there
      astray = astray or {}
      astray[i] = true
    end
    if capacity ~= burst then
      changed = changed or {}
      changed[i] = 'limit'
    end
  elseif hash.err then
    return find(hash.err, '^WRONGTYPE') and {now * 4 + 3, i} or hash
  else
    level = full
    changed = changed or {}
    changed[i] = 'new'
  end
  reply = reply or hash
  reply[i + 1] = level

  local need = cost * units
  if level < need then
    allowed = false
    -- Longer than the window: what no admission heals in time (below), this denial does.
    if need - level > speed * (period - (ahead and ahead[i] or 0)) then
      stuck = stuck or {}
      stuck[i] = true
    end
  end
  i = i + 1
  if i == 2 then units = P2; speed = L2; full = full2; period = period2; burst = burst2
  elseif i == 3 then units = P3; speed = L3; full = full3; period = period3; burst = burst3
  elseif at < 0 then break
  else at, units, speed, full, period, burst = unpacked(argument, 5, at) end
end
local count = i - 1
reply[1] = (allowed or action == 1) and now * 4 + 1 or now * 4

local charge = action == 1 or action == 0 and allowed
if charge or (stuck or astray) and action == 0 then
  local call, format = redis.call, string.format
  local now_text = #micros == 6 and seconds .. '.' .. string.sub(micros, 1, 3) or format('%s.%03d', seconds, now % 1000)
  local fields, name = names and {}, names and {cmsgpack.unpack(names)}
  local key_life, key_rest = 0, 0
  i, at, units, speed, full, period, burst = 1, fourth, P1, L1, full1, period1, burst1
  while units do
    local level, key, novelty, text, tokens = reply[i + 1], keys[i], changed and changed[i], now_text, nil
    if charge then
      level = level - cost * units
      if level > full then level = full elseif level < -MOST then level = -MOST end
      reply[i + 1] = level
      -- %d writes a whole number as %.17g does, at half the cost. Its C long may have 32 bits.
      tokens = level / units
      tokens = format(tokens % 1 == 0 and tokens < 2147483648 and tokens > -2147483648 and '%d' or '%.17g', tokens)
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
    if names then
      if life > key_life then key_life = life end
      if rest > key_rest then key_rest = rest end
      if charge and (novelty ~= 'new' or level < full) then
        local n, own = #fields, i * 3 - 2
        fields[n + 1], fields[n + 2] = name[own], tokens
        fields[n + 3], fields[n + 4] = name[own + 1], text
        if novelty then fields[n + 5], fields[n + 6] = name[own + 2], burst end
      elseif not charge and astray and astray[i] then
        fields[#fields + 1], fields[#fields + 2] = name[i * 3 - 1], now_text
      end
    elseif not charge then
      if astray and astray[i] then call('HSET', key, 'last_refill', now_text) end
      if stuck and stuck[i] and call('PTTL', key) == -1 then call('EXPIRE', key, math.ceil(life / 1000)) end
    elseif not novelty then
      call('HSET', key, 'tokens', tokens, 'last_refill', text)
      if call('PTTL', key) < rest then call('EXPIRE', key, math.ceil(life / 1000)) end
    elseif novelty == 'limit' or level < full then -- a new one that is full says nothing
      call('HSET', key, 'tokens', tokens, 'last_refill', text, 'capacity', burst)
      call('EXPIRE', key, math.ceil(life / 1000))
    end
    i = i + 1
    if i == 2 then units = P2; speed = L2; full = full2; period = period2; burst = burst2
    elseif i == 3 then units = P3; speed = L3; full = full3; period = period3; burst = burst3
    elseif at < 0 then break
    else at, units, speed, full, period, burst = unpacked(argument, 5, at) end
  end
  if names and (not charge or fields[1]) then
    if fields[1] then call('HSET', keys[1], unpack(fields)) end
    local left = call('PTTL', keys[1]) -- windows of another tier may be in it, and need longer
    if left == -1 or charge and left < key_rest then call('EXPIRE', keys[1], math.ceil(key_life / 1000)) end
  end
end

local past = count + 2
if ahead then
  for i = 1, count do reply[count + 1 + i] = ahead[i] or 0 end
  past = past + count
end
if reply[past] ~= nil then reply[past] = nil end -- a field that is left: a reply ends before its first nil
return reply
