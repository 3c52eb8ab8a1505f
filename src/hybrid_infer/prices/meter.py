"""Meter: whose time it is that a machine is paid for.

A machine that is paid by time costs the same whether one call uses it or twenty. While n calls are in flight,
each of them is given one n-th of the time that passes; when none is, the time is idle and nobody's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from hybrid_infer.calls.machines import MachineReport
from hybrid_infer.calls.money import NANO
from hybrid_infer.prices.account import Account, Stay, Terms
from hybrid_infer.runtime.base import Guard

__all__ = ["Meter", "Stay"]


class Meter:
    """Divides the time of one machine among the calls of this process, as they come and go.

    `enter`, `wait`, `leave` and `state` never wait for a lock, so that a finaliser may call them, even one
    that runs inside them: they put what happened into a queue, and whoever gets the guard works through it.
    Times that arrive in the wrong order count as the latest time seen so far. All times are
    `Runtime.now()`, seconds.

    Args:
        guard: a plain lock, not a reentrant one; `Runtime.guard()` gives it.
        terms: how the machine is billed; without them time is counted and not priced.
    """

    __slots__ = ("_account", "_events", "_guard", "terms")

    def __init__(self, guard: Guard, terms: Terms | None = None) -> None:
        self.terms = terms if terms is not None else Terms()
        self._guard = guard
        self._events: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._account = Account(self.terms)

    def enter(self, now: float) -> Stay:
        """A call begins to use the machine."""
        return self._come(Stay(), now)

    def wait(self, now: float) -> Stay:
        """A call begins to wait for a machine that is coming up; `leave` ends that, too."""
        return self._come(Stay(waiting=True), now)

    def leave(self, stay: Stay, now: float, *, billed: bool = True) -> None:
        """A call ends its use of the machine, or its wait; harmless if it has ended already.

        The shares of `stay` are set on return, unless another thread is working through the queue at this
        moment: then they follow at once, and `settle` waits for them.

        Args:
            billed: False where the machine did not serve it, e.g. refused it: then the time is nobody's.
        """
        self._events.put(partial(self._account.go, stay, round(now * NANO), billed=billed))
        self._work()

    def state(self, serving: int | None, starting: int = 0, *, now: float) -> None:
        """So many replicas serve and so many come up from `now` on; None where that is no longer known."""
        self._events.put(partial(self._account.set_state, serving, starting, round(now * NANO)))
        self._work()

    @property
    def in_flight(self) -> int:
        """Calls that use the machine now."""
        return self._account.in_flight

    def settle(self) -> None:
        """Wait until the share of everybody who has left is known. It locks: not for finalisers."""
        with self._guard:
            self._drain()
        self._work()

    def report(self, now: float) -> MachineReport:
        """What the machine was billed for until `now`, and where it went. It locks: not for finalisers."""
        with self._guard:
            self._drain()
            found = self._account.report(round(now * NANO), settled=False)
        self._work()
        return found

    def _come(self, stay: Stay, now: float) -> Stay:
        self._events.put(partial(self._account.come, stay, round(now * NANO)))
        self._work()
        return stay

    def _work(self) -> None:
        # An event that is put after the last look and before the release finds the guard taken, and its own
        # thread goes away. Hence the second look after the release.
        while not self._events.empty() and self._guard.acquire(blocking=False):
            try:
                self._drain()
            finally:
                self._guard.release()

    def _drain(self) -> None:
        # Only the holder of the guard takes from the queue: what is not empty stays so.
        while not self._events.empty():
            self._events.get_nowait()()
