"""Metering: how long a call took and what all of its attempts cost together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Protocol

from hybrid_infer.calls.call import Attempt, Call, Service, Tally, Target, Wait
from hybrid_infer.calls.hybrid import Hybrid
from hybrid_infer.calls.money import Cost, Usage
from hybrid_infer.calls.reply import Ending, Facts, Reply
from hybrid_infer.errors import APIError
from hybrid_infer.runtime.base import Leftovers, Runtime

log = logging.getLogger("hybrid_infer")


class Prices(Protocol):
    """What everything billed on behalf of one call adds up to."""

    def cost(self, attempts: Sequence[Attempt], *, at: date, waits: Sequence[Wait] = ()) -> Cost: ...
    def saved(self, target: Target, usage: Usage | None, *, at: date) -> Cost: ...


class Metering:
    """Writes the latency into the Tally when the reply ends, and how the cost is worked out; on an error, all
    of it into `error.hybrid`. Most costs are never looked at, so nobody works them out before.
    """

    def __init__(self, runtime: Runtime, prices: Callable[[], Prices], leftovers: Leftovers) -> None:
        self._leftovers = leftovers
        self._runtime = runtime
        self._prices = prices

    async def __call__(self, call: Call, inner: Service) -> Reply:
        tally = call.tally
        tally.started = self._runtime.now()
        try:
            reply = await inner(call)
        except BaseException as error:
            self._settle(call, None, error, self._runtime.now())
            raise
        if reply.ending is not None:
            self._settle(call, reply.facts, reply.ending.error, self._runtime.now())
        else:
            reply.on_end(partial(self._ended, call, reply.facts))
        return reply

    def _ended(self, call: Call, facts: Facts, ending: Ending) -> None:
        """A stream has."""
        settle = partial(self._settle, call, facts, ending.error, self._runtime.now())
        if ending.collected:
            self._leftovers.put(settle)
        else:
            settle()

    def _settle(self, call: Call, facts: Facts | None, error: BaseException | None, now: float) -> None:
        tally = call.tally
        tally.latency = now - tally.started
        tally.reckon = self._cost, facts.usage if facts is not None else None, now
        if isinstance(error, APIError):
            error.hybrid = Hybrid.of(call, facts)

    def _cost(self, tally: Tally, usage: Usage | None, ended: float) -> Cost:
        """At the prices of the day on which the call ended."""
        at = (self._runtime.wall() - timedelta(seconds=self._runtime.now() - ended)).date()
        served = tally.served
        try:
            if served is not None and not tally.attempts:
                return self._prices().saved(served.like, usage, at=at)
            return self._prices().cost(tally.attempts, at=at, waits=tally.waits)
        except Exception:  # a price table must not fail a call that was answered
            log.warning("the cost of a call could not be worked out", exc_info=True)
            return Cost(amount=None, basis="unknown", reason="working out the cost failed; see the log")
