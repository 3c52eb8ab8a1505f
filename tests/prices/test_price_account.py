"""Meter and Account: whatever happens, what calls are told, what is idle and what is billed add up."""

from __future__ import annotations

import threading
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from hybrid_infer.calls.machines import MachineReport
from hybrid_infer.prices.account import (
    ONE_ASSUMED,
    STATE_UNKNOWN,
    UNPRICED,
    Stay,
    Terms,
)
from hybrid_infer.prices.meter import Meter

NANO = 10**9
HOURLY = 5_490_000_000
TOGETHER = Terms(nano_per_hour=HOURLY)
MODAL = Terms(nano_per_hour=3_949_200_000, cold_start=True, window=60.0)


def meter(terms: Terms = TOGETHER) -> Meter:
    return Meter(threading.Lock(), terms)


def seconds(report: MachineReport) -> tuple[float, float, float | None, float | None]:
    """Attributed, cold start, idle, total."""
    return (
        report.attributed.seconds,
        report.cold_start.seconds,
        None if report.idle is None else report.idle.seconds,
        None if report.total is None else report.total.seconds,
    )


def test_six_calls_at_once_cost_together_what_the_machine_cost() -> None:
    """100 s of a machine at 5.49 an hour are 0.1525 USD."""
    one = meter()
    one.state(1, now=0.0)
    stays = [one.enter(0.0) for _ in range(6)]
    for stay in stays:
        one.leave(stay, 100.0)
    report = one.report(100.0)
    assert seconds(report) == (100.0, 0.0, 0.0, 100.0)
    assert sum(stay.nano or 0 for stay in stays) == report.attributed.nano == 152_500_000
    assert (report.estimated, report.reasons) == (False, ())


def test_a_replica_that_nobody_uses_is_idle() -> None:
    one = meter()
    one.state(1, now=0.0)
    stay = one.enter(10.0)
    one.leave(stay, 30.0)
    one.state(0, now=100.0)
    assert seconds(one.report(500.0)) == (20.0, 0.0, 80.0, 100.0)


def test_one_call_on_three_replicas_uses_one() -> None:
    one = meter()
    one.state(3, now=0.0)
    stay = one.enter(0.0)
    one.leave(stay, 10.0)
    assert stay.machine_ns == 10 * NANO
    assert seconds(one.report(10.0)) == (10.0, 0.0, 20.0, 30.0)


def test_five_calls_on_three_replicas_share_all_three() -> None:
    one = meter()
    one.state(3, now=0.0)
    stays = [one.enter(0.0) for _ in range(5)]
    for stay in stays:
        one.leave(stay, 10.0)
    assert {stay.machine_ns for stay in stays} == {6 * NANO}


def test_what_is_stopped_costs_nothing_even_while_it_is_called() -> None:
    one = meter()
    one.state(0, now=0.0)
    stay = one.enter(0.0)
    one.leave(stay, 3.0, billed=False)
    assert seconds(one.report(9.0)) == (0.0, 0.0, 0.0, 0.0)


def test_a_cold_start_is_shared_by_those_who_wait_where_it_is_billed() -> None:
    """20 s of coming up, 12 of them awaited by one call and 4 by two; then 5 s of work."""
    one = meter(MODAL)
    one.state(0, 1, now=0.0)
    first = one.wait(8.0)
    second = one.wait(16.0)
    one.state(1, 0, now=20.0)
    one.leave(first, 20.0)
    one.leave(second, 20.0)
    call = one.enter(20.0)
    one.leave(call, 25.0)
    assert (first.cold_ns, second.cold_ns, first.machine_ns) == (10 * NANO, 2 * NANO, 0)
    report = one.report(25.0)
    assert seconds(report) == (17.0, 8.0, 0.0, 25.0)
    assert report.waited.seconds == 12.0


def test_a_cold_start_of_together_is_not_billed() -> None:
    one = meter()
    one.state(0, 1, now=0.0)
    waiting = one.wait(0.0)
    one.leave(waiting, 300.0)
    one.state(1, now=300.0)
    assert (waiting.cold_ns, waiting.nano) == (0, 0)
    assert seconds(one.report(310.0)) == (0.0, 0.0, 10.0, 10.0)


def test_calls_in_flight_wait_for_a_machine_that_comes_up_under_them() -> None:
    """As with modal.run, which holds the request until a container is ready."""
    one = meter(MODAL)
    one.state(0, 1, now=0.0)
    call = one.enter(0.0)
    one.state(1, 0, now=30.0)
    one.leave(call, 34.0)
    assert (call.cold_ns, call.machine_ns) == (30 * NANO, 4 * NANO)


