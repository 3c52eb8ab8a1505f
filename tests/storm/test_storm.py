"""An outage is not made worse: the server sees little more than the calls, and every call ends in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from both import Api, Making
from fakes import Answer, said
from hybrid_infer.errors import (
    APIConnectionError,
    CircuitOpenError,
    DeadlineExceededError,
    InternalServerError,
    RateLimitError,
    SaturatedError,
)
from storm.unsteady import KEY, MIXED, Outcome, Unsteady, ask, at_moments, broken

CALLS = 2000
LOAD = 1.2
"""Requests at the server for one call, at most: the calls themselves and the share of `retry_budget`."""

CLEAR = (
    APIConnectionError,
    CircuitOpenError,
    DeadlineExceededError,
    InternalServerError,
    RateLimitError,
    SaturatedError,
)


@pytest.fixture(autouse=True)
def small_stacks() -> Iterator[None]:
    """Thousands of threads live at the same time."""
    usual = threading.stack_size(512 * 1024)
    yield
    threading.stack_size(usual)


def silent() -> Answer:
    return said(after=3600.0)


def check(outcomes: list[Outcome], target: Unsteady, *, deadline: float) -> list[Outcome]:
    """Every call ended in time, with its own answer or a clear error; returns those that were answered."""
    answered = [outcome for outcome in outcomes if outcome.error is None]
    for outcome in outcomes:
        assert outcome.lateness(deadline) <= 1e-6, outcome
        if outcome.error is None:
            assert outcome.answer == f"re: {outcome.question}"
        else:
            assert type(outcome.error) in CLEAR
            assert outcome.error.target == "together-serverless/m"
    assert sum(outcome.attempts for outcome in outcomes) == target.load, "the Tally is what the server saw"
    assert target.transport.open == 0
    return answered


async def recovery(api: Api, since: float) -> float:
    """Seconds from `since` until a call is answered again, trying once a second."""
    await api.runtime.sleep(since - api.runtime.now())
    while True:
        asked = api.runtime.now()
        if (await ask(api, "back again?")).error is None:
            return asked - since
        await api.runtime.sleep(asked + 1 - api.runtime.now())


@pytest.mark.parametrize(
    ("faults", "settings"),
    [
        pytest.param([broken], {}, id="500s"),
        pytest.param(MIXED, {"breaker": False}, id="mixed, no breaker"),
        pytest.param(MIXED, {"max_in_flight": 50, "max_queue": CALLS}, id="mixed, limited"),
    ],
)
async def test_calls_at_once_on_a_target_that_fails_half_of_its_requests(
    make: Making, faults: Any, settings: dict[str, Any]
) -> None:
    target = Unsteady(*faults, rate=0.5, recovers=20.0)
    api = make(transport=target.transport, timeout=30, **KEY, **settings)
    outcomes = await at_moments(api, [[0.0]] * CALLS)
    assert target.load <= LOAD * CALLS
    answered = check(outcomes, target, deadline=30)
    if settings.get("breaker", True):
        assert len(answered) >= 0.45 * CALLS, "half of the first tries are answered"
    else:
        assert target.load > 1.1 * CALLS, "what the budget allows is made use of"
        assert len(answered) >= 0.54 * CALLS
    assert await recovery(api, since=20.0) == 0.0


async def test_requests_that_fail_at_once_open_the_circuit_before_all_calls_are_sent(make: Making) -> None:
    target = Unsteady(*MIXED, rate=0.5, recovers=20.0)
    api = make(transport=target.transport, timeout=30, **KEY)
    outcomes = await at_moments(api, [[0.0]] * CALLS)
    check(outcomes, target, deadline=30)
    assert target.load < 0.1 * CALLS
    assert await recovery(api, since=20.0) <= 30


async def test_calls_that_meet_silence_or_queue_too_long_end_at_their_deadline(make: Making) -> None:
    """50 at a time, of which every fifth hangs: most of the calls never get a slot in their 5 s."""
    target = Unsteady(silent, rate=0.2, recovers=4.0)
    api = make(transport=target.transport, timeout=5, max_in_flight=50, max_queue=CALLS, **KEY)
    outcomes = await at_moments(api, [[0.0]] * CALLS)
    assert target.load <= LOAD * CALLS
    answered = check(outcomes, target, deadline=5)
    assert len(answered) >= 100
    assert any(isinstance(outcome.error, DeadlineExceededError) for outcome in outcomes)
    assert any(isinstance(outcome.error, SaturatedError) for outcome in outcomes)
    assert await recovery(api, since=5.0) == 0.0


@pytest.mark.parametrize(
    ("colour", "breaker"),
    [("sync", True), ("async", True), ("async", False)],
    ids=["sync", "async", "async, no breaker"],
)
async def test_calls_that_keep_arriving_through_an_outage(make: Making, breaker: bool) -> None:
    """100 calls a second for 60 s, and nothing but failures from 10 s to 30 s."""
    target = Unsteady(*MIXED, rate=1.0, fails=10.0, recovers=30.0)
    api = make(transport=target.transport, timeout=9, breaker=breaker, **KEY)
    rows = [[caller / 100 + 10 * turn for turn in range(6 if breaker else 4)] for caller in range(1000)]
    outcomes = await at_moments(api, rows)
    check(outcomes, target, deadline=9)
    for since in range(10 * len(rows[0]) - 19):
        calls = sum(since - 1e-6 <= outcome.began < since + 20 - 1e-6 for outcome in outcomes)
        assert calls == 2000
        # What is sent here may have been bought a back-off earlier.
        assert target.loads(since, since + 20) <= (LOAD + 0.01) * calls, f"from {since} s on"
    assert target.loads(10.0, 30.0) <= (0.6 if breaker else LOAD + 0.01) * 2000
    failed = [outcome.began for outcome in outcomes if outcome.error is not None]
    assert min(failed) >= 9, "nothing fails before the outage"
    assert max(failed) <= (30 + 30 if breaker else 30.01), "all are answered again soon after it"
