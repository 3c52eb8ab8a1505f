"""N retries mean N, and a wait is never longer than the call has left."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from both import Making
from fakes import ScriptedTransport, hello, refused, said
from hybrid_infer.calls.call import Call, Target
from hybrid_infer.errors import (
    APIConnectionError,
    APIError,
    BadRequestError,
    ColdError,
    DeadlineExceededError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)
from hybrid_infer.layers.retry import Next, RetryBudget, RetryPolicy
from hybrid_infer.runtime.base import new_guard
from hybrid_infer.transport.base import TransportError

KEY: dict[str, Any] = {"api_key": "k", "model": "m"}


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
async def test_n_retries_are_n_plus_one_requests(make: Making, retries: int) -> None:
    transport = ScriptedTransport([refused(500)])
    api = make(transport=transport, max_retries=retries, **KEY)
    with pytest.raises(InternalServerError) as caught:
        await api.create()
    assert len(transport.sent) == retries + 1
    assert caught.value.hybrid.attempts == retries + 1


async def test_a_calls_own_number_of_retries_wins(make: Making) -> None:
    transport = ScriptedTransport([refused(500)])
    api = make(transport=transport, max_retries=5, **KEY)
    with pytest.raises(InternalServerError):
        await api.create(max_retries=1)
    assert len(transport.sent) == 2


async def test_a_failure_that_passes_is_not_seen(make: Making) -> None:
    transport = ScriptedTransport([refused(503), TransportError("reset", sent=True), said()])
    api = make(transport=transport, **KEY)
    reply = await api.create()
    assert reply.choices[0].message.content == "It scatters."
    assert reply.hybrid.attempts == 3
    assert transport.open == 0


async def test_a_mistake_of_the_caller_is_not_repeated(make: Making) -> None:
    transport = ScriptedTransport([refused(400)])
    with pytest.raises(BadRequestError):
        await make(transport=transport, **KEY).create()
    assert len(transport.sent) == 1


async def test_a_stream_that_fails_before_its_first_event_is_retried_unseen(make: Making) -> None:
    transport = ScriptedTransport([refused(502), hello()])
    stream = await make(transport=transport, **KEY).stream()
    assert await stream.text() == "Hello"
    assert stream.hybrid.attempts == 2
    assert transport.open == 0


async def test_the_provider_is_given_the_time_it_asked_for(make: Making) -> None:
    transport = ScriptedTransport([refused(429, headers=(("retry-after", "20"),)), said()])
    await make(transport=transport, **KEY).create()
    assert transport.sent[1].at - transport.sent[0].at >= 20


async def test_retry_after_on_a_success_means_nothing(make: Making) -> None:
    transport = ScriptedTransport([said(headers=(("retry-after", "30"),))])
    reply = await make(transport=transport, **KEY).create()
    assert reply.hybrid.latency == pytest.approx(0, abs=0.5)


async def test_a_wait_that_does_not_fit_into_the_deadline_fails_at_once(make: Making) -> None:
    transport = ScriptedTransport([refused(429, headers=(("retry-after", "20"),))])
    api = make(transport=transport, **KEY)
    with pytest.raises(RateLimitError) as caught:
        await api.create(timeout=10)
    assert len(transport.sent) == 1
    assert caught.value.retry_after == 20
    assert caught.value.hybrid.latency < 1


async def test_a_connection_that_never_opened_is_known_not_to_be_billed(make: Making) -> None:
    transport = ScriptedTransport([TransportError("refused", sent=False)])
    with pytest.raises(APIConnectionError) as caught:
        await make(transport=transport, max_retries=0, **KEY).create()
    assert caught.value.billed is False
    assert caught.value.hybrid.cost.amount == 0


class TestPolicy:
    """What the policy decides for a call with one candidate, which had its try."""

    @given(st.integers(0, 29), st.floats(0, 100))
    def test_a_wait_lies_within_the_back_off_and_the_deadline(self, repeats: int, remaining: float) -> None:
        following = RetryPolicy(first=0.5, longest=8).after(
            InternalServerError("no"), asked(1, repeats=repeats, until=remaining), retries=30, now=0
        )
        if following is not None:
            assert following.repeat
            assert 0 <= following.wait <= min(8, 0.5 * 2**repeats)
            assert following.wait < remaining

    @pytest.mark.parametrize(
        "error", [BadRequestError("no"), ColdError("cold"), APIError("no"), DeadlineExceededError("late")]
    )
    def test_what_will_repeat_itself_is_given_up(self, error: APIError) -> None:
        assert RetryPolicy().after(error, asked(1, until=100), retries=5, now=0) is None

    @pytest.mark.parametrize("error", [InternalServerError("no"), ColdError("cold"), NotFoundError("no")])
    def test_a_candidate_that_was_not_asked_is_asked_at_once(self, error: APIError) -> None:
        call = asked(1, of=2, until=0.001)
        following = RetryPolicy().after(error, call, retries=0, now=0)
        assert following == Next(avoid=(call.candidates[0],))


def asked(visited: int, *, of: int = 1, repeats: int = 0, until: float) -> Call:
    """A call with so many candidates, of which the first ones had their try."""
    candidates = tuple(
        Target(
            name=f"t{number}",
            mode="modal",
            provider="modal",
            model=None,
            host="h",
            port=1,
            basis="unknown",
        )
        for number in range(of)
    )
    call = Call(operation="chat", model=None, body={}, candidates=candidates, until=until)
    call.tally.visited += candidates[:visited]
    call.tally.repeats = repeats
    return call


class TestBudget:
    @given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 5)), max_size=200), st.floats(0, 0.5))
    def test_what_is_bought_is_a_share_of_the_calls_or_the_floor(
        self, moments: list[tuple[float, int]], share: float
    ) -> None:
        """At every purchase, whatever the order: at most max(floor, share of the calls in the window)."""
        budget = RetryBudget(share, new_guard(), floor=3, window=10)
        now, calls, bought = 0.0, list[float](), list[float]()
        for gap, tries in moments:
            now += gap
            budget.call(now)
            calls.append(now)
            for _ in range(tries):
                if budget.buy(now):
                    bought.append(now)
                    # Calls are counted by the second, so one more second may be in the window.
                    recent = sum(at >= now - 11 for at in calls)
                    assert sum(at > now - 10 for at in bought) <= max(3, share * recent)

    def test_no_share_buys_nothing(self) -> None:
        budget = RetryBudget(0, new_guard())
        budget.call(0)
        assert not budget.buy(0)


async def test_an_outage_is_met_with_a_fifth_more_than_the_calls(make: Making) -> None:
    transport = ScriptedTransport([refused(500)])
    api = make(transport=transport, breaker=False, **KEY)
    for _ in range(200):
        with pytest.raises(InternalServerError):
            await api.create(max_retries=3)
    assert len(transport.sent) <= 200 * 1.2 + 10 * len(transport.sent) / 30


async def test_a_call_says_that_it_was_not_repeated(make: Making) -> None:
    transport = ScriptedTransport([refused(500)])
    api = make(transport=transport, retry_budget=0, **KEY)
    with pytest.raises(InternalServerError) as caught:
        await api.create()
    assert len(transport.sent) == 1
    assert any("retry_budget" in warning for warning in caught.value.hybrid.warnings)
