"""Races in tasks: the loser is cancelled, and so are both with the caller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hybrid_infer.runtime.base import Thunk
from hybrid_infer.runtime.tasks import TaskRuntime

log: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    log.clear()


async def drop(result: str) -> None:
    log.append(f"{result} dropped")


class Racer:
    """Runs for `seconds`. When cancelled, it ends after `cleanup` seconds; well, if it is stubborn."""

    def __init__(self, name: str, seconds: float, *, cleanup: float = 0, stubborn: bool = False) -> None:
        self.name = name
        self.seconds = seconds
        self.cleanup = cleanup
        self.stubborn = stubborn

    async def __call__(self) -> str:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            try:
                await asyncio.sleep(self.cleanup)
            finally:
                log.append(f"{self.name} cancelled")
            if not self.stubborn:
                raise
        return self.name


def race(first: Racer, backup: Racer, *, after: float = 1) -> asyncio.Task[str]:
    runtime = TaskRuntime()
    runtime.check()
    return asyncio.create_task(runtime.race(first, backup, after=after, drop=drop))


def nobody_is_left() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_loser_has_cleaned_up_when_the_winner_is_handed_over() -> None:
    assert await race(Racer("first", 50, cleanup=2), Racer("backup", 3)) == "backup"
    assert log == ["first cancelled"]
    assert asyncio.get_running_loop().time() == 6
    assert nobody_is_left()


async def test_a_loser_that_ends_well_in_spite_of_it_is_dropped() -> None:
    assert await race(Racer("first", 50, stubborn=True), Racer("backup", 3)) == "backup"
    assert log == ["first cancelled", "first dropped"]


@pytest.mark.parametrize("at", [0, 0.5, 2])
async def test_a_cancelled_caller_takes_both_along(at: float) -> None:
    """Before the backup begins, and after it."""
    task = race(Racer("first", 50, cleanup=2), Racer("backup", 50, cleanup=3))
    await asyncio.sleep(at)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["first cancelled", "backup cancelled"][: 1 if at < 1 else 2]
    assert nobody_is_left()


async def test_a_caller_cancelled_again_still_waits_for_the_end_of_both() -> None:
    """The second time cuts their cleanup short, as it would without a race."""
    task = race(Racer("first", 50, cleanup=20), Racer("backup", 50, cleanup=20))
    for _ in range(2):
        await asyncio.sleep(2)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["first cancelled", "backup cancelled"]
    assert asyncio.get_running_loop().time() == 4
    assert nobody_is_left()


async def test_a_caller_cancelled_while_the_loser_cleans_up_drops_the_winner() -> None:
    task = race(Racer("first", 50, cleanup=20), Racer("backup", 2))
    await asyncio.sleep(5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["first cancelled", "backup dropped"]
    assert nobody_is_left()


async def test_a_deadline_around_a_race_is_kept() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await race(Racer("first", 50), Racer("backup", 50))
    assert asyncio.get_running_loop().time() == 5


async def test_no_error_is_left_for_the_loop_to_report() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))

    async def fails() -> str:
        await asyncio.sleep(3)
        raise KeyError("x")

    async def fails_at_its_end() -> str:
        try:
            await asyncio.sleep(50)
        finally:
            raise KeyError("y")
        return ""

    runtime = TaskRuntime()
    pairs: list[tuple[Thunk[str], Thunk[str]]] = [
        (fails, fails),
        (fails_at_its_end, Racer("backup", 3)),
        (Racer("first", 4), fails),
    ]
    for first, backup in pairs:
        try:
            await runtime.race(first, backup, after=1, drop=drop)
        except KeyError:
            pass
    task = asyncio.create_task(runtime.race(fails_at_its_end, fails_at_its_end, after=1, drop=drop))
    await asyncio.sleep(2)
    task.cancel()
    await asyncio.wait([task])
    del task
    await asyncio.sleep(0)
    assert reports == []
