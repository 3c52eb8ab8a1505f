"""Meter: whose time it is that a machine is busy.

A machine that is paid by time costs the same whether one call uses it or twenty. While n calls are in flight,
each of them is given one n-th of the time that passes; when none is, the time is idle and nobody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import SimpleQueue

from hybrid_infer.calls.money import NANO
from hybrid_infer.runtime.base import Guard


@dataclass(slots=True, eq=False)
class Stay:
    """One call's time on a machine.

    Attributes:
        machine_ns: its share in nanoseconds; None until it has left.
        since: the meter's own mark of where the share begins.
    """

    machine_ns: int | None = None
    since: int | None = None


class Meter:
    """Shares the busy time of one machine among the calls in flight at each moment.

    Shares are whole nanoseconds. Nothing is lost in dividing: what is left over waits for the next division,
    and the last call out takes it. So whenever nothing is in flight, the shares add up to the busy time.

    `enter` and `leave` never wait for a lock, so that a finaliser may call them, even one that runs inside
    them: they put what happened into a queue, and whoever gets the guard works through it. Times that arrive
    in the wrong order count as the latest time seen so far.

    Args:
        guard: a plain lock, not a reentrant one; `Runtime.guard()` gives it.
    """

    __slots__ = ("_events", "_given", "_guard", "_inside", "_last", "_rest")

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._events: SimpleQueue[tuple[Stay, int]] = SimpleQueue()
        self._inside = 0
        self._last = 0
        self._given = 0
        """What a call present from the beginning would have been given, in nanoseconds."""
        self._rest = 0

    def enter(self, now: float) -> Stay:
        """A call begins to use the machine at `now` (`Runtime.now()`, seconds)."""
        stay = Stay()
        self._events.put((stay, round(now * NANO)))
        self._work()
        return stay

    def leave(self, stay: Stay, now: float) -> None:
        """A call ends its use of the machine; harmless if it has ended already.

        `stay.machine_ns` is set on return, unless another thread is working through the queue at this
        moment: then it follows at once, and `settle` waits for it.
        """
        self._events.put((stay, round(now * NANO)))
        self._work()

    def settle(self) -> None:
        """Wait until the share of everybody who has left is known. It locks: not for finalisers."""
        with self._guard:
            self._drain()
        self._work()

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
            self._happen(*self._events.get_nowait())

    def _happen(self, stay: Stay, at: int) -> None:
        at = max(at, self._last)
        if self._inside:
            each, self._rest = divmod(self._rest + at - self._last, self._inside)
            self._given += each
        self._last = at
        if stay.since is None:
            stay.since = self._given
            self._inside += 1
        elif stay.machine_ns is None:
            stay.machine_ns = self._given - stay.since
            self._inside -= 1
