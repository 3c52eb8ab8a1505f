"""Tracing: the span of the call, from before anything happens to the end of its stream."""

from __future__ import annotations

from dataclasses import replace

from hybrid_infer.calls.call import Call, Service
from hybrid_infer.calls.reply import Ending, Reply
from hybrid_infer.telemetry.spans import Spans


class Tracing:
    """Opens the call's span and ends it with the reply."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    async def __call__(self, call: Call, inner: Service) -> Reply:
        spans = self._spans
        span = spans.start_call(call)
        if span is None:
            return await inner(call)
        try:
            reply = await inner(replace(call, trace=spans.context(span)))
        except BaseException as error:
            spans.end_call(span, call, None, error)
            raise
        facts = reply.facts

        def end(ending: Ending) -> None:
            spans.end_call(span, call, facts, ending.error)

        reply.on_end(end)
        return reply
