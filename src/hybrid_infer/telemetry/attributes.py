"""What is said of a call, as attributes of its span. Pure; the names are in `names`.

Doubles are written as floats and integers as ints, since backends keep the two apart. What is unknown is left
out, never 0. Nothing here holds content, a header or a credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from hybrid_infer.calls.call import Attempt, Call, Target
from hybrid_infer.calls.money import NANO, Cost, Usage
from hybrid_infer.calls.operations import OPERATIONS
from hybrid_infer.calls.reply import Facts
from hybrid_infer.errors import APIError
from hybrid_infer.telemetry import names

Attributes = dict[str, Any]

_INT64 = 2**63
_DOUBLES: Mapping[str, str] = {
    "temperature": names.REQUEST_TEMPERATURE,
    "top_p": names.REQUEST_TOP_P,
    "frequency_penalty": names.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": names.REQUEST_PRESENCE_PENALTY,
}
_INTEGERS: Mapping[str, str] = {
    "max_tokens": names.REQUEST_MAX_TOKENS,
    "max_completion_tokens": names.REQUEST_MAX_TOKENS,
    "top_k": names.REQUEST_TOP_K,
}
_STORED = ("hit", "shared", "stale")
"""Answers whose tokens somebody else has paid for."""
_PARTS = names.COST_PARTS
_OUTPUT_TYPES: Mapping[str, str] = {"text": "text", "json_object": "json", "json_schema": "json"}


def of_place(call: Call, target: Target) -> Attributes:
    """Where a call is sent: what samplers look at, and what all metrics are divided by."""
    host, port = target.address(call.operation)
    found: Attributes = {
        names.OPERATION_NAME: OPERATIONS[call.operation].traced,
        names.PROVIDER_NAME: target.provider,
        names.SERVER_ADDRESS: host,
        names.SERVER_PORT: port,
        names.MODE: target.mode,
    }
    if target.model is not None:
        found[names.REQUEST_MODEL] = target.model
    return found


def of_request(call: Call, target: Target) -> Attributes:
    """What was asked for, besides where."""
    body = call.body if not call.extra_body else {**call.body, **call.extra_body}
    found: Attributes = {}
    for key, value in body.items():
        if key in _DOUBLES:
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[_DOUBLES[key]] = float(value)
        elif key in _INTEGERS and type(value) is int:
            found[_INTEGERS[key]] = value
    if call.stream:
        found[names.REQUEST_STREAM] = True
    stop = body.get("stop")
    if stop:
        found[names.REQUEST_STOP_SEQUENCES] = [stop] if isinstance(stop, str) else [str(s) for s in stop]
    seed = body.get("seed")
    if type(seed) is int:
        # Seeds go up to 2**64, past what an OTLP integer holds.
        if -_INT64 <= seed < _INT64:
            found[names.REQUEST_SEED] = seed
        else:
            found[names.LARGE_SEED] = str(seed)
    count = body.get("n")
    if type(count) is int and count != 1:
        found[names.REQUEST_CHOICE_COUNT] = count
    level = body.get("reasoning_effort")
    if isinstance(level, str):
        found[names.REQUEST_REASONING_LEVEL] = level
    wanted = body.get("response_format")
    if isinstance(wanted, Mapping):
        output = _OUTPUT_TYPES.get(str(cast("Mapping[str, object]", wanted).get("type")))
        if output is not None:
            found[names.OUTPUT_TYPE] = output
    if call.session is not None:
        found[names.CONVERSATION_ID] = call.session
    if call.purpose is not None:
        found[names.PURPOSE] = call.purpose
    if target.simulated:
        found[names.SIMULATED] = True
    return found


def answering(call: Call) -> Attempt | None:
    """The attempt that ended the call; None where there was none. The losers of a hedge never do."""
    for attempt in reversed(call.tally.attempts):
        if not attempt.lost:
            return attempt
    return None


def of_result(
    call: Call, facts: Facts | None, error: BaseException | None = None, *, abandoned: bool = False
) -> Attributes:
    """What came of a call. `facts` of its answer, where there is one; `error` that ended it."""
    tally = call.tally
    found: Attributes = {names.ATTEMPTS: len(tally.attempts)}
    if len(tally.attempts) > 1:
        found[names.HTTP_REQUEST_RESEND_COUNT] = len(tally.attempts) - 1
        if any(attempt.lane for attempt in tally.attempts):
            found[names.HEDGED] = True
        lost = sum(attempt.lost for attempt in tally.attempts)
        if lost:
            found[names.ATTEMPTS_LOST] = lost
    last = answering(call)
    if last is not None:
        _add_place(found, call, last)
    if tally.restarts:
        found[names.RESTARTS] = tally.restarts
    if tally.queue_wait:
        found[names.QUEUE_WAIT] = float(tally.queue_wait)
    if tally.cold_start:
        found[names.COLD_START] = True
        found[names.COLD_WAIT] = float(tally.cold_wait)
    if abandoned:
        found[names.ABANDONED] = True
    if isinstance(error, APIError):
        found[names.VERDICT] = error.verdict
    if tally.cache != "off":
        found[names.CACHE] = tally.cache
        if tally.served is not None:
            found[names.TARGET] = tally.served.target
    cost = tally.cost
    if cost is not None:
        _add_cost(found, cost)
    if facts is not None:
        _add_answer(found, call, facts, cut=abandoned or error is not None)
    return found


def reported(call: Call, facts: Facts | None) -> Usage | None:
    """The tokens that the provider counted for this call.

    None for an estimate, which must not look like a count, and for an answer that was stored or shared, which
    a backend would bill.
    """
    cost = call.tally.cost
    if facts is None or facts.usage is None or facts.usage.estimated:
        return None
    if call.tally.cache in _STORED or (cost is not None and cost.basis == "cache"):
        return None
    if call.tally.served is not None:  # past its time, after attempts that failed
        return None
    return facts.usage


def of_attempt(attempt: Attempt, error: BaseException | None) -> Attributes:
    """What came of one attempt."""
    found: Attributes = {}
    if attempt.status is not None:
        found[names.HTTP_RESPONSE_STATUS_CODE] = attempt.status
    if attempt.request_id is not None:
        found[names.REQUEST_ID] = attempt.request_id
    if isinstance(error, APIError):
        found[names.VERDICT] = error.verdict
    return found


def _add_place(found: Attributes, call: Call, last: Attempt) -> None:
    """Where it ended up. What the span began with holds for the first candidate."""
    target = last.target
    found[names.TARGET] = target.name
    if target is not call.candidates[0]:
        found[names.OVERFLOW] = True
        found.update(of_place(call, target))
    elif target.model is not None:
        found[names.REQUEST_MODEL] = target.model  # the server may have named it meanwhile
    if last.request_id is not None:
        found[names.REQUEST_ID] = last.request_id


def _add_cost(found: Attributes, cost: Cost) -> None:
    found[names.COST_BASIS] = cost.basis
    found[names.COST_ESTIMATED] = cost.estimated
    found[names.COST_FINAL] = cost.final
    if cost.source is not None:
        found[names.COST_SOURCE] = cost.source
    if cost.priced_at is not None:
        found[names.COST_PRICED_AT] = cost.priced_at.isoformat()
    if cost.reason is not None:
        found[names.COST_REASON] = cost.reason
    for other in cost.equivalent:
        amount, where = names.EQUIVALENTS.get(other.basis, (None, None))
        if amount is not None and where is not None and amount not in found and other.amount is not None:
            found[amount] = float(other.amount)
            found[where] = other.where
    if cost.amount is None:
        return
    total = float(cost.amount)
    found[names.COST_AMOUNT] = found[names.OPERATION_COST] = found[names.LLM_COST_TOTAL] = total
    found[names.COST_CURRENCY] = "USD"
    if cost.basis == "cache":
        found[names.CACHE_HIT] = True
    else:
        found[names.USAGE_COST] = total
    split = ""
    nanos = cost.nanos
    for part, nano in nanos.items():
        found[_PARTS[part]] = nano / NANO
    if cost.basis == "tokens" and (nanos or not total):
        prompt = (nanos.get("input", 0) + nanos.get("cached", 0)) / NANO
        completion = nanos.get("output", 0) / NANO
        found[names.LLM_COST_PROMPT], found[names.LLM_COST_COMPLETION] = prompt, completion
        split = f'"input_cost":{prompt},"output_cost":{completion},'
    found[names.MLFLOW_COST] = f'{{{split}"total_cost":{total}}}'


def _add_answer(found: Attributes, call: Call, facts: Facts, *, cut: bool) -> None:
    if facts.id is not None:
        found[names.RESPONSE_ID] = facts.id
    if facts.model is not None:
        found[names.RESPONSE_MODEL] = facts.model
    if facts.finish_reasons:
        found[names.RESPONSE_FINISH_REASONS] = list(facts.finish_reasons)
    elif cut:
        found[names.RESPONSE_FINISH_REASONS] = ["error"]  # so the conventions: it ended before its end
    if facts.first_token is not None:
        found[names.RESPONSE_TIME_TO_FIRST_CHUNK] = float(facts.first_token - call.tally.started)
    usage = reported(call, facts)
    if usage is not None:
        for name, count in (
            (names.USAGE_INPUT_TOKENS, usage.input_tokens),
            (names.USAGE_OUTPUT_TOKENS, usage.output_tokens),
            (names.USAGE_CACHE_READ_INPUT_TOKENS, usage.cached_tokens),
            (names.USAGE_REASONING_OUTPUT_TOKENS, usage.reasoning_tokens),
        ):
            if count is not None:
                found[name] = count
