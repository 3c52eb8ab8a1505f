"""Virtual time moves only when everybody waits."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.errors import EventLoopError
from hybrid_infer.runtime import virtual
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime

waits = st.lists(st.lists(st.floats(0, 1e4), max_size=5), min_size=1, max_size=6)


@given(waits)
def test_threads_and_tasks_agree_on_when_things_happen(plans: list[list[float]]) -> None:
    threads = virtual.VirtualThreads()

    def thread(plan: list[float]) -> float:
        for seconds in plan:
            step(threads.sleep(seconds))
        return threads.now()

    async def task(plan: list[float]) -> float:
        for seconds in plan:
            await asyncio.sleep(seconds)
        return asyncio.get_running_loop().time()

    async def tasks() -> list[float]:
        return await asyncio.gather(*(task(plan) for plan in plans))

    in_threads = threads.run(*[lambda plan=plan: thread(plan) for plan in plans])
    in_tasks = virtual.run(tasks())
    assert in_threads == pytest.approx(in_tasks)
    assert in_threads == pytest.approx([sum(plan) for plan in plans])


def test_a_kept_promise_wakes_a_thread_before_its_time() -> None:
    threads = virtual.VirtualThreads()
    promise = threads.promise()

    def waiter() -> tuple[bool, float]:
        return step(promise.wait(100)), threads.now()

    def keeper() -> tuple[bool, float]:
        step(threads.sleep(3))
        promise.keep()
        return True, threads.now()

    assert threads.run(waiter, keeper) == [(True, 3.0), (True, 3.0)]


def test_a_promise_nobody_keeps_ends_at_its_timeout() -> None:
    threads = virtual.VirtualThreads()
    promise = threads.promise()
    assert threads.run(lambda: (step(promise.wait(5)), threads.now())) == [(False, 5.0)]


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        virtual.VirtualThreads().run(fails)


def test_a_standstill_is_an_error_instead_of_a_hang() -> None:
    async def stuck() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="stands still"):
        virtual.run(stuck())


def test_a_task_runtime_belongs_to_one_live_loop_and_moves_on_when_it_closed() -> None:
    runtime = TaskRuntime()
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def check() -> bool:
        return runtime.check()

    try:
        assert first.run_until_complete(check())
        assert first.run_until_complete(check())
        with pytest.raises(EventLoopError):
            second.run_until_complete(check())
        first.close()
        assert not second.run_until_complete(check()), "connections must be made anew"
        assert second.run_until_complete(check())
    finally:
        first.close()
        second.close()


def test_a_standstill_of_threads_is_an_error_too() -> None:
    threads = virtual.VirtualThreads()
    promise = threads.promise()

    def stuck() -> bool:
        step(threads.sleep(1))
        return step(promise.wait(math.inf))

    for wait in (lambda: threads.run(stuck, stuck), stuck):
        with pytest.raises(RuntimeError, match="stands still"):
            wait()
    assert threads.now() == 2


@given(st.lists(st.lists(st.integers(0, 3), max_size=5), min_size=1, max_size=6))
def test_threads_take_turns_so_that_every_run_is_the_same(plans: list[list[int]]) -> None:
    """Also at the same moment."""

    def order() -> list[tuple[float, int]]:
        threads, seen = virtual.VirtualThreads(), []

        def work(number: int, plan: list[int]) -> None:
            for seconds in plan:
                seen.append((threads.now(), number))
                step(threads.sleep(seconds))

        threads.run(*[lambda job=job: work(*job) for job in enumerate(plans)])
        return seen

    first = order()
    assert [at for at, _ in first] == sorted(at for at, _ in first)
    assert [order() for _ in range(3)] == [first] * 3


def test_threads_begun_within_threads_belong_to_the_same_time() -> None:
    threads = virtual.VirtualThreads()

    def inner() -> float:
        step(threads.sleep(2))
        return threads.now()

    def outer() -> list[float]:
        step(threads.sleep(1))
        return threads.run(inner, inner)

    assert threads.run(outer, inner) == [[3.0, 3.0], 2.0]
    assert threads.run() == []
