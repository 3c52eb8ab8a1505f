"""What other processes do in the tests of this folder. Each function is the whole life of one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import redis

from hybrid_infer.runtime.step import step
from hybrid_infer.stores.redis_limits import Lease, RedisLimits
from stores.conftest import Sharing

T = TypeVar("T")


def run(colour: str, body: Coroutine[Any, Any, T]) -> T:
    return step(body) if colour == "sync" else asyncio.run(body)


async def taken(limits: RedisLimits, **asked: Any) -> Lease:
    """Ask until there is room."""
    given = {"slots": None, "requests": None, "tokens": None, "amount": 0.0, "lease": 30.0, **asked}
    while not isinstance(answer := await limits.acquire("modal/llm", **given), Lease):
        assert answer is not None, "Redis does not answer"
        time.sleep(answer)  # nothing else runs in this process
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """What a process saw: the most holders at once, as counted in Redis, and when it asked and took."""

    most: int
    first_asked: float
    last_taken: float


def take_turns(colour: str, url: str, prefix: str, turns: int, asked: dict[str, Any]) -> Turns:
    """Take and give back `turns` times."""

    async def body() -> Turns:
        sharing = Sharing(colour, url)
        sharing.prefix = prefix
        most, first, last = 0, time.monotonic(), 0.0
        async with aclosing(sharing()) as limits:
            for _ in range(turns):
                lease = await taken(limits, **asked)
                last = time.monotonic()
                most = max(most, int(counting.incr(f"{prefix}:holders")))
                time.sleep(0.002)
                counting.decr(f"{prefix}:holders")
                await limits.release(lease)
        return Turns(most=most, first_asked=first, last_taken=last)

    with redis.Redis.from_url(url) as counting:
        return run(colour, body())


def hold(colour: str, url: str, prefix: str, lease: float, tell: Connection) -> None:
    """Take the only slot, say so, and never come back."""

    async def body() -> None:
        sharing = Sharing(colour, url)
        sharing.prefix = prefix
        await taken(sharing(), slots=1, lease=lease)
        tell.send("held")
        time.sleep(60)

    run(colour, body())
