"""Together dedicated: the machine of one deployment, with replicas that are asked for and given up.

States and billing are those of Together's second generation of dedicated endpoints (docs, 2026-10): paid by
the ready replica, and a ready deployment is not served until traffic is routed to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from hybrid_infer.simulator.replica import MAX_BATCH, Machine, MachineUse, Replica, ReplicaWork, machine_for
from hybrid_infer.simulator.slot import Slot

Initial = Literal["ready", "stopped", "starting"]
State = Literal["STOPPED", "PROVISIONING", "SCALING", "READY", "DEGRADED", "STOPPING", "FAILED"]
Refusal = Literal["dedicated_endpoint_not_running", "endpoint_not_configured"]

TARGET_IN_FLIGHT = 8
"""Requests that the autoscaler wants a replica to have (docs, 2026-10)."""

_SCALE_DOWN_WINDOW = 300.0
"""Seconds for which fewer replicas must be enough (docs, 2026-10: 5 min)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPlan:
    """How dedicated endpoints behave.

    Attributes:
        provisioning, scaling: seconds in these states after a start, up to a tenth more or less. Together
            says "up to about 20 minutes" (docs, 2026-10); five are an assumption.
        routing: seconds from ready until traffic arrives (docs: changes of the split take about 30 s).
        machine: None takes it from the name of the model.
        max_batch: requests that run at once; more wait.
        no_gpus_until: the world's second until which no replica can be placed; infinity is never.
        no_gpus_of: the GPU that is not to be had until then; None is all of them.
        fails_after: every start fails after so many seconds, for good.
        fails_with, fails_log: what the provider says then, and the end of the engine's log in its events.
        patience: seconds after which a deployment that was never ready fails (docs: six hours).
        flaps: for each replica, seconds after it is ready at which it stops answering, and for how long.
    """

    provisioning: float = 60.0
    scaling: float = 240.0
    routing: float = 30.0
    machine: Machine | None = None
    max_batch: int = MAX_BATCH
    no_gpus_until: float = 0.0
    no_gpus_of: str | None = None
    fails_after: float | None = None
    fails_with: str = "Startup stalled: the engine exited with code 1"
    fails_log: str | None = None
    patience: float = 21_600.0
    flaps: tuple[tuple[float, float], ...] = ()

    def gpus_at(self, gpu: str) -> float:
        """The world's second from which there are GPUs of this kind."""
        return self.no_gpus_until if self.no_gpus_of in (None, gpu) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What the provider says of a deployment: its state in a word and in a sentence, and its replicas."""

    state: State
    message: str
    wanted: int
    placed: int
    ready: int


class Endpoint:
    """The machine of one deployment.

    Attributes:
        model: how inference requests call it.
        minimum, maximum: bounds of the autoscaler.
        idle_limit: seconds without a request after which it stops by itself; None is never.
        in_split: whether traffic is meant to come here.
    """

    def __init__(
        self,
        model: str,
        plan: EndpointPlan,
        initial: Initial,
        chance: Random,
        now: float,
        *,
        machine: Machine | None = None,
        gpu: str | None = None,
        in_split: bool = True,
    ) -> None:
        self.model = model
        self.minimum = self.maximum = 0 if initial == "stopped" else 1
        self.idle_limit: float | None = None
        self.in_split = in_split
        self._plan = plan
        self._chance = chance
        self._machine = plan.machine or machine or machine_for(model)
        self._gpu = gpu or self._machine.gpu
        self._slots = [self._slot(now)]
        self._requests = 0
        self._wanted = self.minimum
        self._last = now
        self._fewer_since: float | None = None
        self._fails = math.inf
        self._failed = False
        self._was_ready = initial == "ready"
        self._routed = now if in_split else math.inf
        self._unrouted = math.inf
        if initial == "ready":
            self._slots[0].make_ready(now)
        elif initial == "starting":
            self.start(now)

    def start(self, now: float) -> None:
        """Ask for one replica; an endpoint that was stopping goes on. Harmless while it runs."""
        self.bound(max(1, self.minimum), max(1, self.maximum), now)

    def make_ready(self, now: float) -> None:
        """Be ready and routed at once."""
        self._settle(now)
        self.minimum, self.maximum = max(1, self.minimum), max(1, self.maximum)
        self._wanted = max(1, self._wanted)
        self._slots[0].make_ready(now)
        self._was_ready, self._failed, self.in_split = True, False, True
        self._routed, self._unrouted = min(self._routed, now), math.inf

    def stop(self, now: float) -> None:
        """Take no new requests, finish those at work, stop. Harmless while stopped."""
        self.bound(0, 0, now)

    def bound(self, minimum: int, maximum: int, now: float) -> None:
        """Keep between so many replicas; 0 and 0 stop it. One that has failed stays as it is."""
        self._settle(now)
        self.minimum, self.maximum = minimum, maximum
        if not self._failed:
            self._scale(min(max(self._wanted, minimum), maximum), now)

    def route(self, routed: bool, now: float) -> None:
        """Be in the split of traffic, or not; either takes effect after a while."""
        if routed and not self.in_split:
            if now >= self._unrouted or self._routed == math.inf:
                self._routed = max(now, self._slots[0].ready_at) + self._plan.routing
            self._unrouted = math.inf
        elif not routed and self.in_split:
            self._unrouted = now + self._plan.routing
        self.in_split = routed

    def state(self, now: float) -> State:
        return self.condition(now).state

    def condition(self, now: float) -> Condition:
        """What is said of it at `now`."""
        self._settle(now)
        phases = [phase for slot in self._slots if (phase := slot.phase(now)) != "STOPPED"]
        ready = phases.count("READY")
        placed = sum(phase not in ("UNPLACED", "PROVISIONING") for phase in phases)
        state, message = self._said(phases, ready)
        return Condition(state=state, message=message, wanted=self._wanted, placed=placed, ready=ready)

    def refusal(self, now: float, *, pinned: bool = False) -> Refusal | None:
        """Why it takes no request; None when it does. One that is asked for by name needs no routing."""
        if not self.ready(now):
            return "dedicated_endpoint_not_running"
        return None if pinned or self._routed <= now < self._unrouted else "endpoint_not_configured"

    def ready(self, now: float) -> int:
        """Replicas that answer."""
        return self.condition(now).ready

    def begin(self, input_tokens: int, output_tokens: int, now: float) -> ReplicaWork:
        """Begin an answer, on the ready replica with the fewest requests."""
        self._requests += 1
        self._last = now
        ready = [slot for slot in self._slots if slot.phase(now) == "READY"] or self._slots
        replica = min((slot.replica for slot in ready), key=lambda replica: replica.load)
        return ReplicaWork(replica, input_tokens, output_tokens, now)

    def load(self, now: float) -> int:
        """Requests running and queued."""
        for slot in self._slots:
            slot.replica.advance(now)
        return sum(slot.replica.load for slot in self._slots)

    def use(self, now: float) -> MachineUse:
        """Ready replica-seconds until `now`."""
        self._settle(now)
        return MachineUse(
            name=self.model,
            requests=self._requests,
            seconds=sum(slot.billed(now) for slot in self._slots),
            busy_seconds=sum(slot.replica.busy for slot in self._slots),
        )

    def _said(self, phases: Sequence[str], ready: int) -> tuple[State, str]:
        if self._failed:
            late = "Timed out waiting for readiness"
            return "FAILED", late if self._plan.fails_after is None else self._plan.fails_with
        if not phases:
            return "STOPPED", "Deployment is stopped"
        if not self._wanted:
            return "STOPPING", "Waiting for replicas to stop"
        if ready >= self._wanted:
            return "READY", "All replicas ready"
        if "UNPLACED" in phases:
            return "DEGRADED", "Cannot place replicas: insufficient GPU capacity"
        if "DEGRADED" in phases:
            return "DEGRADED", "Replicas are not answering their readiness probe"
        if ready or "SCALING" in phases:
            return "SCALING", "Starting replicas"
        return "PROVISIONING", "Scheduling replicas"

    def _slot(self, now: float) -> Slot:
        replica = Replica(self._machine, now=now, max_batch=self._plan.max_batch)
        return Slot(replica, flaps=self._plan.flaps, now=now)

    def _scale(self, wanted: int, now: float) -> None:
        """So many replicas: those that are missing start, the last ones leave."""
        plan = self._plan
        self._wanted = wanted
        while len(self._slots) < wanted:
            self._slots.append(self._slot(now))
        for number, slot in enumerate(self._slots):
            if number >= wanted:
                slot.stop(now)
            elif slot.go_on(now):
                placed = max(now, plan.gpus_at(self._gpu))
                scaling = placed + plan.provisioning * self._chance.uniform(0.9, 1.1)
                ready = scaling + plan.scaling * self._chance.uniform(0.9, 1.1)
                slot.start(placed, scaling, math.inf if plan.fails_after is not None else ready)
                if not number:
                    self._starts(now, slot)

    def _starts(self, now: float, slot: Slot) -> None:
        if self.in_split:
            self._routed = slot.ready_at + self._plan.routing
        if not self._was_ready:
            after = self._plan.patience if self._plan.fails_after is None else self._plan.fails_after
            self._fails = now + after if slot.ready_at > now + after else math.inf
        elif self._plan.fails_after is not None:
            self._fails = now + self._plan.fails_after

    def _settle(self, now: float) -> None:
        """What happened by itself until now."""
        for slot in self._slots:
            slot.settle(now)
        if self._wanted and now >= self._fails and not self._failed:
            self._failed, self._wanted = True, 0
            for slot in self._slots:
                slot.stop(self._fails)
        if not self._was_ready and any(slot.ready_at <= now for slot in self._slots):
            self._was_ready, self._fails = True, math.inf
        if self._wanted and not self._failed:
            self._autoscale(now)
            self._rest(now)

    def _autoscale(self, now: float) -> None:
        """Between its bounds, as many replicas as the requests in flight ask for."""
        if self.minimum >= self.maximum:
            return
        load = sum(slot.replica.load for slot in self._slots)
        fit = min(max(math.ceil(load / TARGET_IN_FLIGHT), self.minimum), self.maximum)
        if fit > self._wanted:
            self._scale(fit, now)
        if fit >= self._wanted:
            self._fewer_since = None
        elif self._fewer_since is None:
            self._fewer_since = now
        elif now - self._fewer_since >= _SCALE_DOWN_WINDOW:
            self._fewer_since = None
            self._scale(fit, now)

    def _rest(self, now: float) -> None:
        """Stop after its time without a request."""
        if self.idle_limit is None or any(slot.replica.load for slot in self._slots):
            return
        since = max(self._slots[0].ready_at, self._last, *(slot.replica.idle_since for slot in self._slots))
        if since + self.idle_limit <= now:
            self.minimum = self.maximum = self._wanted = 0
            for slot in self._slots:
                slot.stop(since + self.idle_limit)
