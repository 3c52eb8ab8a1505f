"""Races in threads: the loser is left behind, in a daemon thread, and harms nobody."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from textwrap import dedent
from typing import Any

import pytest

from garbage import ROUNDS, counted
from hybrid_infer.errors import ForeignAwaitError
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.virtual import VirtualThreads

pytestmark = pytest.mark.real_time
runtime = BlockingRuntime()


class Held:
    """A racer that ends, well or badly, when the test lets it go; it tells what is dropped."""

    def __init__(self) -> None:
        self.going: SimpleQueue[Any] = SimpleQueue()
        self.dropped: SimpleQueue[str] = SimpleQueue()
        self.thread: threading.Thread | None = None

    async def __call__(self) -> str:
        self.thread = threading.current_thread()
        result = self.going.get(timeout=5)
        if result is KeyError:
            raise KeyError("late")
        return str(result)

    async def drop(self, result: str) -> None:
        self.dropped.put(result)

    def ended(self) -> bool:
        assert self.thread is not None
        self.thread.join(5)
        return not self.thread.is_alive()


async def quick() -> str:
    return "backup"


def test_the_winner_is_handed_over_while_the_loser_goes_on() -> None:
    slow = Held()
    assert step(runtime.race(slow, quick, after=0.01, drop=slow.drop)) == "backup"
    assert slow.dropped.empty()
    slow.going.put("late")
    assert slow.dropped.get(timeout=5) == "late"
    assert slow.ended()


def test_the_error_of_a_loser_left_behind_is_nobody_s() -> None:
    """It would reach `threading.excepthook`, which makes it a failure of this test."""
    slow = Held()
    assert step(runtime.race(slow, quick, after=0.01, drop=slow.drop)) == "backup"
    slow.going.put(KeyError)
    assert slow.ended()


def test_both_run_in_daemon_threads_and_the_caller_s_is_free() -> None:
    slow = Held()
    slow.going.put("in time")
    assert step(runtime.race(slow, quick, after=math.inf, drop=slow.drop)) == "in time"
    assert slow.thread is not threading.current_thread()
    assert slow.thread is not None and slow.thread.daemon


def test_a_foreign_await_is_refused_at_its_own_line() -> None:
    async def foreign() -> str:
        import asyncio

        await asyncio.sleep(0)
        return ""

    with pytest.raises(ForeignAwaitError) as caught:
        step(runtime.race(foreign, quick, after=5, drop=Held().drop))
    assert "foreign" in [entry.name for entry in caught.traceback]


@pytest.mark.parametrize("started", [0, 1])
def test_where_no_thread_is_to_be_had_it_goes_without(started: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the race, or without the backup."""
    start, left = threading.Thread.start, iter(range(started))

    def scarce(thread: threading.Thread) -> None:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    async def first() -> str:
        time.sleep(0.05)
        return "first"

    monkeypatch.setattr(threading.Thread, "start", scarce)
    assert step(runtime.race(first, quick, after=0.01, drop=Held().drop)) == "first"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
@pytest.mark.parametrize("after", [0.01, math.inf])
def test_an_interrupt_reaches_the_caller_at_once(after: float) -> None:
    """Both racers are left behind, and drop what they have when they end."""
    main, racers = threading.main_thread().ident, [Held(), Held()]
    assert main is not None
    timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        step(runtime.race(*racers, after=after, drop=racers[0].drop))
    assert time.monotonic() - begun < 2
    timer.join()
    for racer in [racer for racer in racers if racer.thread]:
        racer.going.put("late")
        assert racer.ended()
        assert racers[0].dropped.get(timeout=5) == "late"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
def test_after_an_interrupt_virtual_time_waits_for_both_still() -> None:
    threads, interrupted = VirtualThreads(), threading.Event()
    dropped: list[str] = []
    main = threading.main_thread().ident
    assert main is not None

    async def interrupts() -> str:
        time.sleep(0.05)  # until it waits
        signal.pthread_kill(main, signal.SIGINT)
        interrupted.wait(5)
        time.sleep(0.02)
        await threads.sleep(10)
        return "first"

    async def drop(result: str) -> None:
        dropped.append(result)

    with pytest.raises(KeyboardInterrupt):
        step(threads.race(interrupts, quick, after=math.inf, drop=drop))
    interrupted.set()
    step(threads.sleep(20))
    assert dropped == ["first"]
    assert threads.now() == 20


def test_a_race_leaves_no_reference_cycle() -> None:
    def races() -> None:
        for outcome in ("late", KeyError):
            slow = Held()
            step(runtime.race(slow, quick, after=0.01, drop=slow.drop))
            slow.going.put(outcome)
            assert slow.ended()
            slow = Held()
            slow.going.put(outcome)
            try:
                step(runtime.race(slow, quick, after=5, drop=slow.drop))
            except KeyError:
                pass
            assert slow.ended()

    races()
    found: list[int] = []
    for _ in range(ROUNDS):
        with counted(found):
            races()
    assert min(found) == 0


RACE = """
import atexit, sys, time
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step

async def sleeps():
    time.sleep(60)

async def spins():
    while True:
        [object() for _ in range(100)]

async def quick():
    return "won"

async def drop(result):
    pass

def race(slow, after=0.01):
    print(step(BlockingRuntime().race(slow, quick, after=after, drop=drop)), flush=True)
"""


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("race(sleeps)", id="asleep"),
        pytest.param("race(spins)", id="at work"),
        pytest.param("race(sleeps); sys.exit()", id="sys.exit"),
        pytest.param("atexit.register(race, quick, 5)", id="begun while it ends"),
    ],
)
def test_the_interpreter_ends_in_spite_of_a_loser(end: str) -> None:
    begun = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", dedent(RACE) + end], capture_output=True, text=True, timeout=30
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "won\n", "")
    assert time.monotonic() - begun < 20


def test_many_races_at_once_give_each_caller_one_result_and_drop_the_rest() -> None:
    dropped: SimpleQueue[int] = SimpleQueue()

    async def drop(number: int) -> None:
        dropped.put(number)

    def racer(number: int) -> Callable[[], Any]:
        async def run() -> int:
            time.sleep(0.002)
            return number

        return run

    won: SimpleQueue[int] = SimpleQueue()

    def caller(numbers: range) -> None:
        for number in numbers:
            won.put(step(runtime.race(racer(2 * number), racer(2 * number + 1), after=0.001, drop=drop)))

    of_others = set(threading.enumerate())  # of machines that tests broke on purpose, in virtual time
    callers = [threading.Thread(target=caller, args=(range(20 * n, 20 * n + 20),)) for n in range(8)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    for thread in set(threading.enumerate()) - of_others:
        if "race" in thread.name:
            thread.join(5)
    taken, rest = (sorted(iter_of(queue)) for queue in (won, dropped))
    assert [number // 2 for number in taken] == list(range(160))
    assert not set(taken) & set(rest)
    assert len(set(rest)) == len(rest)


def iter_of(queue: SimpleQueue[int]) -> list[int]:
    return [queue.get() for _ in range(queue.qsize())]
