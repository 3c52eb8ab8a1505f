"""Leases in a file and in Redis when something goes wrong: many writers, foreign and broken files, forks."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.stores.leases.base import LeasesUnavailableError
from hybrid_infer.stores.leases.redis import RedisLeases
from hybrid_infer.stores.leases.sqlite import SqliteLeases
from hybrid_infer.stores.redis_shared import async_redis, blocking_redis
from stores.redis_server import RedisServer
from stores.test_leases import LEASE, MACHINE

pytestmark = pytest.mark.real_time


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases.sqlite"


def opened(path: Path, *, patience: float = 5.0) -> SqliteLeases:
    return SqliteLeases(path, BlockingRuntime(), patience=patience)


def test_nobody_else_may_read_the_file(path: Path) -> None:
    step(opened(path).put(LEASE))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_many_processes_write_and_nothing_is_lost(path: Path) -> None:
    """Also where all of them make the file at once; and a role goes to one of them."""
    program = textwrap.dedent(
        """
        import sys
        from dataclasses import replace
        from hybrid_infer.runtime.blocking import BlockingRuntime
        from hybrid_infer.runtime.step import step
        from hybrid_infer.stores.leases.base import Lease
        from hybrid_infer.stores.leases.sqlite import SqliteLeases

        store = SqliteLeases(sys.argv[1], BlockingRuntime(), patience=30.0)
        lease = Lease(id="", machine="m", holder="h", replicas=1, expires=9.0, kind="asked", why="")
        sys.stdin.readline()
        for place in range(15):
            step(store.put(replace(lease, id=f"{sys.argv[2]}-{place}")))
            while True:
                before = step(store.journal("count"))
                after = str(int(before or 0) + 1)
                if step(store.set_journal("count", after, if_was=before)):
                    break
        print(step(store.claim("owner", sys.argv[2], 60.0, 0.0)))
        """
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    said = [worker.communicate("go\n", timeout=50)[0].strip() for worker in workers]
    store = opened(path)
    assert len(step(store.leases())) == 60
    assert step(store.journal("count")) == "60"
    assert sorted(said) == ["False", "False", "False", "True"]


def test_a_file_of_something_else_is_left_as_it_is(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="is an SQLite file of something else; name another file"):
        step(opened(path).leases())
    assert path.read_bytes() == before


def test_a_newer_file_is_left_as_it_is(path: Path) -> None:
    step(opened(path).put(LEASE))
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigurationError, match="version 99"):
        step(opened(path).leases())


def test_a_broken_file_is_said_with_what_to_do(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(ConfigurationError, match="damaged or no SQLite file") as caught:
        step(opened(path).put(LEASE))
    assert str(path) in str(caught.value)
    assert "move it away" in str(caught.value)


def test_a_place_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        step(opened(tmp_path / "file" / "leases.sqlite").leases())
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        step(opened(tmp_path).leases())


def test_a_file_that_another_process_holds_is_waited_for_and_then_said(path: Path) -> None:
    store = opened(path, patience=0.2)
    step(store.put(LEASE))
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    with pytest.raises(LeasesUnavailableError, match="held by another process"):
        step(store.leases())
    db.execute("ROLLBACK")
    db.close()
    assert step(store.leases()) == (LEASE,)


def test_a_forked_child_writes_to_the_same_file(path: Path) -> None:
    store = opened(path)
    step(store.put(LEASE))
    child = os.fork()
    if not child:
        try:
            step(store.put(replace(LEASE, id="child")))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert [lease.id for lease in step(store.leases(MACHINE))] == ["1", "child"]


async def test_a_redis_that_is_down_is_said(colour: str, own_server: RedisServer) -> None:
    """And it is asked again after its pause."""
    blocking = colour == "sync"
    redis = (
        blocking_redis(own_server.url, BlockingRuntime(), pause=0.0)
        if blocking
        else async_redis(own_server.url, TaskRuntime(), pause=0.0)
    )
    store = RedisLeases(redis, prefix="test")
    await store.put(LEASE)
    own_server.stop()
    with pytest.raises(LeasesUnavailableError, match="does not answer"):
        await store.leases()
    with pytest.raises(LeasesUnavailableError):
        await store.claim("owner", "a", 30.0, 0.0)
    own_server.start()
    assert await store.leases() == ()
    await redis.aclose()
