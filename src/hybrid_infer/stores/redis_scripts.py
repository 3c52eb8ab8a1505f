"""What Redis is asked to do, one Lua script for each operation, so that each happens whole or not at all.

The time is Redis' own, so that the clocks of the machines that share it do not matter. Two keys for a target:

- leases, a sorted set: names of leases, scored by the moment they expire (seconds since 1970);
- rates, a hash: for `requests` and `tokens` the level of a bucket and, as `…_at`, the moment it had it.

A bucket refills continuously and holds `ahead` seconds' worth of its rate, at least 1. A call that is larger
than the bucket goes when the bucket is full, and leaves it below zero. Both keys expire when they say no more
than their absence would: the last lease is over, the buckets are full.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1

Argument = str | int | float


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name that Redis keeps it by (EVALSHA)."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        name = sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", name)


_BUCKETS = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

-- The level of a bucket now; full where nothing is known.
local function level_of(key, field, rate, burst)
  local had = redis.call('HMGET', key, field, field .. '_at')
  local level, at = tonumber(had[1]), tonumber(had[2])
  if not level or not at then return burst end
  if at > now then -- the clock was set back
    redis.call('HSET', key, field .. '_at', now)
    at = now
  end
  return math.min(burst, level + (now - at) * rate)
end

local function keep_level(key, field, rate, burst, level)
  redis.call('HSET', key, field, level, field .. '_at', now)
  local full_in = math.min(math.ceil((burst - level) / rate * 1000) + 1000, 31536000000)
  if full_in > redis.call('PTTL', key) then redis.call('PEXPIRE', key, full_in) end
end
"""

ACQUIRE = Script(
    _BUCKETS
    + """
-- KEYS: leases, rates. ARGV: slots, requests and tokens per minute ('' where there is no limit), tokens of
-- this call, seconds a lease lasts, its name, `ahead`, names of leases to end first.
-- Answers {1} and has taken everything, or has taken nothing and answers
-- {0, seconds until a slot expires at the latest or '', seconds until the rates have room}.
local slots, amount, lease = tonumber(ARGV[1]), tonumber(ARGV[4]), tonumber(ARGV[5])
local name, ahead = ARGV[6], tonumber(ARGV[7])
for place = 8, #ARGV do redis.call('ZREM', KEYS[1], ARGV[place]) end

local full = ''
if slots then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
  if redis.call('ZCARD', KEYS[1]) >= slots then
    full = tostring(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] - now)
  end
end

local buckets, wait = {}, 0
local function look(field, per_minute, wanted)
  if not per_minute then return end
  local rate = per_minute / 60
  local burst = math.max(rate * ahead, 1)
  local level = level_of(KEYS[2], field, rate, burst)
  local missing = math.min(wanted, burst) - level
  if missing > 0.000001 then wait = math.max(wait, missing / rate) end
  buckets[#buckets + 1] = {field, rate, burst, level - wanted}
end
look('requests', tonumber(ARGV[2]), 1)
look('tokens', tonumber(ARGV[3]), amount)
if full ~= '' or wait > 0 then return {0, full, tostring(wait)} end

for _, bucket in ipairs(buckets) do keep_level(KEYS[2], unpack(bucket)) end
if slots then
  redis.call('ZADD', KEYS[1], now + lease, name)
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIREAT', KEYS[1], math.ceil(last * 1000) + 1000)
end
return {1}
"""
)

SETTLE = Script(
    _BUCKETS
    + """
-- KEYS: rates. ARGV: tokens per minute, tokens to take besides (to give back where negative), `ahead`.
local rate = tonumber(ARGV[1]) / 60
local burst = math.max(rate * tonumber(ARGV[3]), 1)
local level = level_of(KEYS[1], 'tokens', rate, burst)
keep_level(KEYS[1], 'tokens', rate, burst, math.min(burst, level - tonumber(ARGV[2])))
return 1
"""
)

RELEASE = Script(
    """
-- KEYS: leases. ARGV: the name of one.
return redis.call('ZREM', KEYS[1], ARGV[1])
"""
)

SPEND = Script(
    """
-- KEYS: a budget's window. ARGV: amount, most, seconds until it may be forgotten.
local spent = tonumber(redis.call('GET', KEYS[1]) or '0')
if spent + tonumber(ARGV[1]) > tonumber(ARGV[2]) then return 0 end
redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
return 1
"""
)

CORRECT = Script(
    """
-- KEYS: a budget's window. ARGV: change. A window that is over has been forgotten, and stays so.
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('INCRBY', KEYS[1], ARGV[1]) end
return 1
"""
)
