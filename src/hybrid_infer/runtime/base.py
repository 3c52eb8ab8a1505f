"""Runtime: everything that can wait, behind one protocol."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Coroutine
from datetime import datetime
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Protocol, TypeAlias, TypeVar

from hybrid_infer.runtime.fork import mend_after_fork

log = logging.getLogger("hybrid_infer")

T = TypeVar("T")

Thunk: TypeAlias = Callable[[], Coroutine[Any, Any, T]]
"""Work that has not begun: the coroutine is made where it runs."""

Drop: TypeAlias = Callable[[T], Coroutine[Any, Any, None]]
"""Gives back what nobody takes, e.g. closes a reply."""


class Guard(Protocol):
    """A lock for shared state, never held across `await`. `threading.Lock` fits."""

    def acquire(self, blocking: bool = True) -> bool: ...
    def release(self) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


def new_guard() -> Guard:
    """A lock that is free in a child process, whatever the parent's threads were doing at the fork."""
    return mend_after_fork(threading.Lock(), _free)


def _free(guard: Any) -> None:
    # What `locked` says is not enough: a thread that waited may have got the lock from the operating system
    # at the fork without having been told. `threading` and `logging` free their own locks like this, too.
    guard._at_fork_reinit()


class Leftovers:
    """What finalisers leave to be done, because they may neither lock nor wait. The next call does it.

    What was left before a fork is the parent's to do.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], object]] = SimpleQueue()
        mend_after_fork(self, Leftovers._forget)

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

    def _forget(self) -> None:
        while not self._work.empty():
            self._work.get_nowait()


class Promise(Protocol):
    """Something one call finds out and others wait for."""

    async def wait(self, timeout: float) -> bool:
        """Wait until it is kept; False if `timeout` seconds pass first.

        `math.inf` waits without end, and 0 or less only looks. A wait that is cancelled or interrupted leaves
        the promise as it was.
        """
        ...

    def keep(self) -> None:
        """Wake everybody who waits, now and later.

        From any thread and from finalisers: it takes no lock that the calling thread could hold.
        """
        ...


class Runtime(Protocol):
    """Clock, sleep, guard, promise and race in one colour.

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

    async def race(self, first: Thunk[T], backup: Thunk[T], *, after: float, drop: Drop[T]) -> T:
        """The result of `first`, or of `backup` if that succeeds earlier.

        What `first` comes to within `after` seconds is the outcome, an error too. Then `backup` begins, and
        the first success counts; if both fail, the error of `first` is raised. A result that nobody takes
        goes to `drop`. What else comes of the loser is logged at level debug.

        In tasks the loser is cancelled, and has ended when this returns. Threads cannot be cancelled: there
        both run in daemon threads, and the loser is left to end by itself. The same holds for both of them
        when the caller is cancelled or interrupted.
        """
        ...

    def detach(self, work: Thunk[None]) -> Callable[[], None] | None:
        """Begin `work` beside the caller, whose end or cancellation does not touch it.

        It contains its own errors. Returns what stops it where that can be done (a task is cancelled, a
        thread goes on), callable from any thread and from finalisers; None where it could not be begun.
        """
        ...

    def check(self) -> bool:
        """Called at the start of each call: False if the connections made so far were made elsewhere.

        Elsewhere is an event loop that is gone, or the process that this one was forked from.

        Raises:
            EventLoopError: in a second live event loop.
        """
        ...
