"""Waiting in the tasks of one asyncio event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime

from hybrid_infer.errors import EventLoopError
from hybrid_infer.runtime.base import Guard


class TaskPromise:
    """A promise between tasks."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    async def wait(self, timeout: float) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        return True

    def keep(self) -> None:
        self._event.set()


class TaskRuntime:
    """The runtime of `AsyncClient`. It belongs to the loop of the first call, and moves on when that closed.

    The guard is a real lock all the same: finalisers may run in any thread.
    """

    name = "asyncio"

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        return time.monotonic() if self._loop is None else self._loop.time()

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def guard(self) -> Guard:
        return threading.Lock()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def promise(self) -> TaskPromise:
        return TaskPromise()

    def check(self) -> bool:
        loop = asyncio.get_running_loop()
        known = self._loop
        if known is loop:
            return True
        if known is not None and not known.is_closed():
            raise EventLoopError(
                "this AsyncClient is in use in another event loop that is still open: "
                "make one client for each loop, or close that loop first"
            )
        self._loop = loop
        return known is None
