"""World: the simulated providers, as one seeded state machine. Pure: `now` is an argument, nothing waits.

Same seed, same requests at the same times: same answers at the same times.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from hybrid_infer.calls.call import Mode
from hybrid_infer.runtime.base import Guard
from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.dedicated import EndpointPlan, Initial, State
from hybrid_infer.simulator.defaults import DEDICATED_MODEL
from hybrid_infer.simulator.engines import ModalAPI, PlainAPI
from hybrid_infer.simulator.exchange import Exchange, Request, Response
from hybrid_infer.simulator.modal import ModalPlan
from hybrid_infer.simulator.replica import MachineUse
from hybrid_infer.simulator.serverless import ServerlessPlan, TokenUse
from hybrid_infer.simulator.together import TogetherAPI

Provider = Literal["together", "modal"]

EPOCH = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
"""The time of day at which a world begins, for `created` in answers."""

_SERVERLESS = ServerlessPlan()
_ENDPOINT = EndpointPlan()
_MODAL = ModalPlan()


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """What the providers would bill, as quantities. Requests are those seen, refused ones included."""

    serverless: tuple[TokenUse, ...]
    serverless_requests: int
    dedicated: tuple[MachineUse, ...]
    dedicated_requests: int
    modal: MachineUse
    modal_requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """A dedicated endpoint: its state, whether requests reach it, and how many are in it."""

    model: str
    state: State
    routed: bool
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """The machines at one moment; `containers_started` counts all since the beginning."""

    endpoints: tuple[EndpointState, ...]
    containers_starting: int
    containers_ready: int
    containers_started: int
    container_requests: int


class World:
    """All simulated providers of one account.

    Time begins with the first `now` that any method is given, and does not go back. A dedicated endpoint
    exists, and costs, from its first request or start.

    Args:
        seed: of everything that is random.
        dedicated: how dedicated endpoints are found.
        endpoint_names: models that are dedicated endpoints where a request does not say its mode.
        epoch: the time of day of the beginning.

    Attributes:
        dropped: exchanges given up where nothing may be locked; cancelled at the next access.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        dedicated: Initial = "ready",
        serverless: ServerlessPlan = _SERVERLESS,
        endpoint: EndpointPlan = _ENDPOINT,
        endpoint_names: tuple[str, ...] = (DEDICATED_MODEL,),
        modal: ModalPlan = _MODAL,
        epoch: datetime = EPOCH,
    ) -> None:
        chance = Chance(seed, epoch)
        self.dropped: deque[Exchange] = deque()
        self._together = TogetherAPI(
            serverless=serverless, endpoint=endpoint, initial=dedicated, names=endpoint_names, chance=chance
        )
        self._modal = ModalAPI(modal, chance)
        self._plain = PlainAPI(modal.model, chance)
        self._zero: float | None = None
        self._now = 0.0

    def guarded_by(self, guard: Guard) -> Guard:
        """The lock of this world: the first one that anybody offers, for all who share the world."""
        lock: Guard = vars(self).setdefault("_guard", guard)
        return lock

    def receive(
        self, provider: Provider, request: Request, now: float, *, mode: Mode | None = None
    ) -> Exchange:
        """A request arrives.

        Args:
            mode: answer as this mode, whatever the model is called; ``openai-compatible`` is a plain engine
                without credentials, cold start or bill. None leaves it to the provider.
        """
        moment = self._at(now)
        response: Response
        if mode == "openai-compatible":
            response = self._plain.receive(request, moment)
        elif provider == "modal":
            response = self._modal.receive(request, moment)
        else:
            response = self._together.receive(request, moment, None if mode == "modal" else mode)
        return Exchange(response, at=self._at, zero=self._zero or 0.0)

    def start_dedicated(self, now: float) -> None:
        """Start the dedicated endpoints."""
        moment = self._at(now)
        for endpoint in self._together.all_endpoints(moment):
            endpoint.start(moment)

    def ready_dedicated(self, now: float) -> None:
        """Have the dedicated endpoints ready and routed at once, as no provider can."""
        moment = self._at(now)
        for endpoint in self._together.all_endpoints(moment):
            endpoint.make_ready(moment)

    def stop_dedicated(self, now: float) -> None:
        """Stop the dedicated endpoints; what they work on is finished."""
        moment = self._at(now)
        for endpoint in self._together.all_endpoints(moment):
            endpoint.stop(moment)

    def invoice(self, now: float) -> Invoice:
        """What would be billed until `now`."""
        moment = self._at(now)
        return Invoice(
            serverless=self._together.serverless.use(moment),
            serverless_requests=self._together.seen["together-serverless"],
            dedicated=tuple(endpoint.use(moment) for endpoint in self._together.endpoints()),
            dedicated_requests=self._together.seen["together-dedicated"],
            modal=self._modal.server.use(moment),
            modal_requests=self._modal.seen,
        )

    def machines(self, now: float) -> Machines:
        """The state of everything that costs money by the second."""
        moment = self._at(now)
        starting, ready, requests = self._modal.server.containers(moment)
        return Machines(
            endpoints=tuple(
                EndpointState(
                    model=endpoint.model,
                    state=endpoint.state(moment),
                    routed=endpoint.refusal(moment) is None,
                    requests=endpoint.load(moment),
                )
                for endpoint in self._together.endpoints()
            ),
            containers_starting=starting,
            containers_ready=ready,
            containers_started=self._modal.server.starts,
            container_requests=requests,
        )

    def _at(self, now: float) -> float:
        """The world's own time; whatever was dropped until now is cancelled."""
        if self._zero is None:
            self._zero = now
        self._now = max(self._now, now - self._zero)
        while self.dropped:
            self.dropped.popleft().stop(self._now)
        return self._now
