"""What spans tell of a call, against the tables of the conventions, and in our own words."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from both import Making
from fakes import Answer, ScriptedTransport, completion, delta, hello, refused, said, streamed
from hybrid_infer.calls.call import Attempt, Call, Tally, Target
from hybrid_infer.calls.money import NANO, Cost, CostParts, Equivalent, Usage
from hybrid_infer.calls.reply import Facts
from hybrid_infer.errors import APIError, BadRequestError, ColdError, InternalServerError
from hybrid_infer.telemetry import names
from hybrid_infer.telemetry.attributes import of_result
from hybrid_infer.transport.base import TransportError
from places import SETTINGS, Places
from telemetry import registry
from telemetry.recorded import KEY, Recorded

EVERYTHING: dict[str, Any] = {
    "temperature": 1,
    "top_p": 0.9,
    "top_k": 40,
    "max_tokens": 64,
    "frequency_penalty": 0,
    "presence_penalty": 1,
    "stop": ["a", "b"],
    "seed": 7,
    "n": 2,
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "session": "s-1",
    "purpose": "demo",
}
COLD = Answer(503, (b"no container is running",), (("content-type", "text/plain"),))
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
BREAK = TransportError("the connection was reset", sent=True)


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_names_types_and_levels_are_those_of_the_conventions(
    make: Making, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, stream: bool, fails: bool
) -> None:
    monkeypatch.setenv(names.CAPTURE_CONTENT, "span_only")
    good = hello() if stream else said(completion(usage=USAGE))
    script = [refused(500), refused(400) if fails else good]
    api = make(transport=ScriptedTransport(script), tracer_provider=recorded.provider, **KEY)
    try:
        if stream:
            await (await api.stream(**EVERYTHING)).text()
        else:
            await api.create(**EVERYTHING)
    except BadRequestError:
        assert fails
    assert registry.problems(recorded.said, registry.GEN_AI) == []
    # What is conditionally required is there wherever its condition holds.
    wanted = {name for name, (_, level) in registry.GEN_AI.items() if level == registry.CONDITIONAL}
    wanted -= set() if stream else {"gen_ai.request.stream"}
    wanted -= set() if fails else {"error.type"}
    assert wanted <= set(recorded.said)
    assert len(recorded.attempts) == 2
    for attempt in recorded.attempts:
        assert registry.problems(dict(attempt.attributes or {}), registry.HTTP) == []


async def test_all_that_is_recommended_and_known_is_there(make: Making, recorded: Recorded) -> None:
    transport = ScriptedTransport([said(completion(usage=USAGE))])
    await make(transport=transport, tracer_provider=recorded.provider, **KEY).create(**EVERYTHING)
    recommended = {name for name, (_, level) in registry.GEN_AI.items() if level == registry.RECOMMENDED}
    unknown = {"gen_ai.usage.cache_write.input_tokens", "gen_ai.response.time_to_first_chunk"}
    assert recommended - unknown <= set(recorded.said)


def test_every_name_of_the_conventions_that_could_be_emitted_is_in_a_table() -> None:
    emitted = {value for value in vars(names).values() if isinstance(value, str)}
    gen_ai = {name for name in emitted if name.startswith("gen_ai.") and ".client." not in name}
    assert gen_ai <= set(registry.GEN_AI) | set(registry.COSTS) | registry.METRIC_ATTRIBUTES


async def test_what_is_left_at_its_default_is_not_said(make: Making, recorded: Recorded) -> None:
    api = make(transport=ScriptedTransport([said()]), tracer_provider=recorded.provider, **KEY)
    await api.create(n=1, stop=None, response_format={"type": "image"})
    quiet = (names.REQUEST_CHOICE_COUNT, names.REQUEST_STREAM, names.REQUEST_STOP_SEQUENCES)
    assert not {*quiet, names.OUTPUT_TYPE, names.CONVERSATION_ID} & set(recorded.said)


async def test_parameters_given_in_the_extra_body_count(make: Making, recorded: Recorded) -> None:
    api = make(transport=ScriptedTransport([said()]), tracer_provider=recorded.provider, **KEY)
    await api.create(temperature=0.1, extra_body={"temperature": 0.5, "top_k": 3})
    assert recorded.said[names.REQUEST_TEMPERATURE] == 0.5
    assert recorded.said[names.REQUEST_TOP_K] == 3


async def test_a_failed_call_has_its_verdict_and_so_have_its_attempts(
    make: Making, recorded: Recorded
) -> None:
    transport = ScriptedTransport([refused(500), refused(400)])
    with pytest.raises(BadRequestError):
        await make(transport=transport, tracer_provider=recorded.provider, **KEY).create()
    assert recorded.said[names.VERDICT] == "fail"
    assert [(attempt.attributes or {})[names.VERDICT] for attempt in recorded.attempts] == ["retry", "fail"]


async def test_where_another_target_answers_the_span_tells_of_that_one(
    make: Making, recorded: Recorded
) -> None:
    places = Places(modal=[COLD], serverless=[said()])
    settings = {**SETTINGS, "mode": "hybrid", "hybrid": {"base": "modal", "overflow": "together-serverless"}}
    api = make(transport=places.transport, tracer_provider=recorded.provider, **settings)
    reply = await api.create()
    said_of_it = recorded.said
    assert said_of_it[names.OVERFLOW] is True
    assert said_of_it[names.COLD_START] is True
    assert said_of_it[names.PROVIDER_NAME] == "together"
    assert said_of_it[names.MODE] == reply.hybrid.mode == "together-serverless"
    assert said_of_it[names.TARGET] == reply.hybrid.target
    assert "together" in said_of_it[names.SERVER_ADDRESS]
    modes = [(attempt.attributes or {})[names.MODE] for attempt in recorded.attempts]
    assert modes == ["modal", "together-serverless"]


async def test_a_hedged_call_says_so(make: Making, recorded: Recorded) -> None:
    script = [*[said(after=1.0)] * 30, said(after=30.0), said(after=1.0)]
    transport = ScriptedTransport(script)
    api = make(transport=transport, tracer_provider=recorded.provider, hedge=True, attempt_timeout=60, **KEY)
    for _ in range(31):
        await api.create()
    attributes = dict(recorded.calls[-1].attributes or {})
    assert (attributes[names.HEDGED], attributes[names.ATTEMPTS_LOST]) == (True, 1)
    assert attributes[names.ATTEMPTS] == 2
    lanes = [(attempt.attributes or {}).get(names.LANE) for attempt in recorded.attempts]
    assert lanes.count(1) == 1


async def test_a_stream_that_was_asked_for_again_says_so(make: Making, recorded: Recorded) -> None:
    script = [streamed(delta("Hel"), BREAK), hello()]
    api = make(transport=ScriptedTransport(script), tracer_provider=recorded.provider, **KEY)
    stream = await api.stream(on_stream_break="restart")
    async for _ in stream:
        pass
    assert recorded.said[names.RESTARTS] == 1
    assert names.ERROR_TYPE not in recorded.said


async def test_a_stream_that_broke_or_was_given_up_has_no_natural_end(
    make: Making, recorded: Recorded
) -> None:
    script = [streamed(delta("Hel"), BREAK), hello()]
    api = make(transport=ScriptedTransport(script), tracer_provider=recorded.provider, **KEY)
    with pytest.raises(APIError):
        await (await api.stream()).text()
    await (await api.stream()).close()
    broken, closed = (dict(span.attributes or {}) for span in recorded.calls)
    assert broken[names.RESPONSE_FINISH_REASONS] == closed[names.RESPONSE_FINISH_REASONS] == ("error",)
    assert names.ABANDONED not in broken
    assert closed[names.ABANDONED] is True
    assert (broken[names.ERROR_TYPE], closed.get(names.ERROR_TYPE)) == ("StreamError", None)


async def test_a_cold_machine_is_waited_for_in_the_span(make: Making, recorded: Recorded) -> None:
    places = Places(modal=[COLD, said()])
    api = make(transport=places.transport, tracer_provider=recorded.provider, mode="modal", **SETTINGS)
    try:
        reply = await api.create()
    except ColdError:
        pytest.fail("it should have been waited for")
    assert recorded.said[names.COLD_WAIT] == reply.hybrid.cold_wait > 0


def _target() -> Target:
    return Target(
        name="modal/llm",
        mode="modal",
        provider="modal",
        model="llm",
        host="h",
        port=443,
        basis="machine-time",
    )


class Detail:
    """What a cost is made of."""

    def __init__(self, parts: CostParts | None = None, *others: Equivalent) -> None:
        self._parts, self._others = parts, others

    def nanos(self) -> dict[str, int]:
        parts = asdict(self._parts) if self._parts is not None else {}
        return {kind: int(amount * NANO) for kind, amount in parts.items() if amount}

    def parts(self) -> CostParts | None:
        return self._parts

    def equivalent(self) -> tuple[Equivalent, ...]:
        return self._others


def _result(cost: Cost, usage: Usage | None = None) -> dict[str, Any]:
    target = _target()
    tally = Tally(attempts=[Attempt(target=target, started=0.0)], reckoned=cost)
    call = Call(operation="chat", model="m", body={}, candidates=(target,), tally=tally)
    return of_result(call, Facts(usage=usage))


def test_a_cache_hit_has_no_usage_at_all_and_a_cost_of_nothing() -> None:
    """Backends price tokens themselves, whatever the cost says."""
    cost = Cost(amount=Decimal(0), basis="cache")
    found = _result(cost, Usage(input_tokens=1000, output_tokens=500))
    assert not [name for name in found if name.startswith("gen_ai.usage.")]
    assert found[names.CACHE_HIT] is True
    assert found[names.OPERATION_COST] == found[names.COST_AMOUNT] == found[names.LLM_COST_TOTAL] == 0.0
    assert json.loads(found[names.MLFLOW_COST]) == {"total_cost": 0.0}


def test_a_cost_by_tokens_is_split_as_backends_read_it() -> None:
    parts = CostParts(input=Decimal("0.001"), cached=Decimal("0.0005"), output=Decimal("0.002"))
    found = _result(
        Cost(
            amount=Decimal("0.0035"),
            basis="tokens",
            source="a page",
            priced_at=date(2026, 11, 23),
            detail=Detail(parts),
        )
    )
    assert found[names.USAGE_COST] == 0.0035
    assert json.loads(found[names.MLFLOW_COST]) == {
        "input_cost": 0.0015,
        "output_cost": 0.002,
        "total_cost": 0.0035,
    }
    assert (found[names.LLM_COST_PROMPT], found[names.LLM_COST_COMPLETION]) == (0.0015, 0.002)
    assert found[names.COST_PRICED_AT] == "2026-11-23"
    assert found[names.COST_PARTS["cached"]] == 0.0005
    assert names.COST_PARTS["machine_time"] not in found, "nothing was billed for it"


def test_a_cost_of_machine_time_stands_beside_what_tokens_would_have_cost() -> None:
    parts = CostParts(machine_time=Decimal("0.01"), cold_start=Decimal("0.002"))
    per_token = Equivalent(where="together-serverless/m", basis="tokens", amount=Decimal("0.0001"))
    unknown = Equivalent(where="modal/m", basis="machine-time", amount=None, reason="not known")
    found = _result(
        Cost(
            amount=Decimal("0.012"),
            basis="machine-time",
            final=False,
            detail=Detail(parts, per_token, unknown),
        )
    )
    amount, where = names.EQUIVALENTS["tokens"]
    assert (found[amount], found[where]) == (0.0001, "together-serverless/m")
    assert names.EQUIVALENTS["machine-time"][0] not in found
    assert found[names.COST_PARTS["cold_start"]] == 0.002
    assert json.loads(found[names.MLFLOW_COST]) == {"total_cost": 0.012}, (
        "machine time is of no kind of token"
    )
    assert names.LLM_COST_PROMPT not in found
    assert found[names.COST_FINAL] is False


def test_an_unknown_cost_is_left_out_and_says_why() -> None:
    found = _result(Cost(amount=None, basis="unknown", reason="no price is known"))
    assert found[names.COST_REASON] == "no price is known"
    assert not set(found) & {*registry.COSTS, names.COST_AMOUNT, names.COST_CURRENCY}


async def test_a_wait_for_a_slot_is_said(make: Making, recorded: Recorded) -> None:
    transport = ScriptedTransport([said(), said()])
    api = make(
        transport=transport, tracer_provider=recorded.provider, requests_per_minute=1, retry_budget=0, **KEY
    )
    await api.create()
    reply = await api.create()
    attributes = dict(recorded.calls[-1].attributes or {})
    assert attributes[names.QUEUE_WAIT] == reply.hybrid.queue_wait > 0


async def test_the_span_of_a_call_that_failed_everywhere_names_the_last_target(
    make: Making, recorded: Recorded
) -> None:
    places = Places(modal=[refused(500)], serverless=[refused(500)])
    settings = {**SETTINGS, "mode": "modal", "fallback": ["together-serverless"], "max_retries": 0}
    api = make(transport=places.transport, tracer_provider=recorded.provider, **settings)
    with pytest.raises(InternalServerError) as caught:
        await api.create()
    assert recorded.said[names.TARGET] == caught.value.hybrid.target
