"""A stream that breaks after its first content ends with what came, or begins again after a reset event."""

from __future__ import annotations

from typing import Any

import pytest

from both import EitherStream, Making
from fakes import DONE, USAGE, ScriptedTransport, delta, hello, refused, said, streamed
from hybrid_infer.calls.chat import ChatStreamReset
from hybrid_infer.errors import APIError, DeadlineExceededError, StreamError
from hybrid_infer.transport.base import TransportError
from places import MODAL, SERVERLESS, SETTINGS, Places

KEY: dict[str, Any] = {"api_key": "k", "model": "m"}
CUT = streamed(delta("Hel"), TransportError("reset", sent=True))
STALLED = streamed(delta("Hel"), 1e6)
SHORT = streamed(delta("Hel"))


async def read(stream: EitherStream) -> tuple[str, list[ChatStreamReset]]:
    """The text after the last reset, and the resets."""
    text, resets = "", []
    async for chunk in stream:
        if isinstance(chunk, ChatStreamReset):
            text = ""
            resets.append(chunk)
        elif chunk.choices:
            text += chunk.choices[0].delta.content or ""
    return text, resets


@pytest.mark.parametrize("broken", [CUT, STALLED, SHORT], ids=["cut", "stalled", "short"])
class TestBroken:
    async def test_by_default_the_error_holds_what_came(self, make: Making, broken: Any) -> None:
        transport = ScriptedTransport([broken])
        stream = await make(transport=transport, between_tokens_timeout=5, **KEY).stream()
        with pytest.raises(StreamError) as caught:
            await stream.text()
        assert caught.value.partial.choices[0].message.content == "Hel"
        assert caught.value.retryable
        assert len(transport.sent) == 1
        assert transport.open == 0

    async def test_a_restart_brings_the_complete_answer(self, make: Making, broken: Any) -> None:
        transport = ScriptedTransport([broken, hello()])
        api = make(transport=transport, between_tokens_timeout=5, on_stream_break="restart", **KEY)
        stream = await api.stream()
        text, resets = await read(stream)
        assert text == "Hello"
        (reset,) = resets
        assert reset.reset and not reset.choices
        assert reset.partial is not None
        assert reset.partial.choices[0].message.content == "Hel"
        assert stream.hybrid.restarts == 1
        assert stream.hybrid.attempts == 2
        assert transport.open == 0

    async def test_a_restart_goes_elsewhere_where_it_may(self, make: Making, broken: Any) -> None:
        places = Places(modal=[broken], serverless=[hello()])
        settings = {**SETTINGS, "mode": "modal", "fallback": ["together-serverless"]}
        api = make(transport=places.transport, between_tokens_timeout=5, **settings)
        stream = await api.stream(on_stream_break="restart")
        assert (await read(stream))[0] == "Hello"
        assert places.asked == [MODAL, SERVERLESS]
        assert stream.hybrid.target == SERVERLESS

    async def test_restarts_count_as_retries(self, make: Making, broken: Any) -> None:
        transport = ScriptedTransport([broken])
        api = make(transport=transport, between_tokens_timeout=5, on_stream_break="restart", **KEY)
        stream = await api.stream(max_retries=2)
        with pytest.raises(StreamError):
            await read(stream)
        assert len(transport.sent) == 3
        assert stream.hybrid.restarts == 2


async def test_the_final_answer_of_a_restarted_stream_is_complete(make: Making) -> None:
    transport = ScriptedTransport([CUT, hello()])
    stream = await make(transport=transport, on_stream_break="restart", **KEY).stream()
    completion = await stream.final()
    assert completion.choices[0].message.content == "Hello"
    assert completion.usage is not None and completion.usage.completion_tokens == 2
    assert completion.hybrid.restarts == 1
    assert completion.hybrid.latency is not None


async def test_a_restart_that_fails_is_retried_like_a_call(make: Making) -> None:
    transport = ScriptedTransport([CUT, refused(500), hello()])
    stream = await make(transport=transport, on_stream_break="restart", **KEY).stream()
    assert (await read(stream))[0] == "Hello"
    assert stream.hybrid.attempts == 3


@pytest.mark.parametrize("failure", [refused(500), streamed(delta(""))], ids=["refused", "no content"])
async def test_a_restart_that_fails_for_good_keeps_what_the_caller_had(make: Making, failure: Any) -> None:
    """There was no reset event, so that is what came."""
    transport = ScriptedTransport([CUT, failure])
    stream = await make(transport=transport, on_stream_break="restart", **KEY).stream(max_retries=1)
    with pytest.raises(APIError) as caught:
        await read(stream)
    assert caught.value.partial.choices[0].message.content == "Hel"


