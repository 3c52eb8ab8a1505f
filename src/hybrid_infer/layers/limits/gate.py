"""Gate: lets threads, tasks and finalisers use one Admission."""

from __future__ import annotations

import math
from collections import deque

from hybrid_infer.calls.money import Usage
from hybrid_infer.layers.limits.admission import Admission, Kind, Refusal, Ticket
from hybrid_infer.runtime.base import Promise, Runtime


class Gate:
    """`leave` never waits for a lock, so that a finaliser may call it, even one that runs inside the others.

    It puts what happened into a queue, and whoever gets the guard works through it and wakes those who may
    begin. Everything else is called by the calls themselves, and locks.
    """

    def __init__(self, runtime: Runtime, admission: Admission) -> None:
        self._runtime = runtime
        self._admission = admission
        self._guard = runtime.guard()
        self._left: deque[tuple[Ticket, float, Kind, Usage | None]] = deque()
        self._promises: dict[Ticket, Promise] = {}

    def enter(self, ticket: Ticket) -> Refusal | None:
        """Arrive. `ticket.began` tells whether the call may go; if not, and it is not refused, `look`."""
        now = self._runtime.now()
        with self._guard:
            admission = self._admission
            if self._left or admission.waiting:
                self._catch_up(now)
            refusal = admission.arrive(ticket, now)
            if refusal is None and ticket.began is None:
                self._admit(now)
                if ticket.began is None:
                    refusal = admission.refusal(ticket, now)
        if self._left:
            self._work()
        return refusal

    def look(self, ticket: Ticket, promise: Promise) -> Refusal | float | None:
        """None if the call may begin; else the seconds to wait for `promise` before it looks again."""
        now = self._runtime.now()
        with self._guard:
            self._catch_up(now)
            answer: Refusal | float | None = None
            if ticket.began is None:
                answer = self._admission.refusal(ticket, now)
                if answer is None:
                    self._promises[ticket] = promise
                    mine = self._admission.opens(now) if self._admission.head is ticket else math.inf
                    ticket.look = min(mine, ticket.end)
                    answer = max(0.0, ticket.look - now)
        if self._left:
            self._work()
        return answer

    def asked(self, ticket: Ticket, told: float | None = None) -> None:
        """The shared store answered: with all the call needs, or with the moment to ask again."""
        now = self._runtime.now()
        with self._guard:
            self._drain()
            self._admission.asked(ticket, told)
            self._admit(now)
        if self._left:
            self._work()

    def leave(self, ticket: Ticket, kind: Kind, usage: Usage | None = None) -> None:
        """The call gives back its slot, or its place in the queue; harmless afterwards."""
        self._left.append((ticket, self._runtime.now(), kind, usage))
        self._work()

    def predicted_wait(self) -> float:
        """Seconds that a new interactive call would wait now."""
        now = self._runtime.now()
        with self._guard:
            self._catch_up(now)
            seconds = self._admission.predicted_wait(now)
        if self._left:
            self._work()
        return seconds

    def _work(self) -> None:
        # What is put after the last look and before the release finds the guard taken, and its own thread
        # goes away. Hence the second look after the release.
        while self._left and self._guard.acquire(blocking=False):
            try:
                self._catch_up(self._runtime.now())
            finally:
                self._guard.release()

    def _catch_up(self, now: float) -> None:
        self._drain()
        if self._admission.waiting:
            self._admit(now)

    def _drain(self) -> None:
        # Only the holder of the guard takes from the queue, and only after the slot is free: an interrupt
        # (Ctrl-C) in between makes it happen again, which changes nothing, and not never.
        while self._left:
            ticket, at, kind, usage = self._left[0]
            held = self._admission.leave(ticket, at)
            self._promises.pop(ticket, None)
            self._left.popleft()
            if held:
                self._admission.learn(ticket, at, kind, usage)

    def _admit(self, now: float) -> None:
        admission = self._admission
        while (ticket := admission.admit(now)) is not None:
            self._wake(ticket)
        head = admission.head
        if head is not None and head.look > admission.opens(now):
            self._wake(head)  # it does not know yet that time alone keeps it

    def _wake(self, ticket: Ticket) -> None:
        promise = self._promises.pop(ticket, None)
        if promise is not None:
            promise.keep()
