"""Runtime: everything that can wait, behind one protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Protocol

log = logging.getLogger("hybrid_infer")


class Guard(Protocol):
    """A lock for shared state, never held across `await`. `threading.Lock` fits."""

    def acquire(self, blocking: bool = True) -> bool: ...
    def release(self) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Leftovers:
    """What finalisers leave to be done, because they may neither lock nor wait. The next call does it."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def put(self, work: Callable[[], object]) -> None:
        self._work.put(work)

    def sweep(self) -> None:
        """Do it, in the order it was left. Two threads share the work: what is not empty may be by now."""
        while not self._work.empty():
            try:
                work = self._work.get_nowait()
            except Empty:
                return
            try:
                work()
            except Exception:
                log.warning("tidying up after a call failed", exc_info=True)


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
