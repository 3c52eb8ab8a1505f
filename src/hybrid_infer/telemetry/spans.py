"""The span of a call and those of its attempts.

One CLIENT span ``chat {model}`` covers the whole logical call, its retries and its stream. Attempt spans hang
below it and carry no ``gen_ai.*`` attribute: backends add up, and count, every span that has them. No span is
ever made current, so nothing leaks into the caller's context. Nothing here raises into a call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from hybrid_infer.calls.call import Attempt, Call, Target
from hybrid_infer.calls.reply import Facts
from hybrid_infer.telemetry import names

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("hybrid_infer")

Attributes = dict[str, Any]

_INT64 = 2**63
_PARAMETERS: Mapping[str, str] = {
    "max_tokens": names.REQUEST_MAX_TOKENS,
    "temperature": names.REQUEST_TEMPERATURE,
    "top_p": names.REQUEST_TOP_P,
    "top_k": names.REQUEST_TOP_K,
    "frequency_penalty": names.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": names.REQUEST_PRESENCE_PENALTY,
}


def contained(function: Callable[P, R]) -> Callable[P, R | None]:
    """Telemetry never fails a call: whatever it raises is logged, and None returned."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception:
            log.debug("telemetry failed in %s", function.__name__, exc_info=True)
            return None

    return inner


class Spans:
    """Makes and ends spans.

    Args:
        version: of this package, for the instrumentation scope.
        tracer_provider: where spans go; the global provider if None.
    """

    def __init__(self, version: str, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer(names.SCOPE, version, tracer_provider)

    @contained
    def start_call(self, call: Call) -> Span | None:
        """Start the span of a planned call; None where nobody records it."""
        target = call.candidates[0]
        attributes: Attributes = {
            names.OPERATION_NAME: call.operation,
            names.PROVIDER_NAME: target.provider,
            names.SERVER_ADDRESS: target.host,
            names.SERVER_PORT: target.port,
            names.MODE: target.mode,
        }
        if target.model is not None:
            attributes[names.REQUEST_MODEL] = target.model
        title = f"{call.operation} {target.model}" if target.model else call.operation
        span = self._tracer.start_span(title, kind=SpanKind.CLIENT, attributes=attributes)
        if not span.is_recording():
            return None
        span.set_attributes(_request_attributes(call, target))
        return span

    @contained
    def context(self, span: Span) -> Any:
        """What attempt spans take as their parent."""
        return trace.set_span_in_context(span)

    @contained
    def end_call(
        self,
        span: Span,
        call: Call,
        facts: Facts | None,
        error: BaseException | None,
        at: datetime | None = None,
    ) -> None:
        """End it now, or as of `at`."""
        span.set_attributes(_result_attributes(call, facts))
        _fail(span, error)
        span.end(_nanoseconds(at))

    @contained
    def start_attempt(self, call: Call, target: Target, number: int) -> Span | None:
        """Start the span of attempt `number` (from 1); None where the call's span is not recorded."""
        if call.trace is None:
            return None
        attributes: Attributes = {
            names.HTTP_REQUEST_METHOD: "POST",
            names.SERVER_ADDRESS: target.host,
            names.SERVER_PORT: target.port,
            names.TARGET: target.name,
        }
        if number > 1:
            attributes[names.HTTP_REQUEST_RESEND_COUNT] = number - 1
        return self._tracer.start_span(
            "POST", context=call.trace, kind=SpanKind.CLIENT, attributes=attributes
        )

    @contained
    def end_attempt(
        self, span: Span, attempt: Attempt, error: BaseException | None, at: datetime | None = None
    ) -> None:
        """End it now, or as of `at`."""
        if attempt.status is not None:
            span.set_attribute(names.HTTP_RESPONSE_STATUS_CODE, attempt.status)
        _fail(span, error)
        span.end(_nanoseconds(at))


def _nanoseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1_000_000_000)


def _fail(span: Span, error: BaseException | None) -> None:
    """Status stays unset on success, and for a cancellation (GeneratorExit, CancelledError, Ctrl-C)."""
    if isinstance(error, Exception):
        kind = type(error).__name__
        span.set_attribute(names.ERROR_TYPE, kind)
        span.set_status(Status(StatusCode.ERROR, kind))


def _request_attributes(call: Call, target: Target) -> Attributes:
    body = call.body
    found: Attributes = {
        name: body[key]
        for key, name in _PARAMETERS.items()
        if isinstance(body.get(key), int | float) and not isinstance(body[key], bool)
    }
    if call.stream:
        found[names.REQUEST_STREAM] = True
    stop = body.get("stop")
    if stop:
        found[names.REQUEST_STOP_SEQUENCES] = [stop] if isinstance(stop, str) else [str(s) for s in stop]
    seed = body.get("seed")
    if isinstance(seed, int):
        # Seeds go up to 2**64, past what an OTLP integer holds.
        found[names.REQUEST_SEED] = seed if abs(seed) < _INT64 else str(seed)
    if isinstance(body.get("n"), int) and body["n"] != 1:
        found[names.REQUEST_CHOICE_COUNT] = body["n"]
    if call.session is not None:
        found[names.CONVERSATION_ID] = call.session
    if call.purpose is not None:
        found[names.PURPOSE] = call.purpose
    if target.simulated:
        found[names.SIMULATED] = True
    return found


def _result_attributes(call: Call, facts: Facts | None) -> Attributes:
    tally = call.tally
    found: Attributes = {names.ATTEMPTS: len(tally.attempts)}
    if len(tally.attempts) > 1:
        found[names.HTTP_REQUEST_RESEND_COUNT] = len(tally.attempts) - 1
    if tally.cold_start:
        found[names.COLD_START] = True
        found[names.COLD_WAIT] = tally.cold_wait
    cost = tally.cost
    if cost is not None:
        found[names.COST_BASIS] = cost.basis
        found[names.COST_ESTIMATED] = cost.estimated
        if cost.source is not None:
            found[names.COST_SOURCE] = cost.source
        if cost.amount is not None:
            found[names.COST_AMOUNT] = found[names.USAGE_COST] = float(cost.amount)
            found[names.COST_CURRENCY] = "USD"
    if facts is not None:
        _answer_attributes(found, call, facts)
    return found


def _answer_attributes(found: Attributes, call: Call, facts: Facts) -> None:
    if facts.id is not None:
        found[names.RESPONSE_ID] = facts.id
    if facts.model is not None:
        found[names.RESPONSE_MODEL] = facts.model
    if facts.finish_reasons:
        found[names.RESPONSE_FINISH_REASONS] = list(facts.finish_reasons)
    if facts.first_token is not None:
        found[names.RESPONSE_TIME_TO_FIRST_CHUNK] = facts.first_token - call.tally.started
    usage = facts.usage
    if usage is not None and not usage.estimated:  # an estimate must not look like the provider's count
        for name, count in (
            (names.USAGE_INPUT_TOKENS, usage.input_tokens),
            (names.USAGE_OUTPUT_TOKENS, usage.output_tokens),
            (names.USAGE_CACHE_READ_INPUT_TOKENS, usage.cached_tokens),
            (names.USAGE_REASONING_OUTPUT_TOKENS, usage.reasoning_tokens),
        ):
            if count is not None:
                found[name] = count
