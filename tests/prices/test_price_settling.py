"""Settling: the records of several processes share one machine as if one meter had seen them all."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.machines import MachineReport, Role, StateChange
from hybrid_infer.prices.account import Account, Stay, Terms
from hybrid_infer.prices.meter import Meter
from hybrid_infer.prices.settling import settle

NANO = 10**9
TERMS = Terms(nano_per_hour=5_490_000_000, cold_start=True)
KINDS = [
    TERMS,
    Terms(nano_per_hour=5_490_000_000),
    Terms(nano_per_hour=3_950_000_000, cold_start=True, window=1e-6),
    Terms(nano_per_hour=3_950_000_000, cold_start=True, window=1e-6, concurrency=2),
]
"""Together's and Modal's, followed or not; a window is 1,000 ns, as long as the stays below."""


@dataclass(frozen=True)
class Span:
    """One stay on a machine, as a process recorded it."""

    began: int
    ended: int
    role: Role = "call"


SPANS = st.lists(
    st.builds(
        lambda began, length, role: Span(began, began + length, role),
        st.integers(0, 2_000),
        st.integers(1, 1_000),
        st.sampled_from(["call", "call", "wait", "refused"]),
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
SOMETIMES = st.lists(
    st.builds(
        lambda at, serving, starting: StateChange(at=at, serving=serving, starting=starting),
        st.integers(0, 3_000),
        st.sampled_from([None, 0, 1, 2]),
        st.integers(0, 1),
    ),
    max_size=6,
)
STATE_OF_ONE = st.builds(
    lambda at, serving: StateChange(at=at, serving=serving), st.integers(0, 3_000), st.sampled_from([None, 1])
)
UNTIL = 5_000


def divided(
    terms: Terms, spans: list[Span], states: list[StateChange], marks: tuple[int, ...] = ()
) -> tuple[list[int], list[MachineReport]]:
    """The share of each, every one being a group of its own."""
    stays = [(span.ended, n, span.began) for n, span in enumerate(spans, 1)]
    stays.sort(key=lambda stay: stay[2])
    return settle(terms, stays, [span.role for span in spans], states=states, marks=marks)


def accounted(terms: Terms, spans: list[Span], states: list[StateChange]) -> tuple[list[int], MachineReport]:
    """The same, told to an account as it happens."""
    account = Account(terms)
    stays = [Stay(waiting=span.role == "wait") for span in spans]
    events: list[tuple[int, int, int]] = [(change.at, 0, n) for n, change in enumerate(states)]
    for n, span in enumerate(spans):
        events += [(span.began, 2, n), (span.ended, 1, n)]
    for at, kind, n in sorted(events):
        if kind == 0:
            account.set_state(states[n].serving, states[n].starting, at)
        elif kind == 1:
            account.go(stays[n], at, billed=spans[n].role != "refused")
        else:
            account.come(stays[n], at)
    report = account.report(UNTIL, settled=True)
    return [(stay.machine_ns or 0) + (stay.cold_ns or 0) for stay in stays], report


def test_two_processes_share_what_each_thought_was_its_own() -> None:
    """Both were busy for the same 10 s: alone each would have paid all of it."""
    call = Span(0, 10 * NANO)
    shares, (report,) = divided(TERMS, [call, call], [StateChange(at=0, serving=1)])
    assert shares == [5 * NANO, 5 * NANO]
    assert (report.attributed.seconds, report.settled) == (10.0, True)
    assert report.total == report.attributed
    alone = Meter(threading.Lock(), TERMS)
    stay = alone.enter(0.0)
    alone.leave(stay, 10.0)
    assert (stay.machine_ns, alone.report(10.0).settled) == (10 * NANO, False)


@given(SPANS, STATES, st.integers(0, 3))
def test_what_is_settled_adds_up_to_what_the_machine_cost(
    spans: list[Span], states: list[StateChange], first: int
) -> None:
    known = [StateChange(at=0, serving=first), *states]
    shares, (report,) = divided(TERMS, spans, known, (0, UNTIL))
    assert sum(shares) == report.attributed.ns
    assert report.idle is not None
    assert report.total is not None
    parts = (report.attributed, report.cold_start, report.idle)
    assert sum(part.ns for part in parts) == report.total.ns
    assert sum(part.nano or 0 for part in parts) == report.total.nano
    changes = sorted(known, key=lambda change: change.at)
    ends = [change.at for change in changes[1:]] + [UNTIL]
    assert report.total.ns == sum(
        ((change.serving or 0) + change.starting) * (end - change.at)
        for change, end in zip(changes, ends, strict=True)
    )


@pytest.mark.parametrize("terms", KINDS)
@given(spans=SPANS, states=SOMETIMES)
def test_it_is_what_one_meter_would_have_said_that_saw_them_all(
    terms: Terms, spans: list[Span], states: list[StateChange]
) -> None:
    """Where nobody was refused. A meter learns that at the end, and what is not attributed then is idle or
    unknown as the state is known at that moment; here it is known from the beginning."""
    found, (report,) = divided(terms, spans, states, (0, UNTIL))
    wanted, whole = accounted(terms, spans, [StateChange(at=0, serving=None), *states])
    for share, right in zip(found, wanted, strict=True):
        assert abs(share - right) <= len(spans) + 1
    assert abs(report.attributed.ns - whole.attributed.ns) <= len(spans) + 1
    if all(span.role != "refused" for span in spans):
        assert found == wanted
        assert replace(report, since=0.0) == replace(whole, since=0.0)


@given(SPANS, SOMETIMES, st.lists(st.integers(0, UNTIL), min_size=2, max_size=6, unique=True).map(sorted))
def test_the_days_of_a_machine_add_up(spans: list[Span], states: list[StateChange], marks: list[int]) -> None:
    """Whatever runs across midnight is in both."""
    _, days = divided(TERMS, spans, states, tuple(marks))
    _, (whole,) = divided(TERMS, spans, states, (marks[0], marks[-1]))
    assert [(day.since, day.until) for day in days] == [(a / NANO, b / NANO) for a, b in pairwise(marks)]
    assert sum(day.attributed.ns for day in days) == whole.attributed.ns
    assert (None in [day.total for day in days]) == (whole.total is None)
    if whole.total is not None:
        assert sum(day.total.nano or 0 for day in days if day.total is not None) == whole.total.nano


@pytest.mark.parametrize("terms", KINDS)
@given(
    spans=SPANS.map(lambda spans: [replace(span, role="call") for span in spans]) | SPANS,
    states=st.just([]) | st.lists(STATE_OF_ONE, max_size=3) | SOMETIMES,
    numbers=st.lists(st.integers(0, 2), min_size=25, max_size=25),
    marks=st.sampled_from([(), (0, UNTIL), (0, 700, 1_500, UNTIL)]),
)
def test_what_need_not_be_told_apart_is_the_same_together(
    terms: Terms, spans: list[Span], states: list[StateChange], numbers: list[int], marks: tuple[int, ...]
) -> None:
    """To the nanosecond, and so are the reports."""
    stays = sorted(((span.ended, n, span.began) for n, span in enumerate(spans, 1)), key=lambda stay: stay[2])
    roles: list[Role] = [span.role for span in spans]
    alike = numbers[: len(spans)]
    apart, reports = settle(terms, stays, roles, states=states, marks=marks)
    together, same = settle(terms, stays, roles, states=states, marks=marks, alike=alike)
    assert same == reports
    for number in range(3):
        shares = [(a, b) for a, b, of in zip(apart, together, alike, strict=True) if of == number]
        assert sum(a for a, _ in shares) == sum(b for _, b in shares)


@given(SPANS, STATES, st.randoms(use_true_random=False))
def test_the_order_of_the_records_does_not_matter_but_for_what_cannot_be_divided(
    spans: list[Span], states: list[StateChange], order: random.Random
) -> None:
    known = [StateChange(at=0, serving=1), *states]
    places = list(range(len(spans)))
    order.shuffle(places)
    one, (report,) = divided(TERMS, spans, known, (0, UNTIL))
    other, (same,) = divided(TERMS, [spans[place] for place in places], known, (0, UNTIL))
    assert report.total == same.total
    # Whoever goes last takes what could not be divided, be it billed or not.
    assert abs(report.attributed.ns - same.attributed.ns) <= len(spans) + 1
    for place, share in zip(places, other, strict=True):
        assert abs(share - one[place]) <= len(spans) + 1


def test_nothing_is_settled_as_nothing() -> None:
    shares, (report,) = divided(TERMS, [], [])
    assert (shares, report.attributed.ns) == ([], 0)
