"""What a backend receives over OTLP: every kind of call, right in model, tokens, status, session and cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from hybrid_infer.telemetry import names
from hybrid_infer.version import VERSION
from telemetry import registry
from telemetry.otlp_sink import Sink, SinkSpan, otlp_sink, values
from telemetry.traced_calls import Expected, make_calls

CASES = ("plain", "stream", "retried", "failed", "modal", "dedicated", "cache hit")
ERROR = 2
CLIENT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One case: what was to come, the span of its call and those of its attempts."""

    expected: Expected
    call: SinkSpan
    attempts: list[SinkSpan]

    @property
    def said(self) -> dict[str, Any]:
        return self.call.attributes


@pytest.fixture(scope="module")
def sink() -> Iterator[tuple[Sink, list[Expected]]]:
    """All calls, made once and exported in batches, as an application would."""
    with otlp_sink() as sink, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{sink.address}/v1/traces")))
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(f"{sink.address}/v1/metrics"), export_interval_millis=3_600_000
        )
        meters = MeterProvider([reader], shutdown_on_exit=False)
        expected = make_calls(tracers, meters)
        tracers.shutdown()
        meters.shutdown()
        yield sink, expected


@pytest.fixture(params=CASES)
def received(request: pytest.FixtureRequest, sink: tuple[Sink, list[Expected]]) -> Received:
    came, all_expected = sink
    (expected,) = [one for one in all_expected if one.session == request.param]
    (call,) = [span for span in came.spans if span.attributes.get(names.CONVERSATION_ID) == request.param]
    return Received(
        expected=expected, call=call, attempts=[span for span in came.spans if span.parent == call.id]
    )


def test_all_cases_came(sink: tuple[Sink, list[Expected]]) -> None:
    came, expected = sink
    assert [one.session for one in expected] == list(CASES)
    assert len(came.spans) == len(expected) + sum(one.attempts for one in expected)
    assert came.scopes == {("hybrid_infer", VERSION)}


def test_model_provider_and_mode(received: Received) -> None:
    expected, said = received.expected, received.said
    assert received.call.kind == CLIENT
    assert said[names.PROVIDER_NAME] == expected.provider
    assert said[names.MODE] == expected.mode
    if expected.error is None:
        assert said[names.RESPONSE_MODEL] == expected.model
    assert received.call.name == f"chat {said[names.REQUEST_MODEL]}"


def test_tokens_are_integers_on_the_call_alone(received: Received) -> None:
    expected, said = received.expected, received.said
    assert said.get(names.USAGE_INPUT_TOKENS) == expected.input_tokens
    assert said.get(names.USAGE_OUTPUT_TOKENS) == expected.output_tokens
    assert len(received.attempts) == expected.attempts
    for attempt in received.attempts:
        assert not [name for name in attempt.attributes if name.startswith(("gen_ai.", "llm.", "mlflow."))]
        assert attempt.trace == received.call.trace


def test_the_cost_under_every_name(received: Received) -> None:
    expected, said = received.expected, received.said
    every = {names.COST_AMOUNT, names.USAGE_COST, names.OPERATION_COST, names.LLM_COST_TOTAL}
    assert (said.get(names.CACHE) == "hit") is (expected.session == "cache hit")
    if expected.session == "cache hit":
        every.remove(names.USAGE_COST)
        assert names.USAGE_COST not in said
    assert {said.get(name) for name in every} == {expected.cost}
    split = json.loads(said[names.MLFLOW_COST])
    assert split["total_cost"] == expected.cost
    assert ("input_cost" in split) is expected.split
    if expected.split and expected.cost:
        assert split["input_cost"] + split["output_cost"] == pytest.approx(expected.cost)


def test_status_and_error(received: Received) -> None:
    expected = received.expected
    assert (received.call.status == ERROR) is (expected.error is not None)
    assert received.said.get(names.ERROR_TYPE) == expected.error
    assert received.said.get(names.HTTP_REQUEST_RESEND_COUNT, 0) == max(0, expected.attempts - 1)


def test_messages(received: Received) -> None:
    expected, said = received.expected, received.said
    assert json.loads(said[names.INPUT_MESSAGES])[0]["parts"][0]["content"] == expected.prompt
    if expected.answer is not None:
        (answer,) = json.loads(said[names.OUTPUT_MESSAGES])
        assert {"type": "text", "content": expected.answer} in answer["parts"]


def test_types_on_the_wire(received: Received) -> None:
    assert registry.problems(received.said, registry.GEN_AI) == []
    for attempt in received.attempts:
        assert registry.problems(attempt.attributes, registry.HTTP) == []


def test_metrics_add_up_to_the_same(sink: tuple[Sink, list[Expected]]) -> None:
    came, expected = sink
    cost = came.metrics[names.CLIENT_COST].sum
    assert cost.is_monotonic
    assert sum(point.as_double for point in cost.data_points) == pytest.approx(
        sum(one.cost or 0 for one in expected)
    )
    tokens = came.metrics[names.TOKENS_1_41].histogram.data_points
    by_kind = {
        kind: sum(point.sum for point in tokens if values(point.attributes)[names.TOKEN_TYPE] == kind)
        for kind in ("input", "output")
    }
    assert by_kind == {
        "input": sum(one.input_tokens or 0 for one in expected),
        "output": sum(one.output_tokens or 0 for one in expected),
    }
    duration = came.metrics[names.DURATION_1_41].histogram.data_points
    assert sum(point.count for point in duration) == len(expected)
    in_flight = came.metrics[names.CLIENT_IN_FLIGHT].sum
    assert not in_flight.is_monotonic
    assert sum(point.as_int for point in in_flight.data_points) == 0
