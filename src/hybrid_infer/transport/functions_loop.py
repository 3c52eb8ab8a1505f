"""An event loop in a thread of its own, for a package that can be cancelled only from event loops."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from hybrid_infer.runtime.base import Promise, new_guard
from hybrid_infer.runtime.fork import mend_after_fork

T = TypeVar("T")

_LAST_WORDS = 1.0
"""Seconds that the interpreter's end waits for what must still be said, such as a cancellation."""


class Errand(Generic[T]):
    """One piece of work on the loop: `promise` is kept when it is done, `value` or `error` is then set.

    `stop` asks it to end. It may be called from any thread and from finalisers: it takes no lock. A value
    that was there already goes to `drop`, in the loop.
    """

    __slots__ = ("_drop", "_loop", "_promise", "_stopped", "_stopping", "_task", "_work", "error", "value")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[], Coroutine[Any, Any, T]],
        promise: Promise,
        stopping: Callable[[asyncio.Task[Any]], None],
        drop: Callable[[T], None] | None = None,
    ) -> None:
        self._loop = loop
        self._drop = drop
        self._stopping = stopping
        self._work = work
        self._promise = promise
        self._task: asyncio.Task[T] | None = None
        self._stopped = False
        self.value: T | None = None
        self.error: BaseException | None = None

    def result(self) -> T:
        """What came of it. `CancelledError` where it was stopped."""
        error, self.error = self.error, None  # a traceback would lead back here
        if error is not None:
            raise error
        return self.value  # type: ignore[return-value]  # it is done, so there is one

    def stop(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._stop)
        except RuntimeError:
            pass  # the loop has ended, and the work with it

    def start(self) -> None:
        """In the loop."""
        self._task = self._loop.create_task(self._work())
        self._task.add_done_callback(self._end)
        if self._stopped:
            self._stop()

    def _stop(self) -> None:
        self._stopped = True
        if self._task is not None:
            self._stopping(self._task)
            self._task.cancel()
        elif self.value is not None and self._drop is not None:
            self._drop(self.value)

    def _end(self, task: asyncio.Task[T]) -> None:
        self._task = None
        if task.cancelled():
            self.error = asyncio.CancelledError()
        elif (error := task.exception()) is not None:
            self.error = error
        else:
            self.value = task.result()
        self._promise.keep()


class LoopThread:
    """The loop, begun at first use, and begun anew in a child process."""

    def __init__(self) -> None:
        self._guard = new_guard()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ends = False
        mend_after_fork(self, LoopThread._forget)

    def errand(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        promise: Promise,
        drop: Callable[[T], None] | None = None,
    ) -> Errand[T]:
        """Begin `work` in the loop and a copy of the caller's context."""
        loop = self._loop or self._begin()
        errand = Errand(loop, work, promise, self._keep, drop)
        loop.call_soon_threadsafe(errand.start)
        return errand

    def leave(self, work: Coroutine[Any, Any, object]) -> None:
        """In the loop: do `work` though nobody waits for it. The interpreter's end does, for a moment."""
        self._keep(asyncio.get_running_loop().create_task(work))

    def say(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """`leave` from any thread and from finalisers: it takes no lock."""
        loop = self._loop
        try:
            if loop is not None:
                loop.call_soon_threadsafe(lambda: self.leave(work()))
        except RuntimeError:
            pass  # the loop has ended

    async def settled(self) -> None:
        """In the loop: wait until all of that is done, and what was asked to stop has."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin(self) -> asyncio.AbstractEventLoop:
        with self._guard:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run, args=(loop,), name="hybrid_infer functions", daemon=True
                )
                self._thread.start()
                self._loop = loop
                if not self._ends:
                    # After the import of what is called here, so before its own end.
                    atexit.register(self._end)
                    self._ends = True
            return self._loop

    def _end(self) -> None:
        loop, thread, self._loop = self._loop, self._thread, None
        if loop is None or thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self.settled(), loop).result(_LAST_WORDS)
        except (TimeoutError, RuntimeError):
            pass
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_LAST_WORDS)

    def _forget(self) -> None:
        """In a child process there is no such thread."""
        self._loop, self._thread, self._tasks = None, None, set()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()


THREAD = LoopThread()
"""One for the process: what is left behind by one client is said by it after that client has gone."""
