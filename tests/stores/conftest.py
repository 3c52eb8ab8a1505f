"""Redis servers, and shared limits of either colour, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.stores.redis_limits import RedisLimits
from hybrid_infer.stores.redis_shared import PAUSE, async_redis, blocking_redis
from stores.redis_server import RedisServer


class Sharing:
    """Makes shared limits of one colour, as the processes of one application have them."""

    def __init__(self, colour: str, url: str) -> None:
        self.colour = colour
        self.url = url
        self.prefix = f"test-{uuid4().hex}"

    def __call__(
        self, url: str | None = None, *, prefix: str | None = None, pause: float = PAUSE
    ) -> RedisLimits:
        where, named = url or self.url, prefix or self.prefix
        if self.colour == "sync":
            redis = blocking_redis(where, BlockingRuntime(), pause=pause)
        else:
            redis = async_redis(where, TaskRuntime(), pause=pause)
        return RedisLimits(redis, prefix=named)


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """One that the test may stop."""
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture
def shared(colour: str, server: RedisServer) -> Sharing:
    return Sharing(colour, server.url)