async def test_signs_of_life_do_not_count_as_content(make: Making) -> None:
    alive = [piece for _ in range(100) for piece in (b": ping\n\n", 1.0, delta(""), 1.0)]
    transport = ScriptedTransport([streamed(delta("Hel"), *alive, delta("lo", finish="stop"), DONE)])
    stream = await make(transport=transport, between_tokens_timeout=5, **KEY).stream()
    with pytest.raises(StreamError, match="stalled"):
        await stream.text()
    assert stream.hybrid.latency == pytest.approx(5, abs=0.1)


async def test_content_that_keeps_coming_is_no_stall(make: Making) -> None:
    slow = [piece for _ in range(10) for piece in (4.0, delta("."))]
    transport = ScriptedTransport([streamed(delta("Hel"), *slow, delta(finish="stop", usage=USAGE), DONE)])
    stream = await make(transport=transport, between_tokens_timeout=5, **KEY).stream()
    assert await stream.text() == "Hel.........."


async def test_the_time_the_caller_takes_is_no_stall(make: Making) -> None:
    transport = ScriptedTransport([hello()])
    api = make(transport=transport, between_tokens_timeout=5, **KEY)
    stream = await api.stream()
    async for _ in stream:
        await api.runtime.sleep(20)
    assert (await stream.final()).choices[0].message.content == "Hello"


async def test_a_stall_before_the_first_content_is_retried_unseen(make: Making) -> None:
    role = streamed(delta(""), 1e6)
    transport = ScriptedTransport([role, hello()])
    stream = await make(transport=transport, first_token_timeout=5, **KEY).stream()
    assert await stream.text() == "Hello"
    assert stream.hybrid.attempts == 2
    assert stream.hybrid.restarts == 0


async def test_an_error_inside_the_stream_before_content_is_retried_unseen(make: Making) -> None:
    failed = streamed(delta(""), b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n')
    transport = ScriptedTransport([failed, hello()])
    stream = await make(transport=transport, **KEY).stream()
    assert await stream.text() == "Hello"
    assert stream.hybrid.attempts == 2


async def test_the_first_token_has_its_own_limit_for_streams_only(make: Making) -> None:
    transport = ScriptedTransport([said(after=20)])
    reply = await make(transport=transport, first_token_timeout=5, **KEY).create()
    assert reply.hybrid.attempts == 1


async def test_the_deadline_of_the_call_ends_a_restarted_stream(make: Making) -> None:
    transport = ScriptedTransport([CUT, streamed(delta("Hel"), 1e6)])
    stream = await make(transport=transport, on_stream_break="restart", **KEY).stream(timeout=30)
    with pytest.raises((StreamError, DeadlineExceededError)):
        await read(stream)
    assert stream.hybrid.latency is not None
    assert stream.hybrid.latency <= 30 + 1e-6


async def test_one_event_of_noise_is_skipped_and_told(make: Making) -> None:
    noisy = streamed(delta("Hel"), b"data: {not json\n\n", delta("lo"), delta(finish="stop"), DONE)
    stream = await make(transport=ScriptedTransport([noisy]), **KEY).stream()
    assert await stream.text() == "Hello"
    assert any("skipped" in warning for warning in stream.hybrid.warnings)


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"delta":{"content":"l\n\n',
        b'data: {"id":"ov-1","obj\n\n',
        b'data: "delta": {"content": "lo"}}]}\n\n',
    ],
)
async def test_a_damaged_piece_of_the_answer_is_never_skipped(make: Making, event: bytes) -> None:
    damaged = streamed(delta("Hel"), event, delta(finish="stop"), DONE)
    stream = await make(transport=ScriptedTransport([damaged]), **KEY).stream()
    with pytest.raises(StreamError):
        await stream.text()


async def test_a_second_event_of_noise_is_too_much(make: Making) -> None:
    noisy = streamed(delta("Hel"), b"data: ?\n\n", b"data: ?\n\n", delta(finish="stop"), DONE)
    stream = await make(transport=ScriptedTransport([noisy]), **KEY).stream()
    with pytest.raises(StreamError):
        await stream.text()


async def test_an_answer_the_engine_broke_off_is_no_success(make: Making) -> None:
    failed = streamed(delta("Hel"), delta(finish="error"), DONE)
    stream = await make(transport=ScriptedTransport([failed]), **KEY).stream()
    with pytest.raises(StreamError, match="broke the answer off"):
        await stream.text()


async def test_closing_a_stream_during_its_restart_leaves_nothing_open(make: Making) -> None:
    transport = ScriptedTransport([CUT, hello()])
    stream = await make(transport=transport, on_stream_break="restart", **KEY).stream()
    async for chunk in stream:
        if chunk.reset:
            break
    await stream.close()
    assert transport.open == 0
