"""Waiting in threads."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

from hybrid_infer.runtime.base import Guard


class BlockingPromise:
    """A promise between threads."""

    def __init__(self) -> None:
        self._event = threading.Event()

    async def wait(self, timeout: float) -> bool:
        return self._event.wait(timeout)

    def keep(self) -> None:
        self._event.set()


class BlockingRuntime:
    """The runtime of `Client`: its coroutines end without ever suspending."""

    name = "blocking"

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def guard(self) -> Guard:
        return threading.Lock()

    async def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))

    def promise(self) -> BlockingPromise:
        return BlockingPromise()

    def check(self) -> bool:
        return True
