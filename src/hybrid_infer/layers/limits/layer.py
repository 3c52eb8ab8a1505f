"""Limits: a call waits for its turn, and holds its slot to the end of its stream."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from hybrid_infer.calls.call import Call, Priority, Replying, Service, Target
from hybrid_infer.calls.expected import prompt_tokens
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.reply import Ending, Facts, Reply
from hybrid_infer.errors import APIError, RefusedError, SaturatedError
from hybrid_infer.layers.limits.admission import Admission, Kind, Refusal, Ticket
from hybrid_infer.layers.limits.gate import Gate
from hybrid_infer.layers.limits.policy import LimitPolicy
from hybrid_infer.layers.limits.rates import answer_tokens
from hybrid_infer.layers.limits.shared import SharedLimits
from hybrid_infer.runtime.base import Runtime

LONGEST_LEASE = 3600.0
"""Seconds, for calls without an end; a stream that lives longer goes on uncounted by the other processes."""
GRACE = 5.0
"""Seconds that a lease outlives its call's end: the clocks of processes differ."""
_SHORTEST_PAUSE = 0.01
_JITTER = 0.25
"""Of a pause, added at random: processes that were told the same moment do not all come back at it."""


class Limits:
    """Slots, rates and the queue of one target.

    With `shared` a call first waits its turn in this process, then for a lease of the store, one call at a
    time. A lease lasts as long as the call may, so that it need not be renewed; that of a process that died
    ends by itself.
    """

    def __init__(
        self,
        runtime: Runtime,
        target: Target,
        policy: LimitPolicy,
        shared: SharedLimits[Any] | None = None,
    ) -> None:
        self._runtime = runtime
        self._target = target
        self._policy = policy
        self._shared = shared if policy.can_be_shared else None
        self._admission = Admission(policy, one_asks=self._shared is not None)
        self._gate = Gate(runtime, self._admission)
        self._idle = not policy.limits_anything
        self._counts_tokens = policy.tokens_per_minute is not None

    def __call__(self, call: Call, inner: Service) -> Replying:
        return inner(call) if self._idle else self._admitted(call, inner)

    async def _admitted(self, call: Call, inner: Service) -> Reply:
        ticket = self._ticket(call)
        gate, lease, sent = self._gate, None, False
        try:
            refusal = gate.enter(ticket)
            if refusal is not None:
                raise self._saturated(refusal)
            if ticket.began is None:
                await self._wait(call, ticket)
            if self._shared is not None:
                lease = await self._lease(self._shared, call, ticket)
            sent = True
            reply = await inner(call)
            reply.on_end(partial(self._ended, ticket, reply.facts, lease))
        except BaseException as error:
            kind = _kind(error) if sent else "unsent"
            gate.leave(ticket, kind)
            if lease is not None and self._shared is not None:
                if isinstance(error, Exception):
                    await self._give_back(self._shared, lease, ticket, kind, None)
                else:  # cancelled or interrupted: nothing here waits any longer
                    self._shared.abandon(lease)
            raise
        if lease is not None and self._shared is not None:
            await reply.on_finish(
                partial(self._give_back, self._shared, lease, ticket, "unknown", reply.facts)
            )
        return reply

    def predicted_wait(self) -> float:
        """Seconds that a new interactive call would wait for its turn now; 0.0 where there is room."""
        return 0.0 if self._idle else self._gate.predicted_wait()

    @property
    def in_flight(self) -> int:
        """Calls that hold a slot."""
        return self._admission.in_flight

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return self._admission.waiting

    @property
    def limit(self) -> int | None:
        """Calls that may hold a slot at present; None is no limit."""
        return self._admission.limit

    def __repr__(self) -> str:
        name, limit = self._target.name, "any number" if self.limit is None else self.limit
        return f"<Limits of {name}: {self.in_flight} in flight of {limit}, {self.waiting} waiting>"

    def _ticket(self, call: Call) -> Ticket:
        policy = self._policy
        end = call.until
        if policy.max_wait is not None:
            end = min(end, self._runtime.now() + policy.max_wait)
        ticket = Ticket(priority=_priority(call), end=end)
        if self._counts_tokens or policy.adaptive:
            ticket.prompt = prompt_tokens(call.body)
        if self._counts_tokens:
            ticket.tokens = ticket.prompt + answer_tokens(call.body, self._admission.usual_answer)
        return ticket

    async def _wait(self, call: Call, ticket: Ticket) -> None:
        started = self._runtime.now()
        try:
            while True:
                promise = self._runtime.promise()
                answer = self._gate.look(ticket, promise)
                if answer is None:
                    return
                if isinstance(answer, Refusal):
                    raise self._saturated(answer)
                await promise.wait(answer)
        finally:
            call.tally.queue_wait += self._runtime.now() - started

    async def _lease(self, shared: SharedLimits[Any], call: Call, ticket: Ticket) -> Any:
        """A lease, or None while the store is down."""
        policy, started = self._policy, self._runtime.now()
        try:
            while True:
                now = self._runtime.now()
                answer = await shared.acquire(
                    self._target.name,
                    slots=policy.in_flight,
                    requests=policy.requests_per_minute,
                    tokens=policy.tokens_per_minute,
                    amount=ticket.tokens,
                    lease=min(max(0.0, call.until - now) + GRACE, LONGEST_LEASE),
                )
                if not isinstance(answer, int | float):
                    return answer
                now = self._runtime.now()
                pause = max(answer, _SHORTEST_PAUSE)
                if now + pause > ticket.end:
                    raise self._saturated(
                        Refusal(reason="all processes together have used up its limits", after=pause)
                    )
                self._gate.asked(ticket, now + pause)
                await self._runtime.sleep(min(pause * (1 + random.random() * _JITTER), ticket.end - now))
        finally:
            self._gate.asked(ticket)
            call.tally.queue_wait += self._runtime.now() - started

    def _ended(self, ticket: Ticket, facts: Facts, lease: Any, ending: Ending) -> None:
        """May run in a finaliser; then `on_finish` is skipped."""
        if ending.collected and lease is not None and self._shared is not None:
            self._shared.abandon(lease)
        kind: Kind = "unknown"
        if ending.error is not None:
            kind = _kind(ending.error)
        elif not ending.abandoned:
            kind = "answered"
        self._gate.leave(ticket, kind, facts.usage)

    async def _give_back(
        self, shared: SharedLimits[Any], lease: Any, ticket: Ticket, kind: Kind, facts: Facts | None
    ) -> None:
        await shared.release(lease)
        if not self._counts_tokens:
            return
        usage: Usage | None = facts.usage if facts is not None else None
        used = usage.total_tokens if usage is not None else None
        if kind in ("saturated", "unbilled", "unsent"):
            used = 0
        if used is not None and used != ticket.tokens:
            await shared.settle(self._target.name, used - ticket.tokens)

    def _saturated(self, refusal: Refusal) -> SaturatedError:
        target = self._target
        error = SaturatedError(
            f"{target.name} is saturated: {refusal.reason}",
            where=f"{target.mode} ({target.host})",
            retry_after=refusal.after,
            hint="nothing was sent; come back later, send elsewhere (fallback, overflow), "
            "or allow more with max_in_flight, max_queue or max_wait",
        )
        error.target = target.name
        return error


def _priority(call: Call) -> Priority:
    if call.priority is not None:
        return call.priority
    return "batch" if call.purpose == "batch" else "interactive"


def _kind(error: BaseException) -> Kind:
    """What an error says of the limits. A refusal of a layer further in is no 429."""
    if not isinstance(error, APIError):
        return "unknown"
    if isinstance(error, RefusedError):
        return "unsent"
    if error.verdict == "saturated":
        return "saturated"
    return "unbilled" if error.billed is False else "unknown"
