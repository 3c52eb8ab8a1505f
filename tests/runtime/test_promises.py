"""Promises: waits of every length, kept by whoever, wherever, in the middle of whatever."""

from __future__ import annotations

import asyncio
import gc
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from hybrid_infer.runtime import virtual
from hybrid_infer.runtime.base import Promise, Runtime
from hybrid_infer.runtime.blocking import BlockingPromise
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskPromise, TaskRuntime
from hybrid_infer.runtime.virtual import VirtualPromise, VirtualThreads


def here(colour: str) -> Runtime:
    if colour == "sync":
        return VirtualThreads()
    runtime = TaskRuntime()
    runtime.check()
    return runtime


async def test_a_wait_ends_at_its_time(colour: str) -> None:
    runtime = here(colour)
    promise, zero = runtime.promise(), runtime.now()
    assert not await promise.wait(5)
    assert runtime.now() - zero == 5


@pytest.mark.parametrize("timeout", [0, -1, -math.inf])
async def test_without_time_it_only_looks(colour: str, timeout: float) -> None:
    runtime = here(colour)
    promise, zero = runtime.promise(), runtime.now()
    assert not await promise.wait(timeout)
    promise.keep()
    assert await promise.wait(timeout)
    assert runtime.now() == zero


async def test_kept_once_it_stays_kept(colour: str) -> None:
    runtime = here(colour)
    promise, zero = runtime.promise(), runtime.now()
    for timeout in (0, 5, math.inf):
        promise.keep()
        assert await promise.wait(timeout)
    assert runtime.now() == zero


def test_everybody_wakes_at_the_moment_it_is_kept() -> None:
    """Those with an end and those without, in threads and in tasks; who ran out of time before does not."""
    timeouts = (math.inf, 1.0, 30.0, math.inf)
    expected = [(True, 3.0), (False, 1.0), (True, 3.0), (True, 3.0)]
    threads = VirtualThreads()
    promise: Promise = threads.promise()

    def keeper() -> tuple[bool, float]:
        step(threads.sleep(3))
        promise.keep()
        return True, threads.now()

    waits = [lambda timeout=timeout: (step(promise.wait(timeout)), threads.now()) for timeout in timeouts]
    assert threads.run(*waits, keeper)[:-1] == expected

    async def tasks() -> list[tuple[bool, float]]:
        runtime = here("async")
        promise = runtime.promise()

        async def wait(timeout: float) -> tuple[bool, float]:
            return await promise.wait(timeout), runtime.now()

        async def keep() -> None:
            await runtime.sleep(3)
            promise.keep()

        waits = asyncio.gather(*map(wait, timeouts))
        await keep()
        return await waits

    assert virtual.run(tasks()) == expected


