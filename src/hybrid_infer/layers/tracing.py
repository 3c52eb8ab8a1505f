"""Tracing: the span and the metrics of the call, from before anything happens to the end of its stream."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from hybrid_infer.calls.call import Call, Replying, Service
from hybrid_infer.calls.reply import Ending, Reply
from hybrid_infer.runtime.base import Leftovers, Runtime
from hybrid_infer.telemetry.attributes import Attributes
from hybrid_infer.telemetry.metrics import Metrics
from hybrid_infer.telemetry.spans import Spans


class Tracing:
    """Opens the call's span and ends it with the reply; counts the call in and out.

    What a dropped stream leaves is recorded by the next call: exporters and redaction hooks must not run in a
    finaliser.
    """

    def __init__(self, runtime: Runtime, spans: Spans, metrics: Metrics, leftovers: Leftovers) -> None:
        self._runtime = runtime
        self._spans = spans
        self._metrics = metrics
        self._leftovers = leftovers

    def __call__(self, call: Call, inner: Service) -> Replying:
        spans, metrics = self._spans, self._metrics
        traced = spans.start_call(call)
        counted = metrics.begin(call)
        if not traced and counted is None:
            return inner(call)
        return self._traced(call, inner, traced, counted)

    async def _traced(self, call: Call, inner: Service, traced: bool, counted: Attributes | None) -> Reply:
        spans, metrics = self._spans, self._metrics
        context = call.tally.trace.context if traced else None
        try:
            reply = await inner(call)
        except BaseException as error:
            if counted is not None:
                metrics.end(counted, call, None, error, context)
            if traced:
                spans.end_call(call, None, error)
            raise
        facts = reply.facts
        answer = None if spans.content is None else reply.final

        def end(ending: Ending) -> None:
            if ending.collected:
                # What a finaliser may not do. The moment is the drop's.
                self._leftovers.put(partial(finish, ending, self._runtime.wall()))
            else:
                finish(ending, None)

        def finish(ending: Ending, at: datetime | None) -> None:
            error = ending.error
            if counted is not None:
                metrics.end(counted, call, facts, error, context)
            if traced:
                spans.end_call(call, facts, error, answer=answer, abandoned=ending.abandoned, at=at)

        reply.on_end(end)
        return reply
