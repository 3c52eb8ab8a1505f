"""Leases in Redis: for processes on many machines."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

from hybrid_infer.stores.leases.base import (
    KEPT_STARTS,
    Lease,
    LeasesUnavailableError,
    Note,
    lease_of,
    lease_text,
    note_of,
    note_text,
)
from hybrid_infer.stores.redis_scripts import Argument, Script
from hybrid_infer.stores.redis_shared import SharedRedis

_PUT = Script(
    """
-- KEYS: a hash. ARGV: field, value, 1 if nothing is to be written where there is none.
-- Answers the value before, or ''.
local before = redis.call('HGET', KEYS[1], ARGV[1])
if before or ARGV[3] ~= '1' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return before or ''
"""
)

_DROP = Script(
    """
-- KEYS: leases. ARGV: id, the moment by which it must be over, or ''.
local found = redis.call('HGET', KEYS[1], ARGV[1])
if not found then return 0 end
if ARGV[2] ~= '' and tonumber(ARGV[2]) < cjson.decode(found)['expires'] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
"""
)

_VALUES = Script("return redis.call('HVALS', KEYS[1])")
_FIELDS = Script("return redis.call('HKEYS', KEYS[1])")
_GET = Script("return redis.call('HGET', KEYS[1], ARGV[1]) or ''")

_REPLACE = Script(
    """
-- KEYS: a hash. ARGV: field, the value it must have ('': none), the new one ('': none).
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
"""
)

_CLAIM = Script(
    """
-- KEYS: roles. ARGV: role, holder, now, until when.
local had = redis.call('HGET', KEYS[1], ARGV[1])
if had then
  had = cjson.decode(had)
  if had[1] ~= ARGV[2] and tonumber(ARGV[3]) < tonumber(had[2]) then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode({ARGV[2], ARGV[4]}))
return 1
"""
)

_RESIGN = Script(
    """
-- KEYS: roles. ARGV: role, holder.
local had = redis.call('HGET', KEYS[1], ARGV[1])
if had and cjson.decode(had)[1] == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
"""
)

_ADD = Script(
    """
-- KEYS: a list. ARGV: value, how many are kept.
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[2]), -1)
return 1
"""
)

_LIST = Script("return redis.call('LRANGE', KEYS[1], 0, -1)")


class RedisLeases:
    """Fits `LeaseStore`. Nothing expires by itself: what is over is to be taken down at a provider first.

    The server must not evict keys without a time to live (``maxmemory-policy`` other than ``allkeys-*``), and
    should keep its data over a restart: a machine whose note is lost stays up.

    Args:
        prefix: what the names of keys begin with.
    """

    def __init__(self, redis: SharedRedis, *, prefix: str) -> None:
        self._redis = redis
        self._front = f"{prefix}:{{machines}}:"  # in braces: a cluster keeps them together

    async def put(self, lease: Lease, *, renewing: bool = False) -> Lease | None:
        """See `LeaseStore.put`."""
        before = await self._ask(_PUT, "leases", lease.id, lease_text(lease), int(renewing))
        return lease_of(before) if before else None

    async def drop(self, lease_id: str, *, expired_at: float | None = None) -> bool:
        """See `LeaseStore.drop`."""
        return bool(
            await self._ask(_DROP, "leases", lease_id, "" if expired_at is None else _text(expired_at))
        )

    async def leases(self, machine: str | None = None) -> tuple[Lease, ...]:
        """See `LeaseStore.leases`."""
        found = [lease_of(text) for text in await self._ask(_VALUES, "leases")]
        return tuple(lease for lease in found if machine in (None, lease.machine))

    async def note(self, machine: str) -> Note | None:
        """See `LeaseStore.note`."""
        return note_of(await self._ask(_GET, "notes", machine))

    async def noted(self) -> tuple[str, ...]:
        """See `LeaseStore.noted`."""
        return tuple(await self._ask(_FIELDS, "notes"))

    async def set_note(self, machine: str, note: Note | None, *, if_was: Note | None) -> bool:
        """See `LeaseStore.set_note`."""
        return bool(await self._ask(_REPLACE, "notes", machine, note_text(if_was), note_text(note)))

    async def claim(self, role: str, holder: str, seconds: float, now: float) -> bool:
        """See `LeaseStore.claim`."""
        return bool(await self._ask(_CLAIM, "roles", role, holder, _text(now), _text(now + seconds)))

    async def resign(self, role: str, holder: str) -> None:
        """See `LeaseStore.resign`."""
        await self._ask(_RESIGN, "roles", role, holder)

    async def journal(self, entry: str) -> str | None:
        """See `LeaseStore.journal`."""
        return await self._ask(_GET, "journals", entry) or None

    async def set_journal(self, entry: str, text: str | None, *, if_was: str | None) -> bool:
        """See `LeaseStore.set_journal`. No text is the same as an empty one."""
        return bool(await self._ask(_REPLACE, "journals", entry, if_was or "", text or ""))

    async def starts(self, machine: str) -> tuple[float, ...]:
        """See `LeaseStore.starts`."""
        found = await self._ask(_LIST, f"starts:{quote(machine, safe='')}")
        return tuple(float(seconds) for seconds in found)

    async def add_start(self, machine: str, seconds: float) -> None:
        """See `LeaseStore.add_start`."""
        await self._ask(_ADD, f"starts:{quote(machine, safe='')}", _text(seconds), KEPT_STARTS)

    async def aclose(self) -> None:
        """Nothing: the connections belong to everything that the client shares."""

    async def _ask(self, script: Script, key: str, *arguments: Argument) -> Any:
        """What Redis answers: a number, text, or a list of text."""
        answer = await self._redis.ask(script, (self._front + key,), arguments)
        if answer is None:
            raise LeasesUnavailableError(f"Redis at {self._redis.place}, which keeps them, does not answer")
        return _decoded(answer)

    def __repr__(self) -> str:
        return f"<RedisLeases {self._redis.place}>"


def _decoded(answer: Any) -> Any:
    if isinstance(answer, list):
        return [_decoded(part) for part in cast("list[object]", answer)]
    return answer.decode() if isinstance(answer, bytes) else answer


def _text(seconds: float) -> str:
    """Seconds since 1970 to the microsecond, for `tonumber`."""
    return f"{seconds:.6f}"
