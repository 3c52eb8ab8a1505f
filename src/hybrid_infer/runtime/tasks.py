"""Waiting in the tasks of one asyncio event loop."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from hybrid_infer.errors import EventLoopError
from hybrid_infer.runtime.base import Drop, Guard, Thunk, new_guard
from hybrid_infer.runtime.fork import mend_after_fork

log = logging.getLogger("hybrid_infer")

T = TypeVar("T")


class TaskPromise:
    """A promise between tasks, which any thread may keep.

    No lock: a finaliser that keeps it may fire anywhere. Who waits enters first and looks then; who keeps it
    says so first and looks who waits then. So one of the two sees the other.
    """

    def __init__(self) -> None:
        self._kept = False
        self._waiting: dict[asyncio.Future[None], None] = {}

    async def wait(self, timeout: float) -> bool:
        if not self._kept and timeout <= 0:
            await asyncio.sleep(0)  # whoever asks again and again lets the others run
        if self._kept or timeout <= 0:
            return self._kept
        kept = asyncio.get_running_loop().create_future()
        self._waiting[kept] = None
        try:
            if not self._kept:
                async with asyncio.timeout(_finite(timeout)):
                    await kept
        except TimeoutError:
            pass
        finally:
            self._waiting.pop(kept, None)
        return self._kept

    def keep(self) -> None:
        self._kept = True
        for waiting in self._waiting.copy():
            _wake(waiting)


def _wake(waiting: asyncio.Future[None]) -> None:
    loop = waiting.get_loop()
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        _settle(waiting)
        return
    try:
        loop.call_soon_threadsafe(_settle, waiting)
    except RuntimeError:
        pass  # the loop is closed: nobody waits there any more


def _stop(task: asyncio.Task[None]) -> None:
    loop = task.get_loop()
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        task.cancel()
        return
    try:
        loop.call_soon_threadsafe(task.cancel)
    except RuntimeError:
        pass  # the loop is closed, and the task with it


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class TaskRuntime:
    """The runtime of `AsyncClient`. It belongs to the loop of the first call, and moves on when that closed.

    A child process moves on, too: its parent's loop looks open there and never runs. The guard is a real lock
    all the same: finalisers may run in any thread.
    """

    name = "asyncio"

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inherited = False
        self._detached: set[asyncio.Task[None]] = set()  # a loop alone does not keep its tasks
        mend_after_fork(self, TaskRuntime._enter_child)

    def now(self) -> float:
        return time.monotonic() if self._loop is None else self._loop.time()

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def guard(self) -> Guard:
        return new_guard()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def promise(self) -> TaskPromise:
        return TaskPromise()

    async def race(self, first: Thunk[T], backup: Thunk[T], *, after: float, drop: Drop[T]) -> T:
        racers = [asyncio.create_task(_run(first))]
        try:
            await _decide(racers, backup, after)
        except BaseException:
            await _end(racers, drop)
            raise
        winner = next(filter(_succeeded, racers), racers[0])
        racers.remove(winner)
        try:
            await _end(racers, drop)
        except BaseException:
            await _end([winner], drop)
            raise
        try:
            return winner.result()
        finally:
            # An error leads, by its traceback, back to this frame.
            del winner, racers

    def detach(self, work: Thunk[None]) -> Callable[[], None] | None:
        task = asyncio.get_running_loop().create_task(_run(work))
        self._detached.add(task)
        task.add_done_callback(self._detached.discard)
        return partial(_stop, task)

    def check(self) -> bool:
        loop = asyncio.get_running_loop()
        known, inherited = self._loop, self._inherited
        if known is loop and not inherited:
            return True
        if known is not None and not inherited and not known.is_closed():
            raise EventLoopError(
                "this AsyncClient is in use in another event loop that is still open: "
                "make one client for each loop, or close that loop first"
            )
        self._loop, self._inherited = loop, False
        return known is None

    def _enter_child(self) -> None:
        self._inherited = True


def _finite(timeout: float) -> float | None:
    return None if timeout == math.inf else timeout


async def _run(racer: Thunk[T]) -> T:
    return await racer()


async def _decide(racers: list[asyncio.Task[T]], backup: Thunk[T], after: float) -> None:
    """Wait until one has succeeded or all have failed. The backup is added to `racers` when it is begun."""
    await asyncio.wait(racers, timeout=_finite(after))
    if racers[0].done():
        return
    racers.append(asyncio.create_task(_run(backup)))
    while not any(map(_succeeded, racers)) and (running := _running(racers)):
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)


async def _end(racers: list[asyncio.Task[T]], drop: Drop[T]) -> None:
    """Cancel what still runs, wait until it ended, and drop what came of it.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile; only now, when everything has ended.
    """
    cancelled = False
    while running := _running(racers):
        for racer in running:
            racer.cancel()
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError:
            cancelled = True
    for racer in racers:
        if _succeeded(racer):
            try:
                await drop(racer.result())
            except asyncio.CancelledError:
                cancelled = True
            except Exception as error:
                _log(error)
        elif not racer.cancelled():
            _log(racer.exception())
    if cancelled:
        raise asyncio.CancelledError


def _running(racers: list[asyncio.Task[T]]) -> list[asyncio.Task[T]]:
    return [racer for racer in racers if not racer.done()]


def _succeeded(racer: asyncio.Task[Any]) -> bool:
    return racer.done() and not racer.cancelled() and racer.exception() is None


def _log(error: BaseException | None) -> None:
    log.debug("the loser of a race failed", exc_info=error)
