"""One deadline over attempts, waits, cold starts and the stream."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from both import Making
from fakes import ScriptedTransport, delta, refused, said, streamed
from hybrid_infer.errors import (
    APITimeoutError,
    DeadlineExceededError,
    HybridInferError,
    InternalServerError,
    InvalidCallError,
)

KEY: dict[str, Any] = {"api_key": "k", "model": "m"}


async def test_a_slow_answer_ends_at_the_deadline(make: Making) -> None:
    transport = ScriptedTransport([said(after=100)])
    with pytest.raises(DeadlineExceededError) as caught:
        await make(transport=transport, **KEY).create(timeout=7)
    assert caught.value.hybrid.latency == pytest.approx(7)
    assert caught.value.billed is None
    assert not caught.value.retryable
    assert "timeout=" in str(caught.value)


async def test_the_earlier_of_timeout_and_deadline_counts(make: Making) -> None:
    transport = ScriptedTransport([said(after=100)])
    api = make(transport=transport, **KEY)
    soon = api.runtime.wall() + timedelta(seconds=3)
    with pytest.raises(DeadlineExceededError) as caught:
        await api.create(timeout=7, deadline=soon)
    assert caught.value.hybrid.latency == pytest.approx(3, abs=0.1)


async def test_a_deadline_in_the_past_sends_nothing(make: Making) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, **KEY)
    with pytest.raises(DeadlineExceededError) as caught:
        await api.create(deadline=api.runtime.wall() - timedelta(seconds=1))
    assert transport.sent == []
    assert caught.value.billed is False


async def test_retries_share_the_deadline(make: Making) -> None:
    transport = ScriptedTransport([refused(500, after=4)])
    api = make(transport=transport, max_retries=20, **KEY)
    with pytest.raises((DeadlineExceededError, InternalServerError)) as caught:
        await api.create(timeout=10)
    assert caught.value.hybrid.latency <= 10 + 1e-6
    assert 2 <= len(transport.sent) <= 3


async def test_an_attempt_that_hangs_leaves_time_for_another(make: Making) -> None:
    transport = ScriptedTransport([said(after=1000), said()])
    api = make(transport=transport, attempt_timeout=30, api_key="k", model="Qwen/Qwen3.5-9B")
    reply = await api.create()
    assert reply.hybrid.attempts == 2
    assert reply.hybrid.cost.estimated
    assert "may have been billed" in (reply.hybrid.cost.reason or "")


async def test_an_attempt_timeout_is_told_from_the_deadline(make: Making) -> None:
    transport = ScriptedTransport([said(after=1000)])
    with pytest.raises(APITimeoutError) as caught:
        await make(transport=transport, attempt_timeout=30, max_retries=0, **KEY).create()
    assert caught.value.retryable
    assert caught.value.billed is None


async def test_a_stream_ends_at_the_deadline_and_keeps_what_came(make: Making) -> None:
    transport = ScriptedTransport([streamed(delta("Half"), 100.0, delta(" way"))])
    stream = await make(transport=transport, **KEY).stream(timeout=9)
    with pytest.raises(DeadlineExceededError) as caught:
        await stream.text()
    assert caught.value.partial.choices[0].message.content == "Half"
    assert caught.value.hybrid.latency == pytest.approx(9)
    assert transport.open == 0


async def test_a_slow_consumer_meets_the_deadline_too(make: Making) -> None:
    transport = ScriptedTransport([streamed(*[delta("x"), 0.01] * 50, delta(finish="stop"))])
    api = make(transport=transport, **KEY)
    stream = await api.stream(timeout=5)
    with pytest.raises(DeadlineExceededError):
        async for _ in stream:
            await api.runtime.sleep(1)


@pytest.mark.parametrize(
    "wrong", [{"timeout": 0}, {"timeout": "5"}, {"timeout": True}, {"deadline": 5}, {"max_retries": -1}]
)
async def test_a_wrong_option_is_named_and_nothing_sent(make: Making, wrong: dict[str, object]) -> None:
    transport = ScriptedTransport([said()])
    with pytest.raises(InvalidCallError, match=next(iter(wrong))):
        await make(transport=transport, **KEY).create(**wrong)
    assert transport.sent == []


async def test_an_option_of_ours_that_is_misspelt_is_refused(make: Making) -> None:
    transport = ScriptedTransport([said()])
    with pytest.raises(HybridInferError, match='did you mean "timeout"'):
        await make(transport=transport, **KEY).create(timout=5)
    assert transport.sent == []
