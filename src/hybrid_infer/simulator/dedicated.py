"""Together dedicated: an endpoint with one replica that is started and stopped by hand.

States and billing are those of Together's second generation of dedicated endpoints (docs, 2026-10): paid by
the ready replica, and a ready deployment is not served until traffic is routed to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from hybrid_infer.simulator.replica import MAX_BATCH, Machine, MachineUse, Replica, ReplicaWork, machine_for

Initial = Literal["ready", "stopped", "starting"]
State = Literal["STOPPED", "PROVISIONING", "SCALING", "READY", "STOPPING"]
Refusal = Literal["dedicated_endpoint_not_running", "endpoint_not_configured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPlan:
    """How dedicated endpoints behave.

    Attributes:
        provisioning, scaling: seconds in these states after a start, up to a tenth more or less. Together
            says "up to about 20 minutes" (docs, 2026-10); five are an assumption.
        routing: seconds from ready until traffic arrives (docs: changes of the split take about 30 s).
        machine: None takes it from the name of the model.
        max_batch: requests that run at once; more wait.
    """

    provisioning: float = 60.0
    scaling: float = 240.0
    routing: float = 30.0
    machine: Machine | None = None
    max_batch: int = MAX_BATCH


class Endpoint:
    """One dedicated endpoint."""

    def __init__(self, model: str, plan: EndpointPlan, initial: Initial, chance: Random, now: float) -> None:
        self.model = model
        self._plan = plan
        self._chance = chance
        self._replica = Replica(plan.machine or machine_for(model), now=now, max_batch=plan.max_batch)
        self._requests = 0
        self._billed = 0.0
        self._scaling = self._ready = self._routed = now
        self._running = initial != "stopped"
        self._stopping: float | None = None
        if initial == "starting":
            self._running = False
            self.start(now)

    def start(self, now: float) -> None:
        """Ask for one replica; an endpoint that was stopping goes on. Harmless while it runs."""
        self._settle(now)
        self._stopping = None
        if not self._running:
            self._running = True
            self._scaling = now + self._plan.provisioning * self._chance.uniform(0.9, 1.1)
            self._ready = self._scaling + self._plan.scaling * self._chance.uniform(0.9, 1.1)
            self._routed = self._ready + self._plan.routing

    def make_ready(self, now: float) -> None:
        """Be ready and routed at once."""
        self._settle(now)
        self._stopping = None
        if not self._running or now < self._ready:
            self._running = True
            self._scaling = self._ready = now
        self._routed = min(self._routed, now)

    def stop(self, now: float) -> None:
        """Take no new requests, finish those at work, stop. Harmless while stopped."""
        self._settle(now)
        if self._running and self._stopping is None:
            self._stopping = now
            self._settle(now)

    def state(self, now: float) -> State:
        self._settle(now)
        if not self._running:
            return "STOPPED"
        if self._stopping is not None:
            return "STOPPING"
        return "PROVISIONING" if now < self._scaling else "SCALING" if now < self._ready else "READY"

    def refusal(self, now: float) -> Refusal | None:
        """Why it takes no request; None when it does."""
        if self.state(now) != "READY":
            return "dedicated_endpoint_not_running"
        return "endpoint_not_configured" if now < self._routed else None

    def begin(self, input_tokens: int, output_tokens: int, now: float) -> ReplicaWork:
        """Begin an answer."""
        self._requests += 1
        return ReplicaWork(self._replica, input_tokens, output_tokens, now)

    def load(self, now: float) -> int:
        """Requests running and queued."""
        self._replica.advance(now)
        return self._replica.load

    def use(self, now: float) -> MachineUse:
        """Ready replica-seconds until `now`."""
        self._settle(now)
        return MachineUse(
            name=self.model,
            requests=self._requests,
            seconds=self._billed + (max(0.0, now - self._ready) if self._running else 0.0),
            busy_seconds=self._replica.busy,
        )

    def _settle(self, now: float) -> None:
        self._replica.advance(now)
        if self._running and self._stopping is not None and self._replica.load == 0:
            end = max(self._stopping, self._replica.idle_since)
            self._billed += max(0.0, end - self._ready)
            self._running, self._stopping = False, None