def test_what_cannot_be_divided_of_a_cold_start_is_nobodys_once_nobody_waits() -> None:
    """3 ns for two calls in flight: one is left over, and the machine is ready before they go."""
    one = meter(MODAL)
    one.state(0, 1, now=0.0)
    calls = [one.enter(0.0), one.enter(0.0)]
    one.state(1, 0, now=3e-9)
    for call in calls:
        one.leave(call, 3e-9)
    assert [call.cold_ns for call in calls] == [1, 1]
    report = one.report(3e-9)
    assert (report.attributed.ns, report.cold_start.ns) == (2, 1)
    assert report.total is not None
    assert report.total.ns == 3


def test_scaling_up_under_load_is_nobodys() -> None:
    one = meter(MODAL)
    one.state(1, 1, now=0.0)
    call = one.enter(0.0)
    one.leave(call, 10.0)
    assert (call.machine_ns, call.cold_ns) == (10 * NANO, 0)
    assert seconds(one.report(10.0)) == (10.0, 10.0, 0.0, 20.0)


def test_the_time_of_a_call_that_was_not_served_is_idle() -> None:
    one = meter()
    one.state(1, now=0.0)
    refused, served = one.enter(0.0), one.enter(0.0)
    one.leave(refused, 4.0, billed=False)
    one.leave(served, 4.0)
    assert (refused.machine_ns, refused.nano, served.machine_ns) == (0, 0, 2 * NANO)
    assert seconds(one.report(4.0)) == (2.0, 0.0, 2.0, 4.0)


def test_without_a_state_nothing_is_known_of_the_time_between_calls() -> None:
    one = meter()
    stay = one.enter(0.0)
    one.leave(stay, 2.0)
    report = one.report(2.0)
    assert (seconds(report), report.reasons) == ((2.0, 0.0, 0.0, 2.0), (ONE_ASSUMED,))
    report = one.report(9.0)
    assert (seconds(report), report.reasons) == ((2.0, 0.0, None, None), (ONE_ASSUMED, STATE_UNKNOWN))
    assert report.estimated


def test_without_a_state_a_container_stays_up_for_its_window() -> None:
    """Up from 0 to 65: 5 s of work, then a window of 60 s, cut short by a call at 25 s."""
    one = meter(MODAL)
    for begin in (0.0, 25.0):
        stay = one.enter(begin)
        one.leave(stay, begin + 5.0)
    assert seconds(one.report(30.0)) == (10.0, 0.0, 20.0, 30.0)
    assert seconds(one.report(1000.0)) == (10.0, 0.0, 80.0, 90.0)
    late = one.enter(1000.0)
    one.leave(late, 1001.0)
    assert seconds(one.report(1001.0)) == (11.0, 0.0, 80.0, 91.0)
    assert one.report(1001.0).estimated


def test_without_a_state_a_container_is_coming_up_while_calls_wait_for_it() -> None:
    one = meter(MODAL)
    waiting = one.wait(0.0)
    one.leave(waiting, 20.0)
    call = one.enter(20.0)
    one.leave(call, 21.0)
    assert (waiting.cold_ns, call.machine_ns) == (20 * NANO, NANO)
    assert seconds(one.report(21.0)) == (21.0, 0.0, 0.0, 21.0)


def test_more_calls_than_a_container_takes_need_another() -> None:
    """Three calls, two to a container: two containers for 10 s, then each its window of 60 s."""
    one = meter(Terms(nano_per_hour=HOURLY, cold_start=True, window=60.0, concurrency=2))
    stays = [one.enter(0.0) for _ in range(3)]
    for stay in stays:
        one.leave(stay, 10.0)
    assert sum(stay.machine_ns or 0 for stay in stays) == 20 * NANO
    assert seconds(one.report(500.0)) == (20.0, 0.0, 120.0, 140.0)


def test_without_a_price_time_is_counted_and_money_is_unknown() -> None:
    one = meter(Terms())
    stay = one.enter(0.0)
    one.leave(stay, 1.0)
    report = one.report(1.0)
    assert (stay.machine_ns, stay.nano, report.attributed.nano, report.attributed.usd) == (
        NANO,
        None,
        None,
        None,
    )
    assert UNPRICED in report.reasons


