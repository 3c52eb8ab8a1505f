"""Attempt: one request to one target, with its span, its line in the Tally and its share of the machine."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from hybrid_infer.calls.call import Attempt, Call, Service, Target
from hybrid_infer.calls.reply import WELL, Ending, Facts, Reply
from hybrid_infer.errors import APIError
from hybrid_infer.runtime.base import Leftovers, Runtime
from hybrid_infer.telemetry.spans import Spans

log = logging.getLogger("hybrid_infer")


class Meter(Protocol):
    """Shares a machine's busy time among the calls in flight. `leave` never blocks; `settle` may."""

    def enter(self, now: float) -> Any: ...
    def leave(self, stay: Any, now: float, *, billed: bool = True) -> None: ...
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
        attempt = Attempt(target=self._target, started=now, lane=call.lane)
        attempts = call.tally.attempts
        attempts.append(attempt)
        self._spans.start_attempt(call, attempt, len(attempts))
        stay = self._meter.enter(now) if self._meter is not None else None
        try:
            reply = await inner(call)
        except BaseException as error:
            self._end(call, attempt, stay, None, error)
            raise
        if reply.ending is WELL:
            attempt.verdict = "success"
            self._end(call, attempt, stay, reply.facts, None)
        else:
            self._follow(call, attempt, stay, reply)
        return reply

    def _follow(self, call: Call, attempt: Attempt, stay: Any, reply: Reply) -> None:
        """Record the attempt at the end of a reply that is still live."""
        facts = reply.facts

        def end(ending: Ending) -> None:
            if ending.error is None and not ending.abandoned:
                attempt.verdict = "success"
            if ending.collected:
                # The machine is free from now on; the rest can wait.
                at, wall = self._runtime.now(), self._runtime.wall()
                if self._meter is not None:
                    self._meter.leave(stay, at)
                self._leftovers.put(partial(self._record, call, attempt, stay, facts, None, at, wall))
            else:
                self._end(call, attempt, stay, facts, ending.error)

        reply.on_end(end)

    def _end(
        self, call: Call, attempt: Attempt, stay: Any, facts: Facts | None, error: BaseException | None
    ) -> None:
        at = self._runtime.now()
        if self._meter is not None:
            self._meter.leave(stay, at, billed=not (isinstance(error, APIError) and error.billed is False))
        self._record(call, attempt, stay, facts, error, at, None)

    def _record(
        self,
        call: Call,
        attempt: Attempt,
        stay: Any,
        facts: Facts | None,
        error: BaseException | None,
        at: float,
        wall: datetime | None,
    ) -> None:
        if self._meter is not None:
            if stay.machine_ns is None:
                self._meter.settle()
            attempt.machine_ns, attempt.cold_ns = stay.machine_ns, stay.cold_ns
            attempt.machine_nano = stay.nano
        if facts is not None:
            attempt.usage = facts.usage
            if facts.raw is not None:
                attempt.status = facts.raw.status
                attempt.request_id = facts.raw.request_id or facts.id
            else:
                attempt.request_id = facts.id
        if error is not None:
            attempt.error = type(error).__name__
            attempt.billed = error.billed if isinstance(error, APIError) else None
            if isinstance(error, APIError):
                attempt.verdict = error.verdict
                attempt.silent = error.silent
                attempt.retry_after = error.retry_after
                attempt.status = error.status if error.status is not None else attempt.status
                attempt.request_id = error.request_id or attempt.request_id
        elif attempt.lost and attempt.verdict == "success":
            attempt.billed = True  # it is complete, though nobody waited for it
        attempt.ended = at  # last: whoever finds it ended finds the rest
        if attempt.trace is not None:
            self._spans.end_attempt(attempt, error, at=wall)
        if call.tally.late is not None:
            call.tally.late()
        log.debug("attempt on %s: %s", attempt.target.name, attempt.error or f"HTTP {attempt.status}")
