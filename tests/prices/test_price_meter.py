"""Meter: the time of a busy machine is divided among its calls, and not a nanosecond is lost."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from fractions import Fraction
from types import TracebackType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.prices.meter import Meter, Stay

NANO = 10**9


def meter() -> Meter:
    return Meter(threading.Lock())


class Interrupted:
    """A real lock; something may cut in just before its release, as a collection or another thread does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.cut_in: Callable[[], None] | None = None

    def acquire(self, blocking: bool = True) -> bool:
        return self._lock.acquire(blocking)

    def release(self) -> None:
        cut_in, self.cut_in = self.cut_in, None
        if cut_in is not None:
            cut_in()
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.release()


def test_a_call_alone_gets_all_its_time() -> None:
    one = meter()
    stay = one.enter(10.0)
    assert stay.machine_ns is None
    one.leave(stay, 12.5)
    assert stay.machine_ns == 2_500_000_000


def test_two_calls_share_only_the_time_they_have_in_common() -> None:
    """0-1 s the first alone, 1-3 s both, 3-4 s the second alone."""
    one = meter()
    first = one.enter(0.0)
    second = one.enter(1.0)
    one.leave(first, 3.0)
    one.leave(second, 4.0)
    assert (first.machine_ns, second.machine_ns) == (2 * NANO, 2 * NANO)


def test_idle_time_is_nobodys() -> None:
    one = meter()
    early = one.enter(0.0)
    one.leave(early, 1.0)
    late = one.enter(100.0)
    one.leave(late, 101.0)
    assert (early.machine_ns, late.machine_ns) == (NANO, NANO)


@pytest.mark.parametrize("length", [1, 5, 6, 7, 1_000_000_000, 999_999_999])
@pytest.mark.parametrize("calls", [1, 2, 6, 7])
def test_calls_together_over_the_same_time_get_equal_parts(calls: int, length: int) -> None:
    one = meter()
    stays = [one.enter(0.0) for _ in range(calls)]
    for stay in stays:
        one.leave(stay, length / NANO)
    shares = [stay.machine_ns or 0 for stay in stays]
    assert sum(shares) == length
    assert all(abs(Fraction(length, calls) - share) <= 1 for share in shares)


@given(st.lists(st.tuples(st.integers(-50, 2_000), st.integers(0, 9)), max_size=80))
def test_shares_add_up_to_the_busy_time(steps: list[tuple[int, int]]) -> None:
    """Random arrivals and departures, some with times in the wrong order."""
    one, at, latest = meter(), 1_000, 0
    inside: list[tuple[Stay, int]] = []
    done: list[tuple[Stay, int]] = []
    exact: list[Fraction] = []
    busy = 0

    def pass_time(to: int) -> None:
        nonlocal busy, latest
        for _, number in inside:
            exact[number] += Fraction(max(0, to - latest), len(inside))
        busy += max(0, to - latest) if inside else 0
        latest = max(latest, to)

    for wait, choice in steps:
        at += wait
        pass_time(at)
        if choice < 5 or not inside:
            inside.append((one.enter(at / NANO), len(exact)))
            exact.append(Fraction(0))
        else:
            done.append(inside.pop(choice % len(inside)))
            one.leave(done[-1][0], at / NANO)
    while inside:
        pass_time(at)
        done.append(inside.pop())
        one.leave(done[-1][0], at / NANO)

    shares = {number: stay.machine_ns for stay, number in done}
    assert None not in shares.values()
    assert sum(share or 0 for share in shares.values()) == busy
    for number, share in shares.items():
        assert share is not None
        assert share >= 0
        assert abs(share - exact[number]) <= 2 * len(steps) + 1


def test_leaving_twice_changes_nothing() -> None:
    one = meter()
    stay, other = one.enter(0.0), one.enter(0.0)
    one.leave(stay, 2.0)
    one.leave(stay, 3.0)
    one.leave(other, 4.0)
    assert (stay.machine_ns, other.machine_ns) == (NANO, 3 * NANO)


def test_a_call_may_leave_while_another_enters_in_the_same_thread() -> None:
    """As a finaliser does. It comes after the last look into the queue, and is not overlooked."""
    guard = Interrupted()
    one = Meter(guard)
    first = one.enter(1.0)
    guard.cut_in = lambda: one.leave(first, 3.0)
    second = one.enter(1.0)
    assert first.machine_ns == NANO
    one.leave(second, 4.0)
    assert second.machine_ns == 2 * NANO


def test_a_collected_call_leaves_without_a_lock() -> None:
    one = meter()

    class Held:
        def __init__(self) -> None:
            self.stay = one.enter(0.0)
            self.circle = self

        def __del__(self) -> None:
            one.leave(self.stay, 1.0)

    stay = Held().stay
    gc.collect()
    assert stay.machine_ns == NANO


def test_a_share_left_behind_a_taken_guard_is_known_after_settle() -> None:
    guard = threading.Lock()
    one = Meter(guard)
    stay = one.enter(0.0)
    with guard:
        one.leave(stay, 1.0)
        assert stay.machine_ns is None
    one.settle()
    assert stay.machine_ns == NANO


def test_threads_lose_nothing() -> None:
    """One call stays for all 10 s, so the machine is busy for exactly that long whatever the others do."""
    one = meter()
    anchor = one.enter(0.0)
    together = threading.Barrier(8)
    finished: list[list[Stay]] = [[] for _ in range(8)]

    def work(mine: list[Stay]) -> None:
        together.wait()
        for number in range(500):
            mine.append(one.enter(number / 50))
            mine.append(one.enter(number / 50))
            one.leave(mine[-2], (number + 0.7) / 50)
            one.leave(mine[-1], (number + 1) / 50)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in finished]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.leave(anchor, 10.0)
    shares = [stay.machine_ns for stay in [anchor, *(stay for mine in finished for stay in mine)]]
    assert None not in shares
    assert sum(share or 0 for share in shares) == 10 * NANO