@pytest.mark.parametrize("calls", [3, 7, 1000])
def test_many_small_amounts_are_told_to_the_nano_dollar(calls: int) -> None:
    """Each is worth 1.525 nano-dollars for a microsecond; rounded one by one they would miss by a third."""
    one = meter()
    one.state(1, now=0.0)
    told = 0
    for number in range(calls):
        stay = one.enter(number * 1e-6)
        one.leave(stay, (number + 1) * 1e-6)
        told += stay.nano or 0
    assert told == round(Fraction(calls * 1000 * HOURLY, 3600 * NANO))


class Machine(RuleBasedStateMachine):
    """Any interleaving, against exact fractions."""

    stays = Bundle("stays")

    @initialize(
        cold_start=st.booleans(),
        window=st.sampled_from([None, 0.0, 3e-6]),
        concurrency=st.sampled_from([None, 1, 2]),
    )
    def begin(self, cold_start: bool, window: float | None, concurrency: int | None) -> None:
        self.terms = Terms(
            nano_per_hour=HOURLY, cold_start=cold_start, window=window, concurrency=concurrency
        )
        self.meter = meter(self.terms)
        self.now = 1000
        self.serving: int | None = None
        self.starting = 0
        self.inside: dict[int, Stay] = {}
        self.exact: dict[int, Fraction] = {}
        self.told = self.told_ns = self.events = 0
        self.billed = Fraction(0)
        """By the state alone, while there has always been one."""
        self.always_known = True
        self.meter.state(None, now=self.at)

    @property
    def at(self) -> float:
        return self.now / NANO

    @rule(wait=st.integers(0, 5_000))
    def time_passes(self, wait: int) -> None:
        self.now += wait
        if self.serving is None:
            self.always_known = self.always_known and wait == 0
            return
        self.billed += wait * (self.serving + (self.starting if self.terms.cold_start else 0))
        calls = [key for key, stay in self.inside.items() if not stay.waiting]
        for key in calls:
            self.exact[key] += Fraction(min(self.serving, len(calls)) * wait, len(calls))
        waiting = [key for key, stay in self.inside.items() if stay.waiting or self.serving == 0]
        if self.terms.cold_start:
            for key in waiting:
                self.exact[key] += Fraction(min(self.starting, len(waiting)) * wait, len(waiting))

    @rule(target=stays, waiting=st.booleans())
    def come(self, waiting: bool) -> Stay:
        self.events += 1
        stay = self.meter.wait(self.at) if waiting else self.meter.enter(self.at)
        self.inside[id(stay)], self.exact[id(stay)] = stay, Fraction(0)
        return stay

    @rule(stay=consumes(stays), billed=st.booleans(), again=st.booleans())
    def go(self, stay: Stay, billed: bool, again: bool) -> None:
        self.events += 1
        self.meter.leave(stay, self.at, billed=billed)
        if again:
            self.meter.leave(stay, self.at)
        del self.inside[id(stay)]
        assert stay.machine_ns is not None
        assert stay.cold_ns is not None
        assert stay.nano is not None
        assert min(stay.machine_ns, stay.cold_ns, stay.nano) >= 0
        share = stay.machine_ns + stay.cold_ns
        if not billed:
            assert share == stay.nano == 0
        elif self.always_known:
            assert abs(share - self.exact[id(stay)]) <= 2 * self.events + 1
        self.told_ns += share
        self.told += stay.nano

    @rule(serving=st.none() | st.integers(0, 3), starting=st.integers(0, 2))
    def state(self, serving: int | None, starting: int) -> None:
        self.events += 1
        self.serving, self.starting = serving, starting
        self.meter.state(serving, starting, now=self.at)

    @invariant()
    def everything_adds_up(self) -> None:
        report = self.meter.report(self.at)
        shares = [report.attributed, report.cold_start]
        assert all(share.ns >= 0 and (share.nano or 0) >= 0 for share in shares)
        if not self.inside:
            assert report.attributed.ns == self.told_ns
            assert report.attributed.nano == self.told
        assert report.attributed.ns >= self.told_ns
        assert (report.idle is None) == (report.total is None)
        if report.idle is not None and report.total is not None:
            shares.append(report.idle)
            assert report.idle.ns >= 0
            assert (report.idle.nano or 0) >= 0
            assert sum(share.ns for share in shares) == report.total.ns
            assert sum(share.nano or 0 for share in shares) == report.total.nano
            if self.always_known:
                assert report.total.ns == self.billed
                assert report.total.nano == round(self.billed * HOURLY / (3600 * NANO))


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestAnyInterleaving = Machine.TestCase