async def test_a_cancelled_wait_leaves_the_promise_as_it_was() -> None:
    promise = TaskPromise()
    gone, stays = (asyncio.create_task(promise.wait(math.inf)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    assert gone.cancelled() and not stays.done()
    assert not await promise.wait(1)
    promise.keep()
    assert await stays
    assert await promise.wait(1)


async def test_in_its_own_loop_it_wakes_in_the_next_round() -> None:
    promise = TaskPromise()
    waiting = asyncio.create_task(promise.wait(10))
    await asyncio.sleep(0)
    promise.keep()
    await asyncio.sleep(0)
    assert waiting.done()


@pytest.mark.real_time
async def test_another_thread_wakes_a_loop_that_sleeps() -> None:
    promise = TaskPromise()
    threading.Timer(0.05, promise.keep).start()
    begun = time.monotonic()
    assert await promise.wait(math.inf)
    assert time.monotonic() - begun < 2


def test_keeping_it_after_the_loop_closed_is_harmless() -> None:
    promise = TaskPromise()
    waiting = promise.wait(10)
    loop = asyncio.new_event_loop()
    task = loop.create_task(waiting)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    promise.keep()
    promise.keep()
    assert step(promise.wait(0))
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # that it never ends is what is tested
    waiting.close()


@pytest.mark.real_time
def test_threads_that_wait_all_wake() -> None:
    promise, woken = BlockingPromise(), []
    threads = [
        threading.Thread(target=lambda timeout=timeout: woken.append(step(promise.wait(timeout))))
        for timeout in (math.inf, 1e300, 20.0, threading.TIMEOUT_MAX) * 3
    ]
    for thread in threads:
        thread.start()
    promise.keep()
    for thread in threads:
        thread.join(5)
    assert woken == [True] * 12


@pytest.mark.real_time
def test_a_wait_in_a_thread_ends_at_its_time() -> None:
    begun = time.monotonic()
    assert not step(BlockingPromise().wait(0.05))
    assert 0.04 < time.monotonic() - begun < 2


class Leaves:
    """Keeps a promise when it is collected, as a stream does that was dropped."""

    def __init__(self, promise: Promise) -> None:
        self.promise = promise
        self.cycle = self

    def __del__(self) -> None:
        self.promise.keep()


WAITING = tuple(
    str(Path(room, file))
    for room, file in [
        ("runtime", "blocking.py"),
        ("runtime", "tasks.py"),
        ("runtime", "virtual.py"),
        ("asyncio", "timeouts.py"),
        ("", "threading.py"),
    ]
)


def at_event(number: int, do: Callable[[], None], during: Callable[[], bool]) -> tuple[bool, bool]:
    """Call `during`; at its event `number`, of each instruction that waiting is made of, call `do`.

    Returns whether it came so far, and the result. It is what a finaliser does: it runs between any two
    instructions of whatever its thread is at.
    """
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.endswith(WAITING):
            return None
        frame.f_trace_opcodes = True
        count += 1
        if count == number:
            do()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        result = during()
    finally:
        sys.settrace(before)
    return count >= number, result


def in_a_thread(wait: Coroutine[Any, Any, bool]) -> bool:
    return step(wait)


def in_a_loop(wait: Coroutine[Any, Any, bool]) -> bool:
    return virtual.run(wait)


@pytest.mark.parametrize(
    ("make", "run"),
    [
        pytest.param(BlockingPromise, in_a_thread, id="threads"),
        pytest.param(lambda: VirtualPromise(VirtualThreads()), in_a_thread, id="virtual threads"),
        pytest.param(TaskPromise, in_a_loop, id="tasks"),
    ],
)
def test_a_finaliser_may_keep_it_in_the_middle_of_a_wait(
    make: Callable[[], Promise], run: Callable[[Coroutine[Any, Any, bool]], bool]
) -> None:
    """Before or after any instruction of it, in the thread that waits: neither a deadlock nor a lost wake-up.

    Once the time is over it is too late, and the wait may say so.
    """
    number = 0
    seen: list[tuple[bool, bool]] = []
    while not seen or seen[-1][0]:
        number += 1
        promise = make()

        def collect(promise: Promise = promise) -> None:
            Leaves(promise)
            gc.collect(0)

        def wait(promise: Promise = promise) -> bool:
            return run(promise.wait(0.01))

        seen.append(at_event(number, collect, wait))
    assert len(seen) > 20
    kept = [result for _, result in seen]
    assert kept == sorted(kept, reverse=True), "once it is too late, it stays too late"
    assert kept.count(True) > 10


@pytest.mark.real_time
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers that interrupt here")
def test_a_finaliser_in_a_signal_keeps_what_its_own_thread_waits_for() -> None:
    promise = BlockingPromise()

    def collect(*_: object) -> None:
        Leaves(promise)
        gc.collect()

    before = signal.signal(signal.SIGALRM, collect)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        begun = time.monotonic()
        assert step(promise.wait(20))
        assert time.monotonic() - begun < 5
    finally:
        signal.signal(signal.SIGALRM, before)
