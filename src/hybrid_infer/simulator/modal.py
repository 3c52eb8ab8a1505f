"""Modal: a server at ``*.modal.direct`` that starts containers on demand and stops idle ones.

There is no queue: without a ready container the answer is 503 at once, and the refused request starts one;
above the containers' concurrency it is 429 (Modal docs, servers, 2026-10). Containers are paid from their
start to their stop, the cold start and the idle time before the stop included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from hybrid_infer.simulator.replica import LARGE, Machine, MachineUse, Replica, ReplicaWork, machine_for

Refusal = Literal["cold", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalPlan:
    """How the server behaves.

    Attributes:
        model: the name it serves; requests may use any other.
        machine: None takes it from the name of the last requested model.
        cold_start, cold_start_large: seconds to a ready container for the 8B and the 70B class, a fifth more
            or less. Optimistic: Modal's means with memory snapshots are 14 to 18 s for a small model (blog,
            2026-05-12); without them users report minutes.
        concurrency: requests that one container takes.
        max_containers: a further one starts when those that are up have all they take; 0 is no bound.
        min_containers: so many are kept up, with or without requests.
        scaledown_window: seconds a container stays without requests (Modal's default).
    """

    model: str = "llm"
    machine: Machine | None = None
    cold_start: float = 20.0
    cold_start_large: float = 60.0
    concurrency: int = 64
    max_containers: int = 2
    min_containers: int = 0
    scaledown_window: float = 60.0


@dataclass(slots=True, eq=False)
class Container:
    """One container from its start to its stop."""

    started: float
    ready: float
    replica: Replica


class ModalServer:
    """The containers of one server."""

    def __init__(self, plan: ModalPlan, chance: Callable[[str], Random]) -> None:
        self.plan = plan
        self._chance = chance
        self._machine = plan.machine or machine_for(plan.model)
        self._containers: list[Container] = []
        self._started = 0
        self._requests = 0
        self._billed = 0.0
        self._busy = 0.0

    def knock(self, now: float) -> Refusal | None:
        """A request that needs no model, such as a probe: is a container up? Starts one if none is."""
        self._settle(now)
        ready = self._ready(now)
        if not ready:
            if not self._containers:
                self._start(now)
            return "cold"
        for container in ready:
            if container.replica.load == 0:
                container.replica.idle_since = now
        return None

    def begin(
        self, model: str | None, input_tokens: int, output_tokens: int, now: float
    ) -> ReplicaWork | Refusal:
        """Begin an answer, or say why not."""
        if model is not None and self.plan.machine is None:
            self._machine = machine_for(model)
        if (refusal := self.knock(now)) is not None:
            return refusal
        free = [c for c in self._ready(now) if c.replica.load < self.plan.concurrency]
        if not free:
            self._scale_up(now)
            return "full"
        self._requests += 1
        work = ReplicaWork(min(free, key=_load).replica, input_tokens, output_tokens, now)
        self._scale_up(now)
        return work

    def containers(self, now: float) -> tuple[int, int, int]:
        """How many are starting and how many ready, and the requests in them."""
        self._settle(now)
        ready = self._ready(now)
        return len(self._containers) - len(ready), len(ready), sum(_load(c) for c in ready)

    def use(self, now: float) -> MachineUse:
        """Container-seconds until `now`."""
        self._settle(now)
        return MachineUse(
            name=self.plan.model,
            requests=self._requests,
            seconds=self._billed + sum(now - c.started for c in self._containers),
            busy_seconds=self._busy + sum(c.replica.busy for c in self._containers),
        )

    def scale(self, now: float, *, minimum: int, maximum: int, window: float) -> None:
        """Override what was deployed. A higher minimum starts containers at once; a lower one lets those go
        that have been idle for their window."""
        self._settle(now)
        self.plan = replace(
            self.plan, min_containers=minimum, max_containers=maximum, scaledown_window=window
        )
        for container in self._containers:  # a shorter window begins to count now, and not in the past
            container.replica.idle_since = max(container.replica.idle_since, now - window)
        self._settle(now)

    @property
    def machine(self) -> Machine:
        """That of each container."""
        return self._machine

    @property
    def starts(self) -> int:
        """Containers started so far."""
        return self._started

    def _ready(self, now: float) -> list[Container]:
        return [container for container in self._containers if container.ready <= now]

    def _scale_up(self, now: float) -> None:
        """Start a container if all are up and full, and one more is allowed."""
        full = all(c.ready <= now and c.replica.load >= self.plan.concurrency for c in self._containers)
        if full and (not self.plan.max_containers or len(self._containers) < self.plan.max_containers):
            self._start(now)

    def _start(self, now: float) -> None:
        self._started += 1
        median = self.plan.cold_start_large if self._machine.tau0 >= LARGE.tau0 else self.plan.cold_start
        ready = now + median * self._chance(f"container {self._started}").uniform(0.8, 1.2)
        self._containers.append(Container(now, ready, Replica(self._machine, now=ready)))

    def _settle(self, now: float) -> None:
        """Let time pass, stop the containers whose window is over, and start those that the minimum misses.

        One goes only when there are as many ready ones besides as the minimum says. What it keeps until then
        counts as wanted.
        """
        window, minimum = self.plan.scaledown_window, self.plan.min_containers
        for container in self._containers:
            container.replica.advance(now)
        for container in sorted(self._containers, key=_idle_since):
            replica = container.replica
            if replica.load or replica.idle_since + window > now:
                continue
            others = sorted(other.ready for other in self._containers if other is not container)
            enough = math.inf if len(others) < minimum else others[minimum - 1] if minimum else -math.inf
            stop = max(replica.idle_since + window, enough)
            if stop <= now:
                self._billed += stop - container.started
                self._busy += replica.busy
                self._containers.remove(container)
            elif enough == math.inf:
                replica.idle_since = now - window
        while len(self._containers) < minimum:
            self._start(now)


def _load(container: Container) -> int:
    return container.replica.load


def _idle_since(container: Container) -> float:
    return container.replica.idle_since
