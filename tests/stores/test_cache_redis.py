"""The cache in a real Redis."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing
from multiprocessing import get_context
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_infer.runtime.step import step
from hybrid_infer.stores.cache_redis import RedisCache, clear, summarise
from hybrid_infer.stores.redis_shared import (
    PAUSE,
    SharedRedis,
    async_redis,
    blocking_redis,
    open_blocking,
)
from stores.cache_samples import NOON, TESTS, entry, key, proven, proves, run, runtime, warnings
from stores.redis_server import RedisServer

pytestmark = pytest.mark.real_time


def connect(colour: str, url: str, *, pause: float = PAUSE) -> SharedRedis:
    make = blocking_redis if colour == "sync" else async_redis
    return make(url, runtime(colour), pause=pause)


class Caching:
    """Makes caches of one colour under one prefix, as the processes of an application have them."""

    def __init__(self, colour: str, url: str) -> None:
        self.colour = colour
        self.url = url
        self.prefix = f"test-{uuid4().hex}"

    def __call__(self, redis: SharedRedis, **options: Any) -> RedisCache:
        return RedisCache(redis, **{"prefix": self.prefix, **options})

    def connect(self, **options: Any) -> Any:
        """A SharedRedis, closed at the end of the block."""
        return aclosing(connect(self.colour, self.url, **options))


@pytest.fixture
def caching(colour: str, server: RedisServer) -> Caching:
    return Caching(colour, server.url)


def names(server: RedisServer, prefix: str) -> list[str]:
    with server.admin() as admin:
        found: list[str] = admin.keys(f"{prefix}*")
    return found


async def test_what_was_put_is_found_by_all_who_name_the_same_redis_and_prefix(caching: Caching) -> None:
    async with caching.connect() as here, caching.connect() as there:
        one, two = caching(here), caching(there)
        assert await two.get(key(1)) is None
        await one.put(key(1), entry(expires=NOON + 60))
        assert await two.get(key(1)) == entry(expires=NOON + 60)
        assert await caching(there, prefix=f"{caching.prefix}-other").get(key(1)) is None
        await two.remove(key(1))
        assert await one.get(key(1)) is None
        await one.remove(key(1))


@settings(max_examples=50)
@given(st.binary(max_size=20_000))
def test_values_of_any_bytes_come_back_as_they_were(server: RedisServer, value: bytes) -> None:
    """Also where the address asks for texts."""
    for url in (server.url, f"{server.url}?decode_responses=True"):
        redis = connect("sync", url)
        cache = RedisCache(redis, prefix="bytes")
        step(cache.put(key(1), entry(value)))
        assert step(cache.get(key(1))) == entry(value)
        step(redis.aclose())


@pytest.mark.parametrize(
    ("lasts", "keep_stale", "seconds"),
    [(100.0, 0.0, 100), (100.0, 50.0, 150), (0.0, 50.0, 50), (None, 50.0, -1), (1e15, 0.0, 10 * 365 * 86400)],
)
async def test_redis_removes_an_answer_after_its_time(
    caching: Caching, server: RedisServer, lasts: float | None, keep_stale: float, seconds: int
) -> None:
    async with caching.connect() as redis:
        kept = entry(expires=None if lasts is None else NOON + lasts)
        await caching(redis, keep_stale=keep_stale).put(key(1), kept)
        assert await caching(redis).get(key(1)) == kept
    [name] = names(server, caching.prefix)
    with server.admin() as admin:
        assert seconds - 5 < admin.ttl(name) <= seconds


async def test_an_answer_that_is_past_its_time_or_too_large_is_not_kept(
    caching: Caching, server: RedisServer
) -> None:
    async with caching.connect() as redis:
        cache = caching(redis, max_value_bytes=1000)
        await cache.put(key(1), entry(expires=NOON - 1))
        await cache.put(key(2), entry(bytes(1001)))
        await cache.put(key(3), entry(saved_nano=2**70))
        await cache.put(key(4), entry(bytes(1000)))
    assert names(server, caching.prefix) == [f"{caching.prefix}:cache:{key(4).hex()}"]


@pytest.mark.parametrize("content", ["", "text of somebody else", None])
async def test_what_is_not_the_answer_to_this_key_is_nothing(
    caching: Caching, server: RedisServer, content: str | None
) -> None:
    async with caching.connect() as redis:
        cache = caching(redis)
        await cache.put(key(1), entry())
        with server.admin() as admin:
            there = f"{caching.prefix}:cache:{key(2).hex()}"
            if content is None:
                admin.copy(f"{caching.prefix}:cache:{key(1).hex()}", there)
            else:
                admin.set(there, content)
        assert await cache.get(key(2)) is None
        assert await cache.get(key(1)) is not None


async def test_calls_go_on_when_redis_stops_in_the_middle_with_one_warning(
    colour: str, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hybrid_infer")
    caching = Caching(colour, own_server.url)
    async with caching.connect(pause=0.3) as redis:
        cache = caching(redis)
        await cache.put(key(1), entry())
        own_server.stop()
        for _ in range(2):
            began = time.monotonic()
            for number in range(50):
                assert await cache.get(key(1)) is None
                await cache.put(key(number), entry())
                await cache.remove(key(number))
            assert time.monotonic() - began < 1.0
            time.sleep(0.3)
        [warning] = warnings(caplog)
        assert "no connection" in warning
        assert "no answer is kept" in warning
        own_server.start()
        time.sleep(0.3)
        await cache.put(key(2), entry())
        assert await cache.get(key(2)) == entry()
    assert len(warnings(caplog)) == 1


async def test_a_redis_that_says_nothing_costs_one_call_its_time_limit(
    colour: str, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caching = Caching(colour, own_server.url)
    async with caching.connect() as redis:
        cache = caching(redis)
        await cache.put(key(1), entry())
        own_server.freeze()
        began = time.monotonic()
        for number in range(50):
            assert await cache.get(key(number)) is None
            await cache.put(key(number), entry())
        assert time.monotonic() - began < 1.5
        own_server.thaw()
    assert len(warnings(caplog)) == 1


async def test_a_redis_that_is_full_is_one_warning(
    colour: str, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with own_server.admin() as admin:
        admin.config_set("maxmemory", "3mb")
    caching = Caching(colour, own_server.url)
    async with caching.connect() as redis:
        cache = caching(redis)
        for number in range(30):
            await cache.put(key(number), entry(bytes(200_000)))
    [warning] = warnings(caplog)
    assert "out of memory" in warning


def live(colour: str, url: str, prefix: str, seed: int) -> tuple[int, int]:
    """What a process finds while it puts, reads and removes: right answers and wrong ones."""

    async def body() -> tuple[int, int]:
        right = wrong = 0
        async with aclosing(connect(colour, url)) as redis:
            cache = RedisCache(redis, prefix=prefix)
            for turn in range(300):
                name = key((seed * 31 + turn * 11) % 50)
                if turn % 3 == 0:
                    await cache.put(name, entry(proven(name, turn)))
                elif turn % 50 == 1:
                    await cache.remove(name)
                elif (found := await cache.get(name)) is not None:
                    good = proves(name, found.value)
                    right, wrong = right + good, wrong + (not good)
        return right, wrong

    return run(colour, body())


def test_many_processes_share_answers_and_every_one_is_the_right_one(
    colour: str, server: RedisServer
) -> None:
    prefix = f"test-{uuid4().hex}"
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        lives = [pool.submit(live, colour, server.url, prefix, seed) for seed in range(4)]
        found = [one.result(timeout=40) for one in lives]
    assert sum(wrong for _, wrong in found) == 0
    assert all(right > 50 for right, _ in found)


async def test_many_tasks_use_one_cache_at_a_time(server: RedisServer) -> None:
    async with aclosing(connect("async", server.url)) as redis:
        cache = RedisCache(redis, prefix=f"test-{uuid4().hex}")
        kept = {key(number): entry(proven(key(number), number)) for number in range(80)}
        await asyncio.gather(*(cache.put(name, one) for name, one in kept.items()))
        found = await asyncio.gather(*(cache.get(name) for name in kept))
    assert found == list(kept.values())


@pytest.fixture
def filled(server: RedisServer) -> Callable[[str], None]:
    """Fills the cache of a prefix with 1,500 answers."""

    def fill(prefix: str) -> None:
        redis = connect("sync", server.url)
        cache = RedisCache(redis, prefix=prefix, keep_stale=1e9)
        for number in range(1500):
            kind: dict[str, Any] = (
                {"operation": "embeddings", "target": "t", "saved_nano": None} if number % 3 else {}
            )
            name = key(number)
            step(cache.put(name, entry(bytes(10), stored=NOON + number, expires=NOON + 500 + number, **kind)))
        step(redis.aclose())

    return fill


def test_the_summary_adds_up_what_is_under_the_prefix(
    server: RedisServer, filled: Callable[[str], None]
) -> None:
    """A prefix may hold what has a meaning in patterns, and others' keys are left out."""
    prefix = f"a*[b]?\\{uuid4().hex}"
    filled(prefix)
    filled(prefix.replace("*", "***"))
    with server.admin() as admin:
        admin.set(f"{prefix}:cache:text", "of somebody else")
        admin.rpush(f"{prefix}:cache:list", "of somebody else")
    redis = open_blocking(server.url)
    found = step(summarise(redis, prefix=prefix, now=NOON + 600))
    assert (found.entries, found.bytes, found.expired, found.file_bytes) == (1500, 15_000, 101, None)
    assert (found.oldest, found.newest) == (NOON, NOON + 1499)
    shapes = [
        (one.operation, one.target, one.entries, one.saved_nano, one.saved_unknown) for one in found.groups
    ]
    assert shapes == [("embeddings", "t", 1000, 0, 1000), ("chat", "modal/llm", 500, 500 * 12_345, 0)]
    step(redis.aclose())


