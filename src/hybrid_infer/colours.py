"""Colours: in what the two clients differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hybrid_infer.runtime.base import Runtime
from hybrid_infer.transport.base import Transport

if TYPE_CHECKING:
    from hybrid_infer.stores.redis_shared import SharedRedis

MakeTransport = Callable[..., Transport]
"""`transport.choose.blocking_transport` or `async_transport`."""

MakeRedis = Callable[[str, Runtime], "SharedRedis"]
"""`stores.redis_shared.blocking_redis` or `async_redis`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """In what the two clients differ: how waiting is done, and what waits for the network."""

    runtime: Runtime
    transport: MakeTransport
    redis: MakeRedis
    awaits: bool = False
    """Whether it may suspend, so that hooks may be `async`."""


def blocking(runtime: Runtime | None = None) -> Colour:
    """The colour of `Client`; `runtime` is another clock for it."""
    from hybrid_infer.runtime.blocking import BlockingRuntime
    from hybrid_infer.transport.choose import blocking_transport

    return Colour(runtime=runtime or BlockingRuntime(), transport=blocking_transport, redis=_blocking_redis)


def tasks() -> Colour:
    """The colour of `AsyncClient`."""
    from hybrid_infer.runtime.tasks import TaskRuntime
    from hybrid_infer.transport.choose import async_transport

    return Colour(runtime=TaskRuntime(), transport=async_transport, redis=_async_redis, awaits=True)


def _blocking_redis(url: str, runtime: Runtime) -> SharedRedis:
    from hybrid_infer.stores.redis_shared import blocking_redis

    return blocking_redis(url, runtime)


def _async_redis(url: str, runtime: Runtime) -> SharedRedis:
    from hybrid_infer.stores.redis_shared import async_redis

    return async_redis(url, runtime)
