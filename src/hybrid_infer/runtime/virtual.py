"""Virtual time: a clock that moves only when everybody waits.

Tasks run on a `VirtualLoop`, whose clock jumps to the next timer as soon as nothing is ready to run.
Threads share a `VirtualThreads`, whose clock jumps when each of its threads sleeps. Hours pass in
milliseconds and every run is the same. Both are for simulations and tests: nothing here waits for sockets.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hybrid_infer.runtime.base import Guard

T = TypeVar("T")

EPOCH = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
"""What virtual clocks show as the time of day at 0 s: a Monday morning."""


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for `timeout`, adds it to the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError(
                    "virtual time stands still: every task waits for something that never comes"
                )
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. `loop.time()` starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


@dataclass(order=True)
class _Sleeper:
    wake: float
    order: int
    ready: bool = field(default=False, compare=False)


class VirtualThreads:
    """A runtime for blocking clients in virtual time, shared by the threads it runs.

    Outside of `run` there is one thread, and its sleeps move the clock at once.
    """

    name = "blocking (virtual time)"

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._now = 0.0
        self._running = 0
        self._sleepers: list[_Sleeper] = []
        self._count = 0

    def run(self, *functions: Callable[[], T]) -> list[T]:
        """Run each function in a thread of its own; their results in order, or the first error."""
        results: dict[int, T] = {}
        errors: list[BaseException] = []

        def body(index: int, function: Callable[[], T]) -> None:
            try:
                results[index] = function()
            except BaseException as error:
                errors.append(error)
            finally:
                with self._changed:
                    self._running -= 1
                    self._advance()

        with self._changed:
            self._running += len(functions)
        threads = [threading.Thread(target=body, args=pair) for pair in enumerate(functions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return [results[index] for index in range(len(functions))]

    def now(self) -> float:
        return self._now

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=self._now)

    def guard(self) -> Guard:
        return threading.Lock()

    async def sleep(self, seconds: float) -> None:
        self.wait(self.sleeper(seconds))

    def promise(self) -> VirtualPromise:
        return VirtualPromise(self)

    def check(self) -> bool:
        return True

    def sleeper(self, seconds: float) -> _Sleeper:
        return _Sleeper(self._now + max(0.0, seconds), self._next())

    def wait(self, sleeper: _Sleeper) -> None:
        """Block the calling thread until its time has come or somebody woke it."""
        with self._changed:
            if self._running == 0:
                self._now = max(self._now, sleeper.wake)
                return
            if sleeper.ready:
                return
            heapq.heappush(self._sleepers, sleeper)
            self._running -= 1
            self._advance()
            while not sleeper.ready:
                self._changed.wait()

    def wake(self, sleeper: _Sleeper) -> None:
        with self._changed:
            if not sleeper.ready:
                sleeper.ready = True
                if sleeper in self._sleepers:
                    self._sleepers.remove(sleeper)
                    heapq.heapify(self._sleepers)
                    self._running += 1
                self._changed.notify_all()

    def _next(self) -> int:
        with self._changed:
            self._count += 1
            return self._count

    def _advance(self) -> None:
        if self._running or not self._sleepers:
            return
        self._now = max(self._now, self._sleepers[0].wake)
        while self._sleepers and self._sleepers[0].wake <= self._now:
            heapq.heappop(self._sleepers).ready = True
            self._running += 1
        self._changed.notify_all()


class VirtualPromise:
    """A promise between the threads of a `VirtualThreads`."""

    def __init__(self, threads: VirtualThreads) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._kept = False
        self._waiting: list[_Sleeper] = []

    async def wait(self, timeout: float) -> bool:
        sleeper = self._threads.sleeper(timeout)
        with self._lock:
            if self._kept:
                return True
            self._waiting.append(sleeper)
        self._threads.wait(sleeper)
        return self._kept

    def keep(self) -> None:
        with self._lock:
            self._kept = True
            waiting, self._waiting = self._waiting, []
        for sleeper in waiting:
            self._threads.wake(sleeper)