def test_clearing_removes_the_answers_under_the_prefix_and_nothing_else(
    server: RedisServer, filled: Callable[[str], None]
) -> None:
    prefix, other = f"test-{uuid4().hex}", f"test-{uuid4().hex}"
    filled(prefix)
    filled(other)
    with server.admin() as admin:
        admin.set(f"{prefix}:{{modal}}:rates", 1)
    redis = open_blocking(server.url)
    assert step(clear(redis, prefix=prefix)) == 1500
    assert names(server, prefix) == [f"{prefix}:{{modal}}:rates"]
    assert step(summarise(redis, prefix=other, now=NOON)).entries == 1500
    step(redis.aclose())


FORK = """
import os, sys
from hybrid_infer.runtime.step import step
from stores.cache_samples import entry, key, proven, proves
from stores.test_cache_redis import RedisCache, connect

cache = RedisCache(connect("sync", sys.argv[1]), prefix="fork")
step(cache.put(key(1), entry()))
child = os.fork()
for turn in range(300):
    name = key(turn % 7)
    step(cache.put(name, entry(proven(name, turn))))
    found = step(cache.get(name))
    if found is None or not proves(name, found.value):
        os._exit(1)
if child == 0:
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")
def test_parent_and_child_of_a_fork_read_their_own_answers(server: RedisServer) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, server.url],
        env={"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert (done.returncode, done.stderr) == (0, "")
