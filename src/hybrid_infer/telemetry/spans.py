"""The span of a call and those of its attempts.

One CLIENT span ``chat {model}`` covers the whole logical call, its retries and its stream. Attempt spans hang
below it and carry no ``gen_ai.*`` attribute: backends add up, and count, every span that has them. No span is
ever made current, so nothing leaks into the caller's context. Nothing here raises into a call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import (
    ProxyTracer,
    ProxyTracerProvider,
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
)

from hybrid_infer.calls.call import Attempt, Call, Target
from hybrid_infer.calls.operations import OPERATIONS
from hybrid_infer.calls.reply import Facts
from hybrid_infer.telemetry import names
from hybrid_infer.telemetry.attributes import Attributes, of_attempt, of_place, of_request, of_result
from hybrid_infer.telemetry.contained import failed
from hybrid_infer.telemetry.content import Content

Answer: TypeAlias = Callable[[], Any]

_PRIVATE = object()


@dataclass(slots=True, eq=False)
class Trace:
    """A span, and the context for what is below it: what `trace` is of a Tally and of an Attempt."""

    span: Span
    context: Context


class Spans:
    """Makes and ends spans.

    Args:
        version: of this package, for the instrumentation scope.
        tracer_provider: where spans go; the global provider if None.
        content: what is recorded of messages; None records nothing of them.
        propagate: providers are told the trace that a request belongs to.
    """

    def __init__(
        self,
        version: str,
        tracer_provider: TracerProvider | None = None,
        *,
        content: Content | None = None,
        propagate: bool = True,
    ) -> None:
        self._tracer = trace.get_tracer(names.SCOPE, version, tracer_provider)
        self._global = isinstance(self._tracer, ProxyTracer)
        self._propagate = propagate
        self._propagator: Any = None
        self.content = content

    def start_call(self, call: Call) -> bool:
        """Start the span of a planned call: its `tally.trace`. False where nobody records it.

        A span that is not recorded, but belongs to a trace, counts all the same: the provider is told of it.
        """
        try:
            if self._global and _nobody_records():
                return False
            target = call.candidates[0]
            asked = OPERATIONS[call.operation].traced
            title = f"{asked} {target.model}" if target.model else asked
            span = self._tracer.start_span(title, kind=SpanKind.CLIENT, attributes=of_place(call, target))
            if span.is_recording():
                self._ask(span, call, target)
            elif not self._propagate or not span.get_span_context().is_valid:
                return False
            call.tally.trace = Trace(span, trace.set_span_in_context(span))
            return True
        except Exception:
            failed("starting the span of a call")
            return False

    def end_call(
        self,
        call: Call,
        facts: Facts | None,
        error: BaseException | None,
        *,
        answer: Answer | None = None,
        abandoned: bool = False,
        at: datetime | None = None,
    ) -> None:
        """End it now, or as of `at`.

        Args:
            answer: the completion, or what there is of it; asked where content is recorded.
            abandoned: its holder gave up the stream.
        """
        span: Span = call.tally.trace.span
        try:
            if span.is_recording():
                self._tell(span, call, facts, error, answer, abandoned)
                _fail(span, error)
            span.end(_nanoseconds(at))
        except Exception:
            failed("ending the span of a call")

    def start_attempt(self, call: Call, attempt: Attempt, number: int) -> None:
        """Start the span of attempt `number` (from 1): its `trace`. None where the call's is not recorded."""
        above: Trace | None = call.tally.trace
        try:
            if above is None or not above.span.is_recording():
                return
            target = attempt.target
            host, port = target.address(call.operation)
            attributes: Attributes = {
                names.HTTP_REQUEST_METHOD: call.method or OPERATIONS[call.operation].method,
                names.SERVER_ADDRESS: host,
                names.SERVER_PORT: port,
                names.TARGET: target.name,
                names.MODE: target.mode,
            }
            if number > 1:
                attributes[names.HTTP_REQUEST_RESEND_COUNT] = number - 1
            if call.lane:
                attributes[names.LANE] = call.lane
            span = self._tracer.start_span(
                names.ATTEMPT, context=above.context, kind=SpanKind.CLIENT, attributes=attributes
            )
            attempt.trace = Trace(span, trace.set_span_in_context(span))
        except Exception:
            failed("starting the span of an attempt")

    def end_attempt(self, attempt: Attempt, error: BaseException | None, at: datetime | None = None) -> None:
        """End it now, or as of `at`."""
        span: Span = attempt.trace.span
        try:
            span.set_attributes(of_attempt(attempt, error))
            _fail(span, error)
            span.end(_nanoseconds(at))
        except Exception:
            failed("ending the span of an attempt")

    def carry(self, call: Call, url: str) -> Sequence[tuple[str, str]]:
        """The headers that tell the provider of the trace: W3C trace context, and never baggage.

        The request's parent is the attempt that has just begun, or the call where attempts are not recorded.

        Args:
            url: where the request goes, without a query; it is written into the attempt's span.
        """
        held: Trace = call.tally.trace
        try:
            for attempt in reversed(call.tally.attempts):
                if attempt.lane == call.lane:
                    if attempt.trace is not None:
                        held = attempt.trace
                        held.span.set_attribute(names.URL_FULL, url)
                    break
            if not self._propagate:
                return ()
            headers: dict[str, str] = {}
            (self._propagator or self._make_propagator()).inject(headers, held.context)
            return tuple(headers.items())
        except Exception:
            failed("telling the provider of the trace")
            return ()

    def _make_propagator(self) -> Any:
        # Not `opentelemetry.propagate`: it sends baggage, too, and cannot be imported where its variable is
        # wrong.
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._propagator = TraceContextTextMapPropagator()
        return self._propagator

    def _ask(self, span: Span, call: Call, target: Target) -> None:
        """What else was asked for. Where this fails, the span is there all the same."""
        try:
            attributes = of_request(call, target)
            if self.content is not None:
                said = self.content.input(call.body.get("messages"))
                if said is not None:
                    attributes[names.INPUT_MESSAGES] = said
            span.set_attributes(attributes)
        except Exception:
            failed("saying what was asked")

    def _tell(
        self,
        span: Span,
        call: Call,
        facts: Facts | None,
        error: BaseException | None,
        answer: Answer | None,
        abandoned: bool,
    ) -> None:
        """What came of it. Where this fails, the span is ended all the same."""
        try:
            attributes = of_result(call, facts, error, abandoned=abandoned)
            if self.content is not None and answer is not None:
                said = self.content.output(answer())
                if said is not None:
                    attributes[names.OUTPUT_MESSAGES] = said
            span.set_attributes(attributes)
        except Exception:
            failed("saying what came of a call")


def _nobody_records() -> bool:
    """Whether there is no SDK yet, and no trace that the call belongs to."""
    # The public function looks into the environment each time, which takes longer than all the rest here.
    provider = getattr(trace, "_TRACER_PROVIDER", _PRIVATE)
    if provider is _PRIVATE:
        unset = type(trace.get_tracer_provider()) is ProxyTracerProvider
    else:
        unset = provider is None
    if not unset:
        return False
    if not get_current():
        return True  # which is what it is in most programs without an SDK
    above = trace.get_current_span()
    return above is trace.INVALID_SPAN or not above.get_span_context().is_valid


def _nanoseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1_000_000_000)


def _fail(span: Span, error: BaseException | None) -> None:
    """Status stays unset on success, and for a cancellation (GeneratorExit, CancelledError, Ctrl-C)."""
    if isinstance(error, Exception):
        kind = type(error).__name__
        span.set_attribute(names.ERROR_TYPE, kind)
        span.set_status(Status(StatusCode.ERROR, kind))
