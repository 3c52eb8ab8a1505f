"""Slot: one replica of a deployment: asked for, placed, coming up, ready, leaving. Paid while ready."""

from __future__ import annotations

import math
from typing import Literal

from hybrid_infer.simulator.replica import Replica

Phase = Literal["STOPPED", "UNPLACED", "PROVISIONING", "SCALING", "READY", "DEGRADED", "STOPPING"]


class Slot:
    """A replica's place.

    Args:
        flaps: seconds after it is ready at which it does not answer, and for how long; not paid meanwhile.

    Attributes:
        ready_at: when it is, or was, ready; infinity while it never will be.
    """

    def __init__(self, replica: Replica, *, flaps: tuple[tuple[float, float], ...], now: float) -> None:
        self.replica = replica
        self.ready_at = math.inf
        self._flaps = flaps
        self._placed = self._scaling = now
        self._running = False
        self._stopping: float | None = None
        self._billed = 0.0

    def start(self, placed: float, scaling: float, ready: float) -> None:
        """Come up: the moments at which it has GPUs, is scaling, and is ready."""
        self._running = True
        self._placed, self._scaling, self.ready_at = placed, scaling, ready

    def go_on(self, now: float) -> bool:
        """Not to stop after all; True where it has stopped, and must be started."""
        self.settle(now)
        self._stopping = None
        return not self._running

    def make_ready(self, now: float) -> None:
        """Be ready at once, as no provider can."""
        self.settle(now)
        self._stopping = None
        if not self._running or now < self.ready_at:
            self.start(now, now, now)

    def stop(self, now: float) -> None:
        """Finish what is at work, and stop. Harmless while stopped."""
        self.settle(now)
        if self._running and self._stopping is None:
            self._stopping = now
            self.settle(now)

    def phase(self, now: float) -> Phase:
        if not self._running:
            return "STOPPED"
        if self._stopping is not None:
            return "STOPPING"
        if now < self._placed:
            return "UNPLACED"
        if now < self.ready_at:
            return "PROVISIONING" if now < self._scaling else "SCALING"
        away = any(after <= now - self.ready_at < after + seconds for after, seconds in self._flaps)
        return "DEGRADED" if away else "READY"

    def billed(self, now: float) -> float:
        """Seconds ready until `now`."""
        return self._billed + (self._ready_seconds(now) if self._running else 0.0)

    def settle(self, now: float) -> None:
        """Have stopped, once nobody is served any more."""
        self.replica.advance(now)
        if self._running and self._stopping is not None and self.replica.load == 0:
            self._billed += self._ready_seconds(max(self._stopping, self.replica.idle_since))
            self._running, self._stopping, self.ready_at = False, None, math.inf

    def _ready_seconds(self, until: float) -> float:
        ready = max(0.0, until - self.ready_at)
        away = sum(min(max(0.0, ready - after), seconds) for after, seconds in self._flaps)
        return ready - away
