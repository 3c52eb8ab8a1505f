"""Leases, notes, roles, journals and starts, kept the same by every store and in both clients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.stores.leases.base import KEPT_STARTS, Lease, LeaseStore, Note
from hybrid_infer.stores.leases.memory import MemoryLeases
from hybrid_infer.stores.leases.redis import RedisLeases
from hybrid_infer.stores.leases.sqlite import SqliteLeases
from hybrid_infer.stores.redis_shared import SharedRedis, async_redis, blocking_redis

pytestmark = pytest.mark.real_time

NOW = 1_762_070_400.123456
MACHINE = "together-dedicated/acme/assistant"
LEASE = Lease(
    id="1", machine=MACHINE, holder="web:1", replicas=2, expires=NOW + 60, kind="asked", why="warmed"
)
NOTE = Note(original=0, set_to=1, setting=(2, 0), at=NOW)


class Opened:
    """The same store, opened twice, as two processes do."""

    def __init__(self, kind: str, colour: str, path: Path, url: str) -> None:
        runtime = BlockingRuntime() if colour == "sync" else TaskRuntime()
        connect = blocking_redis if colour == "sync" else async_redis
        self.redis: SharedRedis | None = None
        memory, prefix = MemoryLeases(), f"test-{uuid4().hex}"

        def one() -> LeaseStore:
            if kind == "memory":
                return memory
            if kind == "sqlite":
                return SqliteLeases(path, runtime)
            self.redis = self.redis or connect(url, runtime)
            return RedisLeases(self.redis, prefix=prefix)

        self.stores = (one(), one())

    async def __aenter__(self) -> tuple[LeaseStore, LeaseStore]:
        return self.stores

    async def __aexit__(self, *_: object) -> None:
        for store in self.stores:
            await store.aclose()
        if self.redis is not None:
            await self.redis.aclose()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def opened(request: pytest.FixtureRequest, colour: str, tmp_path: Path) -> Opened:
    url = request.getfixturevalue("server").url if request.param == "redis" else ""
    return Opened(request.param, colour, tmp_path / "new" / "leases.sqlite", url)


async def test_leases_are_seen_by_all(opened: Opened) -> None:
    async with opened as (one, other):
        assert await other.leases() == ()
        elsewhere = replace(LEASE, id="2", machine="modal/llm", kind="schedule", why='"8-19" \u2192 Mo')
        assert await one.put(LEASE) is None
        assert await one.put(elsewhere) is None
        assert set(await other.leases()) == {LEASE, elsewhere}
        assert await other.leases(MACHINE) == (LEASE,)
        longer = replace(LEASE, expires=NOW + 120)
        assert await other.put(longer) == LEASE
        assert await one.leases(MACHINE) == (longer,)
        assert await one.drop("1")
        assert not await one.drop("1")
        assert await other.leases() == (elsewhere,)


async def test_renewing_writes_nothing_where_there_is_no_lease(opened: Opened) -> None:
    async with opened as (store, _):
        assert await store.put(LEASE, renewing=True) is None
        assert await store.leases() == ()
        await store.put(LEASE)
        later = replace(LEASE, expires=NOW + 90)
        assert await store.put(later, renewing=True) == LEASE
        assert await store.leases() == (later,)


async def test_only_what_is_over_is_dropped_as_expired(opened: Opened) -> None:
    """Of a lease that was renewed meanwhile, nothing is taken."""
    async with opened as (store, _):
        await store.put(LEASE)
        assert not await store.drop("1", expired_at=LEASE.expires - 0.001)
        assert await store.drop("1", expired_at=LEASE.expires)


async def test_a_note_is_written_only_over_the_one_that_was_read(opened: Opened) -> None:
    async with opened as (one, other):
        assert await one.note(MACHINE) is None
        assert not await one.set_note(MACHINE, NOTE, if_was=NOTE)
        assert await one.set_note(MACHINE, NOTE, if_was=None)
        assert not await other.set_note(MACHINE, replace(NOTE, set_to=5), if_was=None)
        assert await other.note(MACHINE) == NOTE
        assert await other.noted() == (MACHINE,)
        left = Note(original=3, set_to=3, left=True, at=NOW + 1)
        assert await other.set_note(MACHINE, left, if_was=NOTE)
        assert not await one.set_note(MACHINE, None, if_was=NOTE)
        assert await one.set_note(MACHINE, None, if_was=left)
        assert await other.note(MACHINE) is None
        assert await other.noted() == ()


async def test_one_of_all_has_a_role(opened: Opened) -> None:
    """Until it resigns or is not heard of any more."""
    async with opened as (one, other):
        assert await one.claim("owner", "a", 30.0, NOW)
        assert not await other.claim("owner", "b", 30.0, NOW + 29.9)
        assert await other.claim("another", "b", 30.0, NOW)
        assert await one.claim("owner", "a", 30.0, NOW + 20)
        assert not await other.claim("owner", "b", 30.0, NOW + 31)
        await other.resign("owner", "b")  # it has it not
        assert not await other.claim("owner", "b", 30.0, NOW + 31)
        await one.resign("owner", "a")
        assert await other.claim("owner", "b", 30.0, NOW + 31)
        assert await one.claim("owner", "a", 30.0, NOW + 61)


async def test_a_journal_is_written_only_over_the_one_that_was_read(
    opened: Opened,
) -> None:
    async with opened as (store, other):
        assert await store.journal("move") is None
        assert await store.set_journal("move", '{"step": 1}', if_was=None)
        assert not await store.set_journal("move", '{"step": 2}', if_was=None)
        assert await store.set_journal("move", '{"step": 2}', if_was='{"step": 1}')
        assert await other.journal("move") == '{"step": 2}'
        assert await store.set_journal("move", None, if_was='{"step": 2}')
        assert await store.journal("move") is None


async def test_the_last_starts_are_kept(opened: Opened) -> None:
    async with opened as (store, _):
        assert await store.starts(MACHINE) == ()
        for second in range(KEPT_STARTS + 3):
            await store.add_start(MACHINE, second + 0.5)
        await store.add_start("modal/llm", 9.0)
        assert await store.starts(MACHINE) == tuple(second + 0.5 for second in range(3, KEPT_STARTS + 3))
        assert await store.starts("modal/llm") == (9.0,)
