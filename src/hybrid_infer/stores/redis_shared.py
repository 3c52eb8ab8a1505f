"""Redis as the stores ask it: bounded, in either colour, and never a reason for a call to fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.runtime.base import Runtime, Thunk, log
from hybrid_infer.stores.outage import Outage
from hybrid_infer.stores.redis_scripts import Argument, Script

PAUSE = 5.0
"""Seconds a Redis that did not answer is left alone."""


class Redis(Protocol):
    """Redis in one colour. The blocking kind never suspends."""

    place: str
    """Where it is, without credentials."""

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run a script. Raises whatever goes wrong, after a second at most."""
        ...

    async def command(self, *parts: bytes | Argument) -> Any:
        """Run one command. What it answers is bytes as they are. Raises as `run` does."""
        ...

    async def aclose(self) -> None: ...


class SharedRedis:
    """One Redis for all that a client shares with other processes.

    A Redis that is down is worth one warning for each outage.

    Args:
        redis: see `blocking_redis`, `async_redis`.
        pause: seconds a Redis that did not answer is left alone.
    """

    def __init__(self, redis: Redis, runtime: Runtime, *, pause: float = PAUSE) -> None:
        self._redis = redis
        self._runtime = runtime
        self._outage = Outage(pause)
        self._guard = runtime.guard()
        self._closed = False

    async def ask(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """What Redis answers; None where it does not, or is left alone."""
        return await self._answer(lambda: self._redis.run(script, keys, arguments))

    async def command(self, *parts: bytes | Argument) -> Any:
        """What Redis answers to one command, text as bytes; None as in `ask`."""
        return await self._answer(lambda: self._redis.command(*parts))

    async def _answer(self, work: Thunk[Any]) -> Any:
        if self._closed:
            return None
        with self._guard:
            if not self._outage.may_ask(self._runtime.now()):
                return None
        try:
            answer = await work()
        except Exception as error:
            with self._guard:
                begins = self._outage.failed(self._runtime.now())
            if begins:
                log.warning(
                    "Redis at %s: %s; until it answers, limits and budgets hold for this process alone, and "
                    "no answer is kept",
                    self._redis.place,
                    reason(error),
                )
            return None
        if self._outage.on:
            with self._guard:
                ends = self._outage.answered()
            if ends:
                log.info(
                    "Redis at %s answers again: limits, budgets and answers are shared", self._redis.place
                )
        return answer

    @property
    def place(self) -> str:
        """Where it is, without credentials."""
        return self._redis.place

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        try:
            await self._redis.aclose()
        except Exception:
            log.debug("closing the connections to Redis failed")

    def __repr__(self) -> str:
        return f"<SharedRedis {self.place}>"


def reason(error: Exception) -> str:
    """Why, in words of our own: Redis and proxies before it may quote what they were sent, passwords too."""
    causes = [error, error.__cause__]  # redis-py puts what went wrong while connecting into another error
    kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    reasons = {
        "AuthenticationError": "it does not accept the user or the password",
        "NoPermissionError": "its user may not do this with these keys",
        "BusyLoadingError": "it is still starting",
        "ReadOnlyError": "it is a replica that may not write",
        "OutOfMemoryError": "it is out of memory",
        "TimeoutError": "no answer in time",
        "ConnectionError": "no connection",
    }
    known = next((text for name, text in reasons.items() if name in kinds), None)
    return known or f"it failed with {type(error).__name__}"


def blocking_redis(url: str, runtime: Runtime, *, pause: float = PAUSE) -> SharedRedis:
    """Redis for `Client`.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py takes it.
        pause: see `SharedRedis`.

    Raises:
        ConfigurationError: the address is wrong, or the `redis` package is missing.
    """

    return SharedRedis(open_blocking(url), runtime, pause=pause)


def open_blocking(url: str) -> Redis:
    """Redis for who wants to know what goes wrong. See `blocking_redis`."""

    def connect() -> Redis:
        from hybrid_infer.stores.redis_blocking import BlockingRedis

        return BlockingRedis(url)

    return _installed(connect)


def async_redis(url: str, runtime: Runtime, *, pause: float = PAUSE) -> SharedRedis:
    """Redis for `AsyncClient`. See `blocking_redis`."""

    def connect() -> Redis:
        from hybrid_infer.stores.redis_tasks import TasksRedis

        return TasksRedis(url)

    return SharedRedis(_installed(connect), runtime, pause=pause)


def _installed(connect: Callable[[], Redis]) -> Redis:
    try:
        return connect()
    except ImportError:
        pass
    raise ConfigurationError(
        'redis_url: the redis package is not installed: pip install "hybrid-infer[redis]"'
    )
