"""Waiting in threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TypeVar

from hybrid_infer.runtime.base import Drop, Guard, Thunk, new_guard
from hybrid_infer.runtime.racing import race
from hybrid_infer.runtime.step import step

T = TypeVar("T")


class BlockingPromise:
    """A promise between threads.

    A finaliser that keeps it may fire in the middle of a `wait` of the same thread, so there is no lock here
    that Python code takes, as an `Event` has: a token goes from each that waits to the next.
    """

    def __init__(self) -> None:
        self._kept = False
        self._token: SimpleQueue[None] = SimpleQueue()

    async def wait(self, timeout: float) -> bool:
        if self._kept:
            return True
        try:
            # What is too long for a C clock is a wait without end.
            self._token.get(timeout=max(0.0, timeout) if timeout < threading.TIMEOUT_MAX else None)
        except Empty:
            pass
        finally:
            # Also after an interrupt, which may come with the token in hand.
            if self._kept:
                self._token.put(None)
        return self._kept

    def keep(self) -> None:
        self._kept = True
        self._token.put(None)


class BlockingRuntime:
    """The runtime of `Client`: its coroutines end without ever suspending."""

    name = "blocking"

    now = staticmethod(time.monotonic)

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def guard(self) -> Guard:
        return new_guard()

    async def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))

    def promise(self) -> BlockingPromise:
        return BlockingPromise()

    async def race(self, first: Thunk[T], backup: Thunk[T], *, after: float, drop: Drop[T]) -> T:
        return await race(self, first, backup, after=after, drop=drop)

    def begin(self, work: Callable[[], None]) -> bool:
        """See `racing.Threads`."""
        return start(work)

    def detach(self, work: Thunk[None]) -> Callable[[], None] | None:
        return unstoppable if self.begin(lambda: step(work())) else None

    def check(self) -> bool:
        return True


def unstoppable() -> None:
    """What stops a thread: nothing."""


def start(work: Callable[[], None]) -> bool:
    """Do `work` in a daemon thread and a copy of the caller's context; False if there is no thread."""
    run = copy_context().run
    try:
        threading.Thread(target=run, args=(work,), name="hybrid_infer race", daemon=True).start()
    except RuntimeError:  # too many of them, or the interpreter is about to end
        return False
    return True
