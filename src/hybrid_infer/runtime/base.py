"""Runtime: everything that can wait, behind one protocol."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Protocol


class Guard(Protocol):
    """A lock for shared state, never held across `await`. `threading.Lock` fits."""

    def acquire(self, blocking: bool = True) -> bool: ...
    def release(self) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Promise(Protocol):
    """Something one call finds out and others wait for."""

    async def wait(self, timeout: float) -> bool:
        """Wait until it is kept; False if `timeout` seconds pass first."""
        ...

    def keep(self) -> None:
        """Wake everybody who waits, now and later."""
        ...


class Runtime(Protocol):
    """Clock, sleep, guard and promise in one colour.

    In the blocking runtime each coroutine ends without ever suspending, so that one step runs it whole.
    """

    name: str

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def wall(self) -> datetime:
        """The time of day, UTC."""
        ...

    def guard(self) -> Guard:
        """A new lock."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def promise(self) -> Promise: ...

    def check(self) -> bool:
        """Called at the start of each call: False if the connections made so far were made elsewhere.

        Raises:
            EventLoopError: in a second live event loop.
        """
        ...
