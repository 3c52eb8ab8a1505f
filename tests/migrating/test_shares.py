"""Which calls are moved, and when the new mode does worse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from both import Making
from fakes import ScriptedTransport, said
from hybrid_infer.calls.call import Call
from hybrid_infer.calls.shares import Outcome, Shares
from hybrid_infer.errors import InvalidCallError
from hybrid_infer.migrating.steps import Counted, Reading, Watch, steps_of, worse


def call(**options: Any) -> Call:
    return Call(operation="chat", model=None, body={}, **options)


@given(st.floats(0, 1), st.integers(0, 300))
def test_the_share_holds_for_any_number_of_calls(share: float, count: int) -> None:
    """To about one in a hundred and a few calls, from any moment on."""
    shares = Shares("modal", share=share)
    for _ in range(count):
        shares.moves(call())
    moved = sum(shares.moves(call()) for _ in range(200))
    assert abs(moved - 200 * share) <= 4


@given(st.integers(2, 12), st.sampled_from([0.05, 0.25, 0.5]))
def test_calls_that_come_in_a_pattern_are_moved_alike(every: int, share: float) -> None:
    """Every n-th call is of another kind, and of that kind the same share is moved."""
    shares = Shares("modal", share=share)
    decided = [shares.moves(call()) for _ in range(4000)]
    kind = decided[::every]
    assert abs(sum(kind) / len(kind) - share) < 0.06


@given(st.text(), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_a_session_that_was_moved_stays_moved_while_the_share_grows(session: str, steps: list[float]) -> None:
    shares = Shares("modal")
    decided: list[bool] = []
    for share in sorted(steps):
        shares.share = share
        decided += [shares.moves(call(session=session)) for _ in range(3)]
    assert decided == sorted(decided)


def test_sessions_are_moved_in_the_same_share() -> None:
    shares = Shares("modal", share=0.25)
    moved = sum(shares.moves(call(session=f"user-{number}")) for number in range(4000))
    assert moved / 4000 == pytest.approx(0.25, abs=0.03)


@given(st.booleans())
def test_nothing_moves_at_zero_and_everything_at_one(with_session: bool) -> None:
    session = "s" if with_session else None
    assert not any(Shares("modal", share=0.0).moves(call(session=session)) for _ in range(50))
    assert all(Shares("modal", share=1.0).moves(call(session=session)) for _ in range(50))


def test_readings_tell_moved_calls_from_the_others() -> None:
    outcomes = [
        Outcome(moved=True, failed=False, seconds=2.0),
        Outcome(moved=True, failed=True, seconds=9.0),
        Outcome(moved=False, failed=False, seconds=None),
    ]
    counted = {True: Counted(), False: Counted()}
    for outcome in outcomes:
        counted[outcome.moved].add(outcome)
    assert counted[True].reading() == Reading(calls=2, failed=1, seconds=2.0)
    assert counted[False].reading() == Reading(calls=1, failed=0, seconds=None)


@pytest.mark.parametrize(
    ("new", "old", "bad"),
    [
        ((100, 0, 1.0), (100, 0, 1.0), False),
        ((100, 4, 1.0), (100, 0, 1.0), False),
        ((100, 6, 1.0), (100, 0, 1.0), True),
        ((100, 30, 1.0), (100, 28, 1.0), False),
        ((100, 0, 2.5), (100, 0, 1.0), True),
        ((100, 0, 2.5), (0, 0, None), False),
        ((10, 2, 9.0), (100, 0, 1.0), False),
        ((5, 3, 1.0), (100, 0, 1.0), True),
        ((0, 0, None), (100, 90, 1.0), False),
    ],
)
def test_the_new_mode_does_worse_by_errors_or_by_time(new: Any, old: Any, bad: bool) -> None:
    """Compared with the old one, and not before there are calls enough, unless it is clear."""
    found = worse(
        Reading(calls=new[0], failed=new[1], seconds=new[2]),
        Reading(calls=old[0], failed=old[1], seconds=old[2]),
        Watch(),
    )
    assert bool(found) is bad


def test_steps_grow_to_all_of_the_calls() -> None:
    assert steps_of("5, 25,50,100") == (5, 25, 50, 100)
    assert steps_of([100]) == (100,)
    for given_ in ("", "50", "0,100", "50,50,100", "5,200", "a", [100, 50]):
        with pytest.raises(InvalidCallError, match="grow to 100"):
            steps_of(given_)


async def test_without_a_move_no_call_is_counted_or_led_elsewhere(make: Making) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, mode="openai-compatible", base_url="http://localhost:1", model="m")
    reply = await api.create()
    assert reply.hybrid.why == ("openai-compatible: it is the client's mode",)
    assert api.client._core._parts.turnout.shares is None
