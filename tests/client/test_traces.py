"""The span of a call and those of its attempts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from both import Making
from fakes import ScriptedTransport, completion, delta, hello, refused, said, streamed
from hybrid_infer.errors import BadRequestError
from hybrid_infer.telemetry import names
from telemetry.recorded import KEY, Recorded


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


async def test_a_call_is_one_span_with_model_tokens_and_cost(make: Making, recorded: Recorded) -> None:
    api = make(transport=ScriptedTransport([said()]), tracer_provider=recorded.provider, **KEY)
    await api.create(temperature=0.5, max_tokens=64, seed=2**63 + 1, session="s-1", purpose="demo", stop="X")
    span = recorded.call
    attributes: Any = span.attributes
    assert span.name == "chat Qwen/Qwen3.5-9B"
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "together",
        "gen_ai.request.model": "Qwen/Qwen3.5-9B",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 64,
        "hybrid_infer.request.seed": str(2**63 + 1),
        "gen_ai.request.stop_sequences": ("X",),
        "gen_ai.conversation.id": "s-1",
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "server.address": "api-inference.together.ai",
        "server.port": 443,
        "hybrid_infer.mode": "together-serverless",
        "hybrid_infer.purpose": "demo",
        "hybrid_infer.attempts": 1,
        "hybrid_infer.target": "together-serverless/Qwen/Qwen3.5-9B",
        "hybrid_infer.cost.basis": "tokens",
        "hybrid_infer.cost.currency": "USD",
    }
    assert {key: attributes.get(key) for key in expected} == expected
    # 10 input tokens at 0.17 and 5 output tokens at 0.25 USD a million.
    assert attributes["gen_ai.usage.cost"] == pytest.approx((10 * 0.17 + 5 * 0.25) / 1e6)


async def test_attempts_hang_below_and_carry_nothing_that_backends_add_up(
    make: Making, recorded: Recorded
) -> None:
    transport = ScriptedTransport([refused(500), said()])
    await make(transport=transport, tracer_provider=recorded.provider, **KEY).create()
    first, second = recorded.attempts
    call = recorded.call.context
    assert call is not None
    for attempt in (first, second):
        assert attempt.parent is not None
        assert attempt.parent.span_id == call.span_id
        assert not [key for key in attempt.attributes or {} if key.startswith("gen_ai.")]
    assert (first.attributes or {})["http.response.status_code"] == 500
    assert first.status.status_code is StatusCode.ERROR
    assert (second.attributes or {})["http.request.resend_count"] == 1
    assert recorded.call.status.status_code is StatusCode.UNSET, "a failure that was repaired is none"
    assert (recorded.call.attributes or {})["http.request.resend_count"] == 1


async def test_a_failed_call_says_why(make: Making, recorded: Recorded) -> None:
    transport = ScriptedTransport([refused(400, message="bad")])
    with pytest.raises(BadRequestError):
        await make(transport=transport, tracer_provider=recorded.provider, **KEY).create()
    assert recorded.call.status.status_code is StatusCode.ERROR
    assert (recorded.call.attributes or {})["error.type"] == "BadRequestError"


async def test_a_stream_ends_its_span_when_it_ends(make: Making, recorded: Recorded) -> None:
    api = make(transport=ScriptedTransport([hello()]), tracer_provider=recorded.provider, **KEY)
    stream = await api.stream()
    assert recorded.spans == ()
    await stream.text()
    attributes: Any = recorded.call.attributes
    assert attributes["gen_ai.request.stream"] is True
    assert "gen_ai.response.time_to_first_chunk" in attributes


async def test_a_closed_stream_ends_its_spans_at_once(make: Making, recorded: Recorded) -> None:
    transport = ScriptedTransport([streamed(*[delta("x"), 0.5] * 10)])
    stream = await make(transport=transport, tracer_provider=recorded.provider, **KEY).stream()
    await stream.close()
    assert len(recorded.spans) == 2
    assert recorded.call.status.status_code is StatusCode.UNSET


async def test_a_dropped_stream_ends_its_spans_with_the_next_call_and_when_it_was_dropped(
    make: Making, recorded: Recorded
) -> None:
    """A finaliser may run while this very thread holds a lock of the exporter."""
    transport = ScriptedTransport([streamed(*[delta("x"), 0.5] * 10), said()])
    api = make(transport=transport, tracer_provider=recorded.provider, **KEY)
    stream = await api.stream()
    dropped = api.runtime.wall()
    del stream
    assert len(recorded.spans) == 0
    await api.close()
    assert [span.name for span in recorded.spans] == ["POST", "chat Qwen/Qwen3.5-9B"]
    ended = recorded.call.end_time
    assert ended is not None
    assert ended / 1e9 == pytest.approx(dropped.timestamp(), abs=0.5)
    assert recorded.call.status.status_code is StatusCode.UNSET


async def test_collecting_a_stream_takes_no_lock(make: Making, caplog: pytest.LogCaptureFixture) -> None:
    """Neither of an exporter nor of a log handler: this thread may hold it."""
    caplog.set_level("DEBUG")
    lock = threading.Lock()

    class Exporter(InMemorySpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            assert lock.acquire(timeout=1), "exported inside the finaliser"
            lock.release()
            return super().export(spans)

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Exporter()))
    transport = ScriptedTransport([streamed(*[delta("x"), 0.5] * 10)])
    api = make(transport=transport, tracer_provider=provider, mode="together-dedicated", **KEY)
    stream = await api.stream()
    caplog.clear()
    with lock:
        del stream
    assert caplog.records == []
    await api.close()


async def test_no_span_leaks_into_the_callers_context(make: Making, recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("app")
    api = make(transport=ScriptedTransport([hello()]), tracer_provider=recorded.provider, **KEY)
    with tracer.start_as_current_span("app") as app:
        stream = await api.stream()
        assert trace.get_current_span() is app
        await stream.text()
        assert trace.get_current_span() is app
    parent = recorded.call.parent
    assert parent is not None
    assert parent.span_id == app.get_span_context().span_id


async def test_an_estimate_of_tokens_is_not_reported_as_a_count(make: Making, recorded: Recorded) -> None:
    transport = ScriptedTransport([said(completion(usage=None))])
    reply = await make(transport=transport, tracer_provider=recorded.provider, **KEY).create()
    assert reply.hybrid.usage is not None
    assert reply.hybrid.cost.estimated
    assert names.USAGE_INPUT_TOKENS not in (recorded.call.attributes or {})


async def test_telemetry_that_fails_does_not_fail_the_call(make: Making) -> None:
    class Broken(trace.NoOpTracer):
        def start_span(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("exporter down")

    class Provider(trace.NoOpTracerProvider):
        def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
            return Broken()

    api = make(transport=ScriptedTransport([said()]), tracer_provider=Provider(), **KEY)
    assert (await api.create()).hybrid.attempts == 1


async def test_no_secret_and_no_content_is_in_any_span_or_log(
    make: Making, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    transport = ScriptedTransport([refused(500, message="key k-canary-secret is odd"), hello()])
    api = make(transport=transport, tracer_provider=recorded.provider, **KEY)
    messages = [{"role": "user", "content": "canary-prompt"}]
    await (await api.stream(messages=messages)).text()
    seen = (
        "".join(span.to_json() for span in recorded.spans)
        + caplog.text
        + repr(api.client)
        + api.client.describe()
    )
    assert "attempt" in caplog.text
    for canary in ("canary-secret", "canary-prompt", "Hello"):
        assert canary not in seen
