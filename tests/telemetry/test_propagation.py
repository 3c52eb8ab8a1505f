"""The provider is told of the trace that a request belongs to, in W3C headers, and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from both import Making
from fakes import ScriptedTransport, hello, refused, said
from telemetry.recorded import KEY, Recorded

THEIRS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def headers(transport: ScriptedTransport, number: int = 0) -> dict[str, str]:
    return dict(transport.sent[number].request.headers)


def parent_of(span: ReadableSpan) -> str:
    """The header that names a span as the parent of what the provider does."""
    held = span.get_span_context()
    assert held is not None
    return f"00-{held.trace_id:032x}-{held.span_id:016x}-{held.trace_flags:02x}"


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


async def test_each_request_names_the_span_of_its_attempt(make: Making, recorded: Recorded) -> None:
    transport = ScriptedTransport([refused(500), said()])
    await make(transport=transport, tracer_provider=recorded.provider, **KEY).create()
    sent = [headers(transport, number)["traceparent"] for number in (0, 1)]
    assert sent == [parent_of(attempt) for attempt in recorded.attempts]


async def test_baggage_stays_here(make: Making, recorded: Recorded) -> None:
    token = context.attach(baggage.set_baggage("user.email", "a@b.c"))
    try:
        transport = ScriptedTransport([hello()])
        api = make(transport=transport, tracer_provider=recorded.provider, **KEY)
        await (await api.stream()).text()
    finally:
        context.detach(token)
    sent = headers(transport)
    assert "traceparent" in sent
    assert "baggage" not in sent
    assert "a@b.c" not in str(sent) and "a%40b.c" not in str(sent)


async def test_it_can_be_switched_off(make: Making, recorded: Recorded) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, tracer_provider=recorded.provider, propagate_trace=False, **KEY)
    await api.create()
    assert not {"traceparent", "tracestate"} & set(headers(transport))
    assert len(recorded.spans) == 2


async def test_the_callers_own_header_stays(make: Making, recorded: Recorded) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, tracer_provider=recorded.provider, **KEY)
    await api.create(extra_headers={"Traceparent": THEIRS})
    sent = transport.sent[0].request.headers
    assert [value for name, value in sent if name == "traceparent"] == [THEIRS]


async def test_a_trace_that_is_not_sampled_is_passed_on_as_such(make: Making) -> None:
    recorded = Recorded(sampler=ALWAYS_OFF)
    transport = ScriptedTransport([said()])
    await make(transport=transport, tracer_provider=recorded.provider, **KEY).create()
    flags = int(headers(transport)["traceparent"].rpartition("-")[2], 16)
    assert not flags & TraceFlags.SAMPLED
    assert recorded.spans == ()


async def test_without_an_sdk_the_applications_trace_is_passed_on(make: Making) -> None:
    """A service that only hands on what it was called with."""
    held = SpanContext(
        trace_id=0x0AF7651916CD43DD8448EB211C80319C,
        span_id=0xB7AD6B7169203331,
        is_remote=True,
        trace_flags=TraceFlags(1),
        trace_state=TraceState([("vendor", "x")]),
    )
    transport = ScriptedTransport([said()])
    api = make(transport=transport, tracer_provider=trace.NoOpTracerProvider(), **KEY)
    with trace.use_span(NonRecordingSpan(held)):
        await api.create()
    assert headers(transport)["traceparent"] == THEIRS
    assert headers(transport)["tracestate"] == "vendor=x"


async def test_without_an_sdk_and_a_trace_nothing_is_sent(make: Making) -> None:
    transport = ScriptedTransport([said()])
    await make(transport=transport, tracer_provider=trace.NoOpTracerProvider(), **KEY).create()
    assert not {"traceparent", "tracestate"} & set(headers(transport))


async def test_the_attempts_span_has_the_whole_address_without_a_query(
    make: Making, recorded: Recorded
) -> None:
    api = make(transport=ScriptedTransport([said()]), tracer_provider=recorded.provider, **KEY)
    await api.create()
    (attempt,) = recorded.attempts
    attributes: Any = attempt.attributes
    assert attributes["url.full"] == "https://api-inference.together.ai/v1/chat/completions"
