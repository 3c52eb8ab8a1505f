"""Settling: the records of several processes share one machine as if one meter had seen them all."""

from __future__ import annotations

import random
import threading

from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.prices.account import Stay, Terms
from hybrid_infer.prices.meter import Interval, Meter, StateChange, settled

NANO = 10**9
TERMS = Terms(nano_per_hour=5_490_000_000, cold_start=True)

INTERVALS = st.lists(
    st.builds(
        lambda began, length, waiting, billed: Interval(
            began=began, ended=began + length, waiting=waiting, billed=billed
        ),
        st.integers(0, 2_000),
        st.integers(0, 1_000),
        st.booleans(),
        st.booleans(),
    ),
    max_size=25,
)
STATES = st.lists(
    st.builds(
        lambda at, serving, starting: StateChange(at=at, serving=serving, starting=starting),
        st.integers(0, 3_000),
        st.integers(0, 3),
        st.integers(0, 2),
    ),
    max_size=6,
)


def shares(stays: list[Stay]) -> list[int]:
    return [(stay.machine_ns or 0) + (stay.cold_ns or 0) for stay in stays]


def test_two_processes_share_what_each_thought_was_its_own() -> None:
    """Both were busy for the same 10 s: alone each would have paid all of it."""
    call = Interval(began=0, ended=10 * NANO)
    stays, report = settled(TERMS, [call, call], [StateChange(at=0, serving=1)])
    assert shares(stays) == [5 * NANO, 5 * NANO]
    assert (report.attributed.seconds, report.settled) == (10.0, True)
    assert report.total == report.attributed
    alone = Meter(threading.Lock(), TERMS)
    stay = alone.enter(0.0)
    alone.leave(stay, 10.0)
    assert (stay.machine_ns, alone.report(10.0).settled) == (10 * NANO, False)


@given(INTERVALS, STATES, st.integers(0, 3))
def test_what_is_settled_adds_up_to_what_the_machine_cost(
    intervals: list[Interval], states: list[StateChange], first: int
) -> None:
    known = [StateChange(at=0, serving=first), *states]
    stays, report = settled(TERMS, intervals, known, until=5_000)
    assert sum(shares(stays)) == report.attributed.ns
    assert sum(stay.nano or 0 for stay in stays) == report.attributed.nano
    assert report.idle is not None
    assert report.total is not None
    assert report.attributed.ns + report.cold_start.ns + report.idle.ns == report.total.ns
    changes = sorted(known, key=lambda change: change.at)
    ends = [change.at for change in changes[1:]] + [5_000]
    assert report.total.ns == sum(
        ((change.serving or 0) + change.starting) * (end - change.at)
        for change, end in zip(changes, ends, strict=True)
    )


@given(INTERVALS, STATES, st.randoms(use_true_random=False))
def test_the_order_of_the_records_does_not_matter_but_for_what_cannot_be_divided(
    intervals: list[Interval], states: list[StateChange], order: random.Random
) -> None:
    known = [StateChange(at=0, serving=1), *states]
    places = list(range(len(intervals)))
    order.shuffle(places)
    one, report = settled(TERMS, intervals, known, until=5_000)
    other, same = settled(TERMS, [intervals[place] for place in places], known, until=5_000)
    assert report.total == same.total
    # Whoever goes last takes what could not be divided, be it billed or not.
    assert abs(report.attributed.ns - same.attributed.ns) <= len(intervals) + 1
    for place, share in zip(places, shares(other), strict=True):
        assert abs(share - shares(one)[place]) <= len(intervals) + 1


@given(INTERVALS)
def test_settling_the_calls_of_one_process_says_what_its_meter_said(intervals: list[Interval]) -> None:
    """But for what cannot be divided: calls that begin or end at the same moment take turns."""
    meter = Meter(threading.Lock(), TERMS)
    meter.state(1, now=0.0)
    stays = [Stay()] * len(intervals)
    events = [(interval.began, 1, number) for number, interval in enumerate(intervals)]
    events += [(max(interval.began, interval.ended), 2, number) for number, interval in enumerate(intervals)]
    for at, kind, number in sorted(events):
        interval = intervals[number]
        if kind == 1:
            stays[number] = meter.wait(at / NANO) if interval.waiting else meter.enter(at / NANO)
        else:
            meter.leave(stays[number], at / NANO, billed=interval.billed)
    found, _ = settled(TERMS, intervals, [StateChange(at=0, serving=1)])
    for mine, theirs in zip(shares(stays), shares(found), strict=True):
        assert abs(mine - theirs) <= len(intervals) + 1


def test_nothing_is_settled_as_nothing() -> None:
    stays, report = settled(TERMS, [])
    assert (stays, report.attributed.ns) == ([], 0)
