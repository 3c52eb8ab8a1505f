"""Virtual time: a clock that moves only when everybody waits.

Tasks run on a `VirtualLoop`, whose clock jumps to the next timer as soon as nothing is ready to run.
Threads share a `VirtualThreads`, whose clock jumps when each of its threads waits. Hours pass in
milliseconds and every run is the same. Both are for simulations and tests: nothing here waits for sockets.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import selectors
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from hybrid_infer.runtime.base import Drop, Guard, Thunk
from hybrid_infer.runtime.blocking import start, unstoppable
from hybrid_infer.runtime.racing import race
from hybrid_infer.runtime.step import step

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


class Turn:
    """A place in the queue for the one thread that runs."""

    __slots__ = ("came", "gate", "stuck")

    def __init__(self) -> None:
        self.came = False
        self.stuck = False
        self.gate: SimpleQueue[None] = SimpleQueue()


class VirtualThreads:
    """A runtime for blocking clients in virtual time, shared by the threads it runs.

    Threads take turns: one runs at a time, until it waits for something here, and then the one whose moment
    is next, in the order in which they came to wait. So every run is the same. The thread outside of `run` is
    one of them, and so are the racers that a race left behind: they go on when all the others wait.

    The lock is reentrant, since a finaliser that keeps a promise may fire while its own thread holds it.
    """

    name = "blocking (virtual time)"

    def __init__(self) -> None:
        self._guard = threading.RLock()
        self._now = 0.0
        self._running = 1
        self._queue: list[tuple[float, int, Turn]] = []
        self._count = 0

    def run(self, *functions: Callable[[], T]) -> list[T]:
        """Run each function in a thread of its own; their results in order, or the first error."""
        results: dict[int, T] = {}
        errors: list[BaseException] = []
        everybody = Turn()
        left = len(functions)

        def body(index: int, function: Callable[[], T]) -> None:
            nonlocal left
            try:
                results[index] = function()
            except BaseException as error:
                errors.append(error)
            left -= 1
            if not left:
                self.queue(everybody, self._now)

        for pair in enumerate(functions):
            if not self.begin(partial(body, *pair)):
                raise RuntimeError("no thread is to be had")
        if functions:
            self.pause(everybody)
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
        turn = Turn()
        self.queue(turn, self._now + max(0.0, seconds))
        self.pause(turn)

    def promise(self) -> VirtualPromise:
        return VirtualPromise(self)

    async def race(self, first: Thunk[T], backup: Thunk[T], *, after: float, drop: Drop[T]) -> T:
        return await race(self, first, backup, after=after, drop=drop)

    def detach(self, work: Thunk[None]) -> Callable[[], None] | None:
        return unstoppable if self.begin(lambda: step(work())) else None

    def check(self) -> bool:
        return True

    def begin(self, work: Callable[[], None]) -> bool:
        """See `racing.Threads`. The new thread's turn comes when the caller waits."""
        turn = Turn()

        def body() -> None:
            turn.gate.get()
            try:
                work()
            finally:
                with self._guard:
                    self._running -= 1
                    self._advance()

        if not start(body):
            return False
        self.queue(turn, self._now)
        return True

    def queue(self, turn: Turn, at: float) -> None:
        """Have the turn come at a moment. If it is in the queue already, the earlier moment counts."""
        with self._guard:
            if not turn.came:
                self._count += 1
                # Compared by moment and number alone: no Python code runs while the heap is out of order.
                heapq.heappush(self._queue, (at, self._count, turn))

    def pause(self, turn: Turn) -> None:
        """Let the others run until the turn comes.

        Raises:
            RuntimeError: it never would: every thread waits without end.
        """
        left = False
        try:
            with self._guard:
                self._running -= 1
                left = True
                self._advance()
            turn.gate.get()
        except BaseException:  # an interrupt
            with self._guard:
                if left and not turn.came:
                    turn.came = True
                    self._running += 1
            raise
        if turn.stuck:
            raise RuntimeError("virtual time stands still: every thread waits for something that never comes")

    def _advance(self) -> None:
        """If nobody runs, let the next one run."""
        while self._running <= 0 and self._queue:
            at, _, turn = self._queue[0]
            if turn.came:
                heapq.heappop(self._queue)
                continue
            if at == math.inf:
                turn.stuck = True
            else:
                self._now = max(self._now, at)
            # It stays in the queue until it is found to have come: an interrupt after a pop would lose it.
            turn.came = True
            self._running = 1
            turn.gate.put(None)


class VirtualPromise:
    """A promise between the threads of a `VirtualThreads`."""

    def __init__(self, threads: VirtualThreads) -> None:
        self._threads = threads
        self._kept = False
        self._waiting: dict[Turn, None] = {}

    async def wait(self, timeout: float) -> bool:
        turn, now = Turn(), self._threads.now()
        # Who waits enters first and looks then, who keeps it the other way round: one sees the other.
        self._waiting[turn] = None
        try:
            self._threads.queue(turn, now if self._kept else now + max(0.0, timeout))
            self._threads.pause(turn)
        finally:
            self._waiting.pop(turn, None)
        return self._kept

    def keep(self) -> None:
        self._kept = True
        for turn in self._waiting.copy():
            self._threads.queue(turn, self._threads.now())
