"""Tracing: the span of the call, from before anything happens to the end of its stream."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from hybrid_infer.calls.call import Call, Service
from hybrid_infer.calls.reply import Ending, Reply
from hybrid_infer.runtime.base import Leftovers, Runtime
from hybrid_infer.telemetry.spans import Spans


class Tracing:
    """Opens the call's span and ends it with the reply."""

    def __init__(self, runtime: Runtime, spans: Spans, leftovers: Leftovers) -> None:
        self._runtime = runtime
        self._spans = spans
        self._leftovers = leftovers

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
            if ending.collected:
                at = self._runtime.wall()
                self._leftovers.put(partial(spans.end_call, span, call, facts, None, at=at))
            else:
                spans.end_call(span, call, facts, ending.error)

        reply.on_end(end)
        return reply
