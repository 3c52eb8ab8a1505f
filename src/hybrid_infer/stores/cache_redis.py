"""The cache in Redis, for processes on many machines."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from hybrid_infer.calls.cached import Entry
from hybrid_infer.runtime.base import log
from hybrid_infer.stores.cache_record import HEAD, Head, head_of, pack, unpack
from hybrid_infer.stores.cache_summary import Group, Summary, largest_first
from hybrid_infer.stores.redis_shared import Redis, SharedRedis

MAX_VALUE_BYTES = 2**20
"""A larger answer is not kept: it could not be sent within the time that Redis is given, and everything else
that is shared would be left alone with it."""

_LONGEST_MS = 10 * 365 * 86_400_000
"""Ten years; Redis knows no time that is much longer."""

_HEADS = """
local heads = {}
for place, key in ipairs(KEYS) do
  local head = redis.pcall('GETRANGE', key, 0, ARGV[1])
  heads[place] = type(head) == 'string' and head or ''
end
return heads
"""
_AT_ONCE = 1000


class RedisCache:
    """Each answer is one value, as `cache_record` packs it, which Redis itself removes after its time.

    How much Redis may hold is a setting of the server (``maxmemory`` and ``maxmemory-policy``). While it is
    down, nothing is found and nothing is kept. The values are answers as they came: whoever may read Redis
    may read them.

    Args:
        prefix: what the names of keys begin with. The rest is the entry's key, in hexadecimal; each operation
            is on one key, so that a cluster may spread them.
        keep_stale: seconds for which answers are kept beyond their time.
        max_value_bytes: a larger answer is not kept.
    """

    name = "redis"

    def __init__(
        self,
        redis: SharedRedis,
        *,
        prefix: str,
        keep_stale: float = 0.0,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        self._redis = redis
        self._front = _front(prefix)
        self._keep_stale = keep_stale
        self._max_value_bytes = max_value_bytes

    async def get(self, key: bytes) -> Entry | None:
        """The entry; None where there is none, where it is damaged, and where Redis does not answer."""
        record = await self._redis.command("GET", self._front + key.hex())
        if record is None:
            return None
        entry = unpack(key, record)
        if entry is None:
            log.debug("an answer in Redis at %s is not what was stored", self._redis.place)
        return entry

    async def put(self, key: bytes, entry: Entry) -> None:
        if len(entry.value) > self._max_value_bytes:
            return
        try:
            record = pack(key, entry)
        except ValueError:
            return
        lasts: tuple[str | int, ...] = ()
        if entry.expires is not None:
            # By how long, not until when: the clocks of the machines need not agree.
            seconds = entry.expires - entry.stored + self._keep_stale
            if not seconds > 0:
                return
            lasts = ("PX", math.ceil(min(seconds * 1000, _LONGEST_MS)))
        await self._redis.command("SET", self._front + key.hex(), record, *lasts)

    async def remove(self, key: bytes) -> None:
        await self._redis.command("UNLINK", self._front + key.hex())

    async def aclose(self) -> None:
        """Nothing: the connections belong to everything that the client shares."""

    def __repr__(self) -> str:
        return f"<RedisCache {self._redis.place}>"


async def summarise(redis: Redis, *, prefix: str, now: float) -> Summary:
    """What is kept under a prefix. Looks at every key of the database, a thousand at a time.

    Args:
        now: seconds since 1970.

    Raises:
        Exception: whatever goes wrong with Redis.
    """
    heads: dict[str, Head] = {}  # by name: a key may come twice

    async def look(keys: Sequence[bytes]) -> None:
        found = await redis.command("EVAL", _HEADS, len(keys), *keys, HEAD - 1)
        for key, start in zip(keys, found, strict=True):
            head = head_of(start)
            if head is not None:
                heads[key.hex()] = head

    await _each_page(redis, prefix, look)
    groups: dict[tuple[str, str], list[Head]] = {}
    for head in heads.values():
        groups.setdefault((head.operation, head.target), []).append(head)
    times = [head.stored for head in heads.values()]
    return Summary(
        groups=largest_first(
            Group(
                operation=operation,
                target=target,
                entries=len(held),
                bytes=sum(head.size for head in held),
                saved_nano=sum(head.saved_nano or 0 for head in held),
                saved_unknown=sum(head.saved_nano is None for head in held),
            )
            for (operation, target), held in groups.items()
        ),
        oldest=min(times, default=None),
        newest=max(times, default=None),
        expired=sum(head.expires is not None and head.expires <= now for head in heads.values()),
        file_bytes=None,
    )


async def clear(redis: Redis, *, prefix: str) -> int:
    """Remove all answers under a prefix, and nothing else; how many those were.

    Raises:
        Exception: whatever goes wrong with Redis.
    """
    removed = 0

    async def remove(keys: Sequence[bytes]) -> None:
        nonlocal removed
        removed += int(await redis.command("UNLINK", *keys))

    await _each_page(redis, prefix, remove)
    return removed


async def _each_page(
    redis: Redis, prefix: str, work: Callable[[Sequence[bytes]], Coroutine[Any, Any, None]]
) -> None:
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", _front(prefix)) + "*"
    cursor = 0
    while True:
        cursor, keys = await redis.command("SCAN", cursor, "MATCH", pattern, "COUNT", _AT_ONCE)
        if keys:
            await work(keys)
        if not cursor:
            return


def _front(prefix: str) -> str:
    return f"{prefix}:cache:"
