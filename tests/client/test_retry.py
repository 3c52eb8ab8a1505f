"""N retries mean N, and a wait is never longer than the call has left."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from both import Making
from fakes import ScriptedTransport, hello, refused, said
from hybrid_infer.errors import (
    APIConnectionError,
    APIError,
    BadRequestError,
    ColdError,
    InternalServerError,
    RateLimitError,
)
from hybrid_infer.layers.retry import RetryPolicy
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
    @given(st.integers(1, 30), st.floats(0, 100))
    def test_a_wait_lies_within_the_back_off_and_the_deadline(self, tries: int, remaining: float) -> None:
        wait = RetryPolicy(first=0.5, longest=8).wait(
            InternalServerError("no"), tries=tries, retries=30, remaining=remaining
        )
        if wait is not None:
            assert 0 <= wait <= min(8, 0.5 * 2 ** (tries - 1))
            assert wait < remaining

    @pytest.mark.parametrize("error", [BadRequestError("no"), ColdError("cold"), APIError("no")])
    def test_what_will_repeat_itself_is_given_up(self, error: APIError) -> None:
        assert RetryPolicy().wait(error, tries=1, retries=5, remaining=100) is None
