"""A race between threads: a second attempt at what takes unusually long, and the first success counts."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from hybrid_infer.runtime.base import Drop, Promise, Thunk
from hybrid_infer.runtime.step import step

log = logging.getLogger("hybrid_infer")

T = TypeVar("T")


class Threads(Protocol):
    """What a race needs of the runtime whose threads it is run in."""

    def promise(self) -> Promise: ...

    def begin(self, work: Callable[[], None]) -> bool:
        """Do `work` in a daemon thread and a copy of the caller's context; False if there is no thread."""
        ...


async def race(threads: Threads, first: Thunk[T], backup: Thunk[T], *, after: float, drop: Drop[T]) -> T:
    """See `Runtime.race`. It never suspends.

    A thread cannot be cancelled, so the loser is abandoned: it goes on until it ends by itself, and drops its
    own result. Without a thread for it, as at the interpreter's end, `first` runs in the caller's.
    """
    course = _Course(threads.promise(), drop)
    try:
        if not threads.begin(partial(course.run, 0, first)):
            return await first()
        if not await course.decided.wait(after) and course.admit():
            if not threads.begin(partial(course.run, 1, backup)):
                course.withdraw()
            await course.decided.wait(math.inf)
        return course.outcome()
    except BaseException:
        course.abandon()
        raise


class _Course(Generic[T]):
    """Who runs, and what came of it. Whoever succeeds first closes it; who comes later drops what they have.

    `outcome` and `abandon` empty it: an error leads, by its traceback, back to here.
    """

    def __init__(self, decided: Promise, drop: Drop[T]) -> None:
        self.decided = decided
        self._drop = drop
        self._guard = threading.Lock()
        self._open = True
        self._entered = 1
        self._result: list[T] = []
        self._errors: dict[int, BaseException] = {}

    def run(self, lane: int, racer: Thunk[T]) -> None:
        """The body of a racer's thread."""
        try:
            result = step(racer())
        except BaseException as error:
            self._fail(lane, error)
        else:
            self._succeed(result)

    def admit(self) -> bool:
        """The backup begins; False if it is over already."""
        with self._guard:
            if self._open:
                self._entered += 1
            return self._open

    def withdraw(self) -> None:
        """The backup could not begin after all."""
        with self._guard:
            self._entered -= 1
            self._open = self._open and len(self._errors) < self._entered
            over = not self._open
        if over:
            self.decided.keep()

    def outcome(self) -> T:
        """The result of the winner, or the error of `first`."""
        result, errors = self._close()
        failed = [] if result else [errors.pop(0)]
        while errors:
            _log(errors.popitem()[1])
        if result:
            return result[0]
        raise failed.pop()

    def abandon(self) -> None:
        """The caller takes nothing any more."""
        for unwanted in self._close()[0]:
            self._discard(unwanted)

    def _close(self) -> tuple[list[T], dict[int, BaseException]]:
        with self._guard:
            self._open = False
            result, self._result = self._result, []
            errors, self._errors = self._errors, {}
        return result, errors

    def _succeed(self, result: T) -> None:
        with self._guard:
            won, self._open = self._open, False
            if won:
                self._result.append(result)
        if won:
            self.decided.keep()
        else:
            self._discard(result)

    def _fail(self, lane: int, error: BaseException) -> None:
        with self._guard:
            counts = self._open
            if counts:
                self._errors[lane] = error
                self._open = len(self._errors) < self._entered
            over = not self._open
        if not counts:
            _log(error)
        elif over:
            self.decided.keep()

    def _discard(self, result: T) -> None:
        try:
            step(self._drop(result))
        except BaseException as error:
            _log(error)


def _log(error: BaseException) -> None:
    log.debug("the loser of a race failed", exc_info=error)
