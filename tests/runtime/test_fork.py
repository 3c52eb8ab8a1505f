"""A child process starts with free locks, nothing of its parent's work, and a loop of its own."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from functools import partial

import pytest

from hybrid_infer.errors import EventLoopError
from hybrid_infer.runtime.base import Leftovers
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.fork import mend_after_fork
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
]


def in_child(check: Callable[[], bool]) -> bool:
    """What `check` finds in a child process; False also if it raises or does not end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads, which are the point here
        child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if check() else 1
        finally:
            os._exit(status)
    for _ in range(1000):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def checked(runtime: TaskRuntime) -> list[bool]:
    async def twice() -> list[bool]:
        return [runtime.check(), runtime.check()]

    return asyncio.run(twice())


def test_in_a_child_the_connections_were_made_elsewhere() -> None:
    """The parent's loop runs in another thread; in the child it looks open and never runs again."""
    runtime, loop = TaskRuntime(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def check() -> bool:
        return runtime.check()

    try:
        assert asyncio.run_coroutine_threadsafe(check(), loop).result(5)
        assert in_child(lambda: checked(runtime) == [False, True])
        assert asyncio.run_coroutine_threadsafe(check(), loop).result(5), "the parent's are its own still"
        with pytest.raises(EventLoopError):
            checked(runtime)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_loop_that_the_child_runs_on_counts_as_elsewhere_too() -> None:
    """The very loop object of the parent, between two runs of it."""
    runtime, loop = TaskRuntime(), asyncio.new_event_loop()

    async def check() -> bool:
        return runtime.check()

    try:
        assert loop.run_until_complete(check())
        assert in_child(lambda: [loop.run_until_complete(check()) for _ in range(2)] == [False, True])
        assert loop.run_until_complete(check())
    finally:
        loop.close()


def test_a_client_that_made_no_call_yet_is_as_new_in_the_child() -> None:
    runtime = TaskRuntime()
    assert in_child(lambda: checked(runtime) == [True, True])


def test_a_child_of_a_child_is_elsewhere_again() -> None:
    runtime = TaskRuntime()
    checked(runtime)

    def child() -> bool:
        return checked(runtime) == [False, True] and in_child(lambda: checked(runtime) == [False, True])

    assert in_child(child)


@pytest.mark.parametrize("runtime", [BlockingRuntime(), TaskRuntime()], ids=lambda runtime: runtime.name)
def test_a_lock_that_a_thread_held_is_free_in_the_child(runtime: BlockingRuntime | TaskRuntime) -> None:
    guard = runtime.guard()
    with guard:
        assert in_child(lambda: guard.acquire(blocking=False))
        assert not guard.acquire(blocking=False)


@pytest.mark.parametrize("runtime", [BlockingRuntime(), TaskRuntime()], ids=lambda runtime: runtime.name)
def test_a_lock_that_a_thread_has_just_got_is_free_in_the_child(
    runtime: BlockingRuntime | TaskRuntime,
) -> None:
    """The thread has it from the operating system, and does not know yet: it waits for the interpreter."""
    guard, waiting, usual = runtime.guard(), threading.Event(), sys.getswitchinterval()

    def wait() -> None:
        waiting.set()
        with guard:
            pass

    thread = threading.Thread(target=wait)
    with guard:
        thread.start()
        waiting.wait()
        time.sleep(0.05)
        sys.setswitchinterval(5.0)
    try:
        busy = time.monotonic() + 0.05
        while time.monotonic() < busy:
            pass
        assert in_child(lambda: guard.acquire(blocking=False))
    finally:
        sys.setswitchinterval(usual)
        thread.join()


def test_what_was_left_before_a_fork_is_the_parent_s_to_do() -> None:
    leftovers = Leftovers()
    done: list[str] = []
    leftovers.put(partial(done.append, "parent"))

    def child() -> bool:
        leftovers.put(partial(done.append, "child"))
        leftovers.sweep()
        return done == ["child"]

    assert in_child(child)
    leftovers.sweep()
    assert done == ["parent"]


def test_a_child_can_race_and_wait() -> None:
    """Also when the parent's racers were under way."""
    runtime = BlockingRuntime()

    async def slow() -> str:
        time.sleep(0.3)
        return "slow"

    async def quick() -> str:
        return "quick"

    async def drop(result: str) -> None:
        pass

    def race() -> bool:
        return step(runtime.race(slow, quick, after=0.01, drop=drop)) == "quick"

    assert race()
    assert in_child(race)


def test_being_mended_keeps_nothing_alive() -> None:
    runtime, guard, leftovers = TaskRuntime(), BlockingRuntime().guard(), Leftovers()
    gone = [weakref.ref(thing) for thing in (runtime, guard, leftovers)]
    assert mend_after_fork(guard, print) is guard
    del runtime, guard, leftovers
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3
