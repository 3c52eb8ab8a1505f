"""A race: when the second attempt begins, who wins, and what becomes of the other one."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garbage import ROUNDS, counted
from hybrid_infer.runtime import virtual
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads

Racer = Callable[[], Coroutine[Any, Any, str]]


class Broken(Exception):
    """How a racer fails."""


def here(colour: str) -> Runtime:
    if colour == "sync":
        threads = VirtualThreads()
        used.append(threads)
        return threads
    tasks = TaskRuntime()
    tasks.check()
    return tasks


used: list[VirtualThreads] = []


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    while used:
        step(left_alone(used.pop()))


@dataclass
class Race:
    """A race on its course, and what was seen of it."""

    runtime: Runtime
    began: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    ended: list[str] = field(default_factory=list[str])
    dropped: list[str] = field(default_factory=list[str])

    def racer(self, name: str, seconds: float, ok: bool = True) -> Racer:
        async def run() -> str:
            self.began.append((name, self.runtime.now()))
            try:
                await self.runtime.sleep(seconds)
                if not ok:
                    raise Broken(name)
                return name
            finally:
                self.ended.append(name)

        return run

    async def drop(self, result: str) -> None:
        self.dropped.append(result)

    async def run(self, first: Racer, backup: Racer, *, after: float) -> str:
        """The winner, or the error as text."""
        try:
            return await self.runtime.race(first, backup, after=after, drop=self.drop)
        except Broken as error:
            return f"{error} broke"


of_others: set[threading.Thread] = set()
"""Threads that were there before a test began."""


@pytest.fixture(autouse=True)
def only_our_own_threads() -> None:
    of_others.clear()
    of_others.update(threading.enumerate())


def racing_threads() -> list[threading.Thread]:
    return [thread for thread in set(threading.enumerate()) - of_others if "race" in thread.name]


async def left_alone(runtime: Runtime) -> None:
    """Time passes until every loser has ended."""
    await runtime.sleep(1e6)
    for thread in racing_threads():
        thread.join(5)
    assert racing_threads() == []


@dataclass(frozen=True)
class Plan:
    """Seconds until each of the two ends, whether well, and when the backup begins.

    `first` never ends at the very moment the backup begins, yet both may end at the same moment.
    """

    first: int
    first_ok: bool
    backup: int
    backup_ok: bool
    after: int
    pause: int

    def outcome(self) -> tuple[float, str]:
        """The model: after how many seconds it is decided, and how."""
        end = self.after + self.backup
        if self.first < self.after:
            return self.first, "first" if self.first_ok else "first broke"
        if self.first_ok and (self.first <= end or not self.backup_ok):
            return self.first, "first"
        if self.backup_ok:
            return end, "backup"
        return max(self.first, end), "first broke"

    def dropped(self, colour: str) -> list[str]:
        """The results nobody takes. A task has one only if both end at the same moment; a thread goes on."""
        end = self.after + self.backup
        if self.first < self.after or not (self.first_ok and self.backup_ok):
            return []
        if colour == "async" and self.first != end:
            return []
        return ["backup" if self.first <= end else "first"]


odd, even = st.integers(0, 10).map(lambda n: 2 * n + 1), st.integers(1, 20).map(lambda n: 2 * n)
plans = st.lists(
    st.builds(Plan, even, st.booleans(), st.integers(1, 30), st.booleans(), odd, st.integers(0, 9)),
    min_size=1,
    max_size=4,
)
Seen = tuple[float, str, list[str]]


async def run_plan(runtime: Runtime, plan: Plan, dropped: list[str]) -> tuple[float, str]:
    await runtime.sleep(plan.pause)
    race, started = Race(runtime, dropped=dropped), runtime.now()
    how = await race.run(
        race.racer("first", plan.first, plan.first_ok),
        race.racer("backup", plan.backup, plan.backup_ok),
        after=plan.after,
    )
    return runtime.now() - started, how


@given(plans)
def test_races_one_after_the_other_go_as_the_model_says(listed: list[Plan]) -> None:
    """Losers of earlier races are still on their way while later ones run."""

    async def all_of_them(runtime: Runtime) -> list[Seen]:
        dropped: list[list[str]] = [[] for _ in listed]
        seen = [await run_plan(runtime, plan, dropped[n]) for n, plan in enumerate(listed)]
        await left_alone(runtime)
        return [(*one, gone) for one, gone in zip(seen, dropped, strict=True)]

    async def in_tasks() -> list[Seen]:
        return await all_of_them(here("async"))

    for colour, seen in [("sync", step(all_of_them(here("sync")))), ("async", virtual.run(in_tasks()))]:
        assert seen == [(*plan.outcome(), plan.dropped(colour)) for plan in listed]


@given(plans)
def test_races_at_the_same_time_go_as_the_model_says(listed: list[Plan]) -> None:
    threads = VirtualThreads()
    used.append(threads)
    dropped: list[list[str]] = [[] for _ in listed]
    jobs = [
        lambda plan=plan, gone=gone: step(run_plan(threads, plan, gone))
        for plan, gone in zip(listed, dropped, strict=True)
    ]

    async def in_tasks() -> list[tuple[float, str]]:
        runtime = here("async")
        return await asyncio.gather(*(run_plan(runtime, plan, []) for plan in listed))

    expected = [plan.outcome() for plan in listed]
    assert threads.run(*jobs) == expected
    assert virtual.run(in_tasks()) == expected
    step(left_alone(threads))
    assert dropped == [plan.dropped("sync") for plan in listed]


async def test_the_backup_begins_only_when_the_first_is_late(colour: str) -> None:
    for seconds, begun in [(1.0, [("first", 0.0)]), (9.0, [("first", 0.0), ("backup", 2.0)])]:
        race = Race(here(colour))
        zero = race.runtime.now()
        assert await race.run(race.racer("first", seconds), race.racer("backup", 99), after=2) == "first"
        assert [(name, at - zero) for name, at in race.began] == begun
        assert race.runtime.now() - zero == seconds


async def test_without_end_the_first_is_waited_for_alone(colour: str) -> None:
    race = Race(here(colour))
    assert await race.run(race.racer("first", 1e5), race.racer("backup", 1), after=math.inf) == "first"
    assert len(race.began) == 1


async def test_at_once_both_begin(colour: str) -> None:
    race = Race(here(colour))
    assert await race.run(race.racer("first", 5), race.racer("backup", 3), after=0) == "backup"
    assert {at - race.began[0][1] for _, at in race.began} == {0.0}


async def test_what_cannot_even_begin_has_failed(colour: str) -> None:
    """A thunk that raises instead of giving a coroutine loses like one whose coroutine raises."""
    race = Race(here(colour))

    def broken() -> Coroutine[Any, Any, str]:
        raise Broken("at once")

    assert await race.run(race.racer("first", 5), broken, after=1) == "first"
    assert await race.run(broken, race.racer("backup", 5), after=1) == "at once broke"


async def test_the_error_that_is_raised_is_the_racer_s_own(colour: str) -> None:
    """With its traceback, and without the other one's as its context."""
    race = Race(here(colour))
    with pytest.raises(Broken, match="first") as caught:
        await race.runtime.race(
            race.racer("first", 3, ok=False), race.racer("backup", 1, ok=False), after=1, drop=race.drop
        )
    assert caught.traceback[-1].name == "run"
    assert caught.value.__context__ is None


