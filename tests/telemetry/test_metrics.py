"""Metrics of calls: names, units and attributes of the conventions, and counts that add up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeterProvider

from both import Making
from fakes import Answer, ScriptedTransport, completion, delta, hello, refused, said, streamed
from hybrid_infer.calls.call import Attempt, Call, Tally, Target
from hybrid_infer.calls.money import Cost, Usage
from hybrid_infer.calls.reply import Facts
from hybrid_infer.errors import BadRequestError
from hybrid_infer.telemetry import names
from hybrid_infer.telemetry.metrics import Metrics
from hybrid_infer.transport.base import TransportError
from places import SETTINGS, Places
from telemetry import registry
from telemetry.recorded import KEY, Measured, Recorded

COLD = Answer(503, (b"no container is running",), (("content-type", "text/plain"),))
BREAK = TransportError("the connection was reset", sent=True)
HYBRID = {**SETTINGS, "mode": "hybrid", "hybrid": {"base": "modal", "overflow": "together-serverless"}}


@pytest.fixture
def measured() -> Measured:
    return Measured()


@pytest.mark.parametrize("edition", ["1.41", "2026-10"])
async def test_names_units_boundaries_and_attributes_are_those_of_the_conventions(
    make: Making, measured: Measured, edition: str
) -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    script = [said(completion(usage=usage)), hello(), refused(400)]
    api = make(
        transport=ScriptedTransport(script), meter_provider=measured.provider, metrics_names=edition, **KEY
    )
    await api.create()
    await (await api.stream()).text()
    with pytest.raises(BadRequestError):
        await api.create()
    emitted = measured.metrics()
    of_edition = {name for name in registry.METRICS if (".inference." in name) is (edition != "1.41")}
    assert {name for name in emitted if name.startswith("gen_ai.")} == of_edition
    for name in of_edition:
        kind, unit = registry.METRICS[name]
        metric = emitted[name]
        assert metric.unit == unit
        assert hasattr(metric.data.data_points[0], "bucket_counts") is (kind == "histogram")
        for point in metric.data.data_points:
            assert set(point.attributes) <= registry.METRIC_ATTRIBUTES
            if kind == "histogram":
                assert point.explicit_bounds == (
                    pytest.approx(registry.SECONDS) if unit == "s" else registry.TOKENS
                )


async def test_tokens_add_up_to_what_the_replies_said(make: Making, measured: Measured) -> None:
    api = make(transport=ScriptedTransport([said(), hello()]), meter_provider=measured.provider, **KEY)
    first = await api.create()
    stream = await api.stream()
    await stream.text()
    usages = [reply.hybrid.usage for reply in (first, stream)]
    totals = {point.attributes[names.TOKEN_TYPE]: point.sum for point in measured.points(names.TOKENS_1_41)}
    assert totals == {
        "input": sum(usage.input_tokens or 0 for usage in usages if usage),
        "output": sum(usage.output_tokens or 0 for usage in usages if usage),
    }


async def test_the_counts_of_2026_are_those_of_the_reply(make: Making, measured: Measured) -> None:
    api = make(
        transport=ScriptedTransport([said()]),
        meter_provider=measured.provider,
        metrics_names="2026-10",
        **KEY,
    )
    await api.create()
    assert measured.total(names.TOKEN_COUNTS_2026["input_tokens"]) == 10
    assert measured.total(names.OUTPUT_PER_CALL_2026) == 5


async def test_an_estimate_of_tokens_is_not_counted(make: Making, measured: Measured) -> None:
    transport = ScriptedTransport([said(completion(usage=None))])
    reply = await make(transport=transport, meter_provider=measured.provider, **KEY).create()
    assert reply.hybrid.usage is not None and reply.hybrid.usage.estimated
    assert measured.points(names.TOKENS_1_41) == []


async def test_costs_add_up_to_what_the_replies_cost(make: Making, measured: Measured) -> None:
    api = make(transport=ScriptedTransport([said(), hello()]), meter_provider=measured.provider, **KEY)
    first = await api.create()
    stream = await api.stream()
    await stream.text()
    costs = [reply.hybrid.cost.amount for reply in (first, stream)]
    total = float(sum(cost for cost in costs if cost is not None))
    assert measured.total(names.CLIENT_COST) == pytest.approx(total)
    assert measured.total(names.OPERATION_COST) == pytest.approx(total)
    (point,) = measured.points(names.CLIENT_COST)
    assert point.attributes[names.COST_BASIS] == "tokens"
    assert point.attributes[names.MODE] == "together-serverless"


async def test_a_failed_call_has_its_error_and_a_repaired_one_none(make: Making, measured: Measured) -> None:
    script = [refused(500), said(), refused(400)]
    api = make(transport=ScriptedTransport(script), meter_provider=measured.provider, **KEY)
    await api.create()
    with pytest.raises(BadRequestError):
        await api.create()
    errors = {point.attributes.get(names.ERROR_TYPE) for point in measured.points(names.DURATION_1_41)}
    assert errors == {None, "BadRequestError"}
    assert measured.total(names.CLIENT_RESENDS) == 1


async def test_what_is_in_flight_returns_to_nothing_however_calls_end(
    make: Making, measured: Measured
) -> None:
    script = [
        said(),
        refused(400),
        hello(),
        *[streamed(*[delta("x"), 0.5] * 10)] * 2,
        streamed(delta("x"), BREAK),
    ]
    api = make(transport=ScriptedTransport(script), meter_provider=measured.provider, **KEY)
    await api.create()
    with pytest.raises(BadRequestError):
        await api.create()
    await (await api.stream()).text()
    closed, dropped = await api.stream(), await api.stream()
    assert measured.total(names.CLIENT_IN_FLIGHT) == 2
    await closed.close()
    assert measured.total(names.CLIENT_IN_FLIGHT) == 1
    del dropped
    broken = await api.stream()  # the next call does what a finaliser may not
    assert measured.total(names.CLIENT_IN_FLIGHT) == 1
    with pytest.raises(Exception, match="broke"):
        await broken.text()
    assert measured.total(names.CLIENT_IN_FLIGHT) == 0


async def test_a_cold_start_is_counted_with_its_wait(make: Making, measured: Measured) -> None:
    places = Places(modal=[COLD, said()])
    api = make(transport=places.transport, meter_provider=measured.provider, mode="modal", **SETTINGS)
    reply = await api.create()
    assert measured.total(names.CLIENT_COLD_STARTS) == 1
    assert measured.total(names.CLIENT_COLD_WAIT) == pytest.approx(reply.hybrid.cold_wait)


async def test_an_overflow_is_counted_at_the_target_that_answered(make: Making, measured: Measured) -> None:
    places = Places(modal=[COLD], serverless=[said()])
    await make(transport=places.transport, meter_provider=measured.provider, **HYBRID).create()
    (point,) = measured.points(names.CLIENT_OVERFLOWS)
    assert (point.value, point.attributes[names.MODE]) == (1, "together-serverless")


async def test_a_hedge_is_no_resend(make: Making, measured: Measured) -> None:
    script = [*[said(after=1.0)] * 30, said(after=30.0), said(after=1.0)]
    api = make(
        transport=ScriptedTransport(script),
        meter_provider=measured.provider,
        hedge=True,
        attempt_timeout=60,
        **KEY,
    )
    for _ in range(31):
        await api.create()
    assert measured.total(names.CLIENT_HEDGES) == 1
    assert measured.points(names.CLIENT_RESENDS) == []


async def test_a_restart_and_a_queue_are_counted(make: Making, measured: Measured) -> None:
    script = [streamed(delta("x"), BREAK), hello(), said()]
    api = make(
        transport=ScriptedTransport(script), meter_provider=measured.provider, requests_per_minute=2, **KEY
    )
    stream = await api.stream(on_stream_break="restart")
    async for _ in stream:
        pass
    reply = await api.create()
    assert measured.total(names.CLIENT_RESTARTS) == 1
    waited = [stream.hybrid.queue_wait, reply.hybrid.queue_wait]
    assert min(waited) > 0
    assert measured.total(names.CLIENT_QUEUE_WAIT) == pytest.approx(sum(waited))


def test_a_cache_hit_is_counted_and_uses_no_tokens(measured: Measured) -> None:
    call = _call(Cost(amount=Decimal(0), basis="cache"))
    metrics_ = Metrics("0", measured.provider)
    began = metrics_.begin(call)
    assert began is not None
    metrics_.end(began, call, Facts(usage=Usage(input_tokens=9, output_tokens=9)), None)
    assert measured.total(names.CLIENT_CACHE_HITS) == 1
    assert measured.points(names.TOKENS_1_41) == []


def _call(cost: Any) -> Call:
    target = Target(
        name="modal/llm", mode="modal", provider="modal", model="llm", host="h", port=1, basis="tokens"
    )
    tally = Tally(attempts=[Attempt(target=target, started=0.0)], reckoned=cost, latency=1.0)
    return Call(operation="chat", model="m", body={}, candidates=(target,), tally=tally)


@pytest.mark.parametrize("provider", [None, NoOpMeterProvider()])
def test_where_nobody_records_nothing_is_counted(provider: Any) -> None:
    assert Metrics("0", provider).begin(_call(None)) is None


async def test_the_sdk_may_be_set_up_after_the_client(
    make: Making, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    await api.create()
    # What `set_meter_provider` does, which can be called once in a process.
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", measured.provider)
    await api.create()
    assert measured.points(names.DURATION_1_41)[0].count == 1


async def test_metrics_that_fail_do_not_fail_the_call(make: Making) -> None:
    class Broken(NoOpMeterProvider):
        def get_meter(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("no meter")

    api = make(transport=ScriptedTransport([said()]), meter_provider=Broken(), **KEY)
    assert (await api.create()).hybrid.attempts == 1


async def test_a_measurement_leads_to_the_trace_of_its_call(make: Making, measured: Measured) -> None:
    """Exemplars: not to the span that happens to be current where the call ends."""
    recorded = Recorded()
    api = make(
        transport=ScriptedTransport([said()]),
        tracer_provider=recorded.provider,
        meter_provider=measured.provider,
        **KEY,
    )
    with recorded.provider.get_tracer("app").start_as_current_span("app"):
        await api.create()
    (point,) = measured.points(names.DURATION_1_41)
    held = recorded.call.get_span_context()
    assert held is not None
    assert [exemplar.span_id for exemplar in point.exemplars] == [held.span_id]
