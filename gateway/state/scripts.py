"""What Redis does with the acts of one round trip: one script, so that nobody comes between a check and its count.

`KEYS` are those of each account or upstream that an act names, side by side in the order of `OF_LEASE` in `acts`; the
act knows where they begin. `ARGV[1]` is how long a slot is held in microseconds, `ARGV[2]` the acts in MessagePack.
The answer, in MessagePack too, begins with the second it is by this server's clock, and has one entry for each `take`:
the leases of the account where it was taken, else why not, until when in seconds, and the leases.

A slot is a token in a sorted set, scored by when it ends; a start likewise, by when it was; tokens used are counted by
the second. Every key expires by itself. It needs Redis 5 or newer.
"""

from __future__ import annotations

import hashlib

ACTS = """\
local time = redis.call('TIME')
local second = tonumber(time[1])
local now = second * 1000000 + tonumber(time[2])
local lease = tonumber(ARGV[1])
local MINUTE = 60000000
local SET_BACK = 300000000
local LONGEST = 400 * 86400 * 1000
local answers = {second}

-- Numbers go to Redis as such: Lua would join them to a text with 14 digits, and a time has 16.

local function lasts(key, micros)
  local millis = math.ceil(micros / 1000) + 1000
  if not (millis < LONGEST) then millis = LONGEST end
  if millis < 1 then millis = 1 end
  redis.call('PEXPIRE', key, millis)
end

-- Leases that stand. What ends later than any could was counted before this clock was set back.
local function standing(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', key, now + lease + SET_BACK, '+inf')
  return redis.call('ZCARD', key)
end

local function keep(slots, ceiling, token, capped)
  redis.call('ZADD', slots, now + lease, token)
  lasts(slots, math.max(lease, MINUTE))
  if capped then
    redis.call('ZADD', ceiling, now + lease, token)
    lasts(ceiling, math.max(lease, MINUTE))
  end
end

-- Each of these tells how many microseconds pass until it lets a lease through.

local function rested(key, group)
  local ends = redis.call('HMGET', key, '*', group)
  return math.max(tonumber(ends[1] or 0), tonumber(ends[2] or 0)) * 1000000 - now
end

local function spent(key, most, known, ends)
  if not most or math.max(tonumber(redis.call('GET', key) or 0), known) < most then return 0 end
  return math.max(ends * 1000000 - now, 1000)
end

local function since_last(key, interval)
  if interval <= 0 then return 0 end
  local last = redis.call('ZREVRANGEBYSCORE', key, now, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return last[2] and tonumber(last[2]) + interval - now or 0
end

local function too_often(key, most)
  if not most then return 0 end
  local over = redis.call('ZCOUNT', key, now - MINUTE + 1, now) - most
  if over < 0 then return 0 end
  local leaving = redis.call('ZRANGEBYSCORE', key, now - MINUTE + 1, now, 'WITHSCORES', 'LIMIT', over, 1)
  return leaving[2] and tonumber(leaving[2]) + MINUTE - now or MINUTE
end

-- All tokens of a second count until the last of them is a minute old.
local function leaves(bucket)
  return (bucket + 1) * 1000000 + MINUTE - now
end

local function counts(bucket)
  return bucket <= second and leaves(bucket) > 0
end

local function too_much(key, most, tokens)
  if not most then return 0 end
  local fields = redis.call('HGETALL', key)
  local buckets, used = {}, 0
  for i = 1, #fields, 2 do
    local bucket = {tonumber(fields[i]), tonumber(fields[i + 1])}
    if counts(bucket[1]) then
      buckets[#buckets + 1] = bucket
      used = used + bucket[2]
    end
  end
  local over = used + math.max(math.min(tokens, most), 1) - most
  if over <= 0 or used <= 0 then return 0 end
  table.sort(buckets, function(a, b) return a[1] < b[1] end)
  for _, bucket in ipairs(buckets) do
    over = over - bucket[2]
    if over <= 0 then return leaves(bucket[1]) end
  end
  return MINUTE
end

local function use(key, bucket, tokens)
  redis.call('HINCRBY', key, bucket, tokens)
  lasts(key, MINUTE + 1000000)
  local stale = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if not counts(tonumber(field)) then stale[#stale + 1] = field end
  end
  if #stale > 0 then redis.call('HDEL', key, unpack(stale)) end
end

local function count(at, token, tpm, tokens, rpm, interval, quota, known, ends, ago)
  local rests, slots, ceiling, quotas, starts, used = unpack(KEYS, at, at + 5)
  if quota then
    redis.call('SET', quotas, math.max(tonumber(redis.call('GET', quotas) or 0), known) + 1)
    lasts(quotas, math.max(ends * 1000000 - now, 0) + 60 * MINUTE)
  end
  if rpm or interval > 0 then
    local window = math.max(MINUTE, interval)
    redis.call('ZREMRANGEBYSCORE', starts, '-inf', now - window)
    redis.call('ZREMRANGEBYSCORE', starts, now + 1, '+inf')
    redis.call('ZADD', starts, now - ago, token)
    lasts(starts, window)
  end
  local bucket = math.floor((now - ago) / 1000000)
  if tpm and tokens > 0 and counts(bucket) then use(used, bucket, tokens) end
end

local does = {}

function does.take(at, token, group, limit, cap, rpm, tpm, tokens, interval, quota, known, ends)
  local rests, slots, ceiling, quotas, starts, used = unpack(KEYS, at, at + 5)
  local why, longest = nil, 0
  local function wait(reason, micros)
    if micros > longest then why, longest = reason, micros end
  end
  wait('resting', rested(rests, group))
  wait('exhausted', spent(quotas, quota, known, ends))
  wait('paced', since_last(starts, interval))
  wait('paced', too_often(starts, rpm))
  wait('paced', too_much(used, tpm, tokens))
  local leases = standing(slots)
  if not why and cap and standing(ceiling) >= cap then why = 'ceiling' end
  if not why and leases >= limit then why = 'busy' end
  if why then
    answers[#answers + 1] = {why, longest / 1000000, leases}
    return
  end
  keep(slots, ceiling, token, cap)
  count(at, token, tpm, tokens, rpm, interval, quota, known, ends, 0)
  answers[#answers + 1] = leases + 1
end

function does.hold(at, token, capped, rpm, tpm, tokens, interval, quota, known, ends, ago)
  keep(KEYS[at + 1], KEYS[at + 2], token, capped)
  count(at, token, tpm, tokens, rpm, interval, quota, known, ends, ago)
end

function does.keep(at, token, capped)
  keep(KEYS[at + 1], KEYS[at + 2], token, capped)
end

-- Whatever it corrects is corrected once, however often it is said.
function does.give(at, token, refund, bucket, tokens, undone)
  local rests, slots, ceiling, quotas, starts, used = unpack(KEYS, at, at + 5)
  redis.call('ZREM', ceiling, token)
  if redis.call('ZREM', slots, token) == 0 then return end
  if refund and tonumber(redis.call('GET', quotas) or 0) > 0 then redis.call('DECR', quotas) end
  bucket = bucket or second
  if tokens < 0 then tokens = math.max(tokens, -tonumber(redis.call('HGET', used, bucket) or 0)) end
  if tokens ~= 0 and counts(bucket) then use(used, bucket, tokens) end
  if undone then redis.call('ZREM', starts, token) end
end

function does.rest(at, group, ends)
  local present = tonumber(redis.call('HGET', KEYS[at], group) or 0)
  if ends <= present or ends * 1000000 <= now then return end
  redis.call('HSET', KEYS[at], group, ends)
  lasts(KEYS[at], math.max(ends * 1000000 - now, redis.call('PTTL', KEYS[at]) * 1000))
end

function does.forget(at)
  redis.call('DEL', KEYS[at])
end

-- Whether it may be written here at all.
function does.greet(at)
  redis.call('SET', KEYS[at], second)
  lasts(KEYS[at], MINUTE)
end

for _, act in ipairs(cmsgpack.unpack(ARGV[2])) do
  does[act[1]](unpack(act, 2, 13))
end
return cmsgpack.pack(answers)
"""

ACTS_SHA = hashlib.sha1(ACTS.encode(), usedforsecurity=False).hexdigest()
"""The name that Redis gives it."""