async def test_both_see_the_caller_s_context(colour: str) -> None:
    """So that their log lines and spans belong to the call."""
    var: ContextVar[str] = ContextVar("var", default="nothing")
    token = var.set("the call's")
    race = Race(here(colour))
    seen = []

    async def looks() -> str:
        seen.append(var.get())
        await race.runtime.sleep(5)
        return ""

    await race.run(looks, looks, after=1)
    var.reset(token)
    assert seen == ["the call's"] * 2


async def test_errors_of_losers_are_told_to_the_log_alone(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    race = Race(here(colour))

    async def drop(result: str) -> None:
        raise Broken(f"dropping {result}")

    for first, backup in [(3, 9), (8, 5)]:  # the backup wins both; the first fails before and after it
        result = await race.runtime.race(
            race.racer("first", first, ok=False), race.racer("backup", backup), after=1, drop=race.drop
        )
        assert result == "backup"
    assert await race.runtime.race(race.racer("first", 3), race.racer("backup", 2), after=1, drop=drop)
    await left_alone(race.runtime)
    told = [record for record in caplog.records if record.name != "asyncio" or record.levelno > logging.DEBUG]
    assert {(record.name, record.levelname) for record in told} == {("hybrid_infer", "DEBUG")}
    errors = [str(record.exc_info[1]) for record in told if record.exc_info]
    failed = ["first", "first"] if colour == "sync" else ["first"]  # a task is cancelled before it can fail
    assert errors == [*failed, "dropping backup"]


async def test_a_race_leaves_no_reference_cycle(colour: str) -> None:
    runtime = here(colour)

    async def races() -> None:
        for plan in [(1, True, 1, True), (1, False, 1, True), (5, True, 9, True), (9, True, 3, False)]:
            for backup_ok in (True, False):
                await run_plan(runtime, Plan(*plan[:3], backup_ok, after=2, pause=0), [])
        for first_ok, backup_ok in [(False, True), (True, False), (False, False)]:
            await run_plan(runtime, Plan(6, first_ok, 9, backup_ok, after=2, pause=0), [])
        await left_alone(runtime)

    await races()
    found: list[int] = []
    for _ in range(ROUNDS):
        with counted(found):
            await races()
    assert min(found) == 0
