"""Modal: a server at ``*.modal.direct`` that starts containers on demand and stops idle ones.

There is no queue: without a ready container the answer is 503 at once, and the refused request starts one;
above the containers' concurrency it is 429 (Modal docs, servers, 2026-10). Containers are paid from their
start to their stop, the cold start and the idle time before the stop included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
        max_containers: a further one starts when those that are up have all they take.
        scaledown_window: seconds a container stays without requests (Modal's default).
    """

    model: str = "llm"
    machine: Machine | None = None
    cold_start: float = 20.0
    cold_start_large: float = 60.0
    concurrency: int = 64
    max_containers: int = 2
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

    @property
    def starts(self) -> int:
        """Containers started so far."""
        return self._started

    def _ready(self, now: float) -> list[Container]:
        return [container for container in self._containers if container.ready <= now]

    def _scale_up(self, now: float) -> None:
        """Start a container if all are up and full, and one more is allowed."""
        full = all(c.ready <= now and c.replica.load >= self.plan.concurrency for c in self._containers)
        if full and len(self._containers) < self.plan.max_containers:
            self._start(now)

    def _start(self, now: float) -> None:
        self._started += 1
        median = self.plan.cold_start_large if self._machine.tau0 >= LARGE.tau0 else self.plan.cold_start
        ready = now + median * self._chance(f"container {self._started}").uniform(0.8, 1.2)
        self._containers.append(Container(now, ready, Replica(self._machine, now=ready)))

    def _settle(self, now: float) -> None:
        """Let time pass, and stop the containers whose window is over."""
        up: list[Container] = []
        for container in self._containers:
            container.replica.advance(now)
            stop = container.replica.idle_since + self.plan.scaledown_window
            if container.replica.load or stop > now:
                up.append(container)
            else:
                self._billed += stop - container.started
                self._busy += container.replica.busy
        self._containers = up


def _load(container: Container) -> int:
    return container.replica.load
