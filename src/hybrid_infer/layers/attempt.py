"""Attempt: one request to one target, with its span, its line in the Tally and its share of the machine."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from hybrid_infer.calls.call import Attempt, Call, Service, Target
from hybrid_infer.calls.reply import Ending, Facts, Reply
from hybrid_infer.errors import APIError
from hybrid_infer.runtime.base import Leftovers, Runtime
from hybrid_infer.telemetry.spans import Spans

log = logging.getLogger("hybrid_infer")


class Meter(Protocol):
    """Shares a machine's busy time among the calls in flight. `leave` never blocks; `settle` may."""

    def enter(self, now: float) -> Any: ...
    def leave(self, stay: Any, now: float) -> None: ...
    def settle(self) -> None: ...


class Attempts:
    """Records each attempt from its request to the end of its answer."""

    def __init__(
        self, runtime: Runtime, target: Target, spans: Spans, meter: Meter | None, leftovers: Leftovers
    ) -> None:
        self._leftovers = leftovers
        self._runtime = runtime
        self._target = target
        self._spans = spans
        self._meter = meter

    async def __call__(self, call: Call, inner: Service) -> Reply:
        now = self._runtime.now()
        attempt = Attempt(target=self._target, started=now)
        attempts = call.tally.attempts
        attempts.append(attempt)
        span = self._spans.start_attempt(call, self._target, len(attempts))
        stay = self._meter.enter(now) if self._meter is not None else None
        try:
            reply = await inner(call)
        except BaseException as error:
            self._end(attempt, span, stay, None, error)
            raise
        facts = reply.facts

        def end(ending: Ending) -> None:
            if ending.collected:
                # The machine is free from now on; the rest can wait.
                at, wall = self._runtime.now(), self._runtime.wall()
                if self._meter is not None:
                    self._meter.leave(stay, at)
                self._leftovers.put(partial(self._record, attempt, span, stay, facts, None, at, wall))
            else:
                self._end(attempt, span, stay, facts, ending.error)

        reply.on_end(end)
        return reply

    def _end(
        self, attempt: Attempt, span: Any, stay: Any, facts: Facts | None, error: BaseException | None
    ) -> None:
        at = self._runtime.now()
        if self._meter is not None:
            self._meter.leave(stay, at)
        self._record(attempt, span, stay, facts, error, at, None)

    def _record(
        self,
        attempt: Attempt,
        span: Any,
        stay: Any,
        facts: Facts | None,
        error: BaseException | None,
        at: float,
        wall: datetime | None,
    ) -> None:
        attempt.ended = at
        if self._meter is not None:
            if stay.machine_ns is None:
                self._meter.settle()
            attempt.machine_ns = stay.machine_ns
        if facts is not None:
            attempt.usage = facts.usage
            if facts.raw is not None:
                attempt.status = facts.raw.status
                attempt.request_id = facts.raw.request_id or facts.id
        if error is not None:
            attempt.error = type(error).__name__
            attempt.billed = error.billed if isinstance(error, APIError) else None
            if isinstance(error, APIError):
                attempt.status = error.status if error.status is not None else attempt.status
                attempt.request_id = error.request_id or attempt.request_id
        if span is not None:
            self._spans.end_attempt(span, attempt, error, at=wall)
        log.debug("attempt on %s: %s", attempt.target.name, attempt.error or f"HTTP {attempt.status}")
