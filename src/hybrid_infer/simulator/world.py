"""World: the simulated providers, as one seeded state machine. Pure: `now` is an argument, nothing waits.

Same seed, same requests at the same times: same answers at the same times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from hybrid_infer.calls.call import Mode
from hybrid_infer.runtime.base import Guard
from hybrid_infer.simulator import engine_wire
from hybrid_infer.simulator.autoscaling import Autoscaling
from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.control_plane.plan import ControlPlan
from hybrid_infer.simulator.dedicated import EndpointPlan, Initial, State
from hybrid_infer.simulator.defaults import DEDICATED_MODEL
from hybrid_infer.simulator.engines import ModalAPI, PlainAPI
from hybrid_infer.simulator.exchange import Exchange, Request, Response
from hybrid_infer.simulator.fault_rules import Arrival, FaultChooser, FaultPlan, Faults, Fired
from hybrid_infer.simulator.faults import Fault
from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.modal import ModalPlan
from hybrid_infer.simulator.operations import images
from hybrid_infer.simulator.operations.forms import fields_of
from hybrid_infer.simulator.refusals import RESULT, redirect, refusal
from hybrid_infer.simulator.replica import MachineUse
from hybrid_infer.simulator.seen import Seen, SeenLog
from hybrid_infer.simulator.served import ServedModel, marked
from hybrid_infer.simulator.serverless import ServerlessPlan, TokenUse
from hybrid_infer.simulator.shapes import field_of
from hybrid_infer.simulator.spoiling import spoiled
from hybrid_infer.simulator.together import TogetherAPI
from hybrid_infer.simulator.units import UnitUse

Provider = Literal["together", "modal"]

EPOCH = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
"""The time of day at which a world begins, for `created` in answers."""

_SERVERLESS = ServerlessPlan()
_ENDPOINT = EndpointPlan()
_CONTROL = ControlPlan()
_MODAL = ModalPlan()
_GONE = engine_wire.not_found()


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """What the providers would bill, as quantities. Requests are those seen, refused ones included.

    Attributes:
        units: of serverless models and batches, what is not in the tokens of `serverless`.
    """

    serverless: tuple[TokenUse, ...]
    serverless_requests: int
    dedicated: tuple[MachineUse, ...]
    dedicated_requests: int
    modal: MachineUse
    modal_requests: int
    units: tuple[UnitUse, ...] = ()


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
        control: how the control plane of dedicated endpoints behaves.
        epoch: the time of day of the beginning.
        faults: what goes wrong on purpose.
        functions: what is deployed on Modal besides the server; the defaults if None.
        served: how the model is served, in modes where that is not as it should be.

    Attributes:
        autoscaling: what keeps containers of Modal's server and functions up.
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
        control: ControlPlan = _CONTROL,
        modal: ModalPlan = _MODAL,
        epoch: datetime = EPOCH,
        faults: Faults | None = None,
        functions: FunctionRegistry | None = None,
        served: Mapping[Mode, ServedModel] | None = None,
    ) -> None:
        self._served = served or {}
        self.functions = FunctionRegistry() if functions is None else functions
        self._chance = chance = Chance(seed, epoch)
        self._epoch = epoch
        self._names = endpoint_names
        self.dropped: deque[Exchange] = deque()
        self._together = TogetherAPI(
            serverless=serverless,
            endpoint=endpoint,
            control=control,
            epoch=epoch,
            initial=dedicated,
            names=endpoint_names,
            chance=chance,
        )
        self._modal = ModalAPI(modal, chance)
        self.autoscaling = Autoscaling(functions=self.functions, server=self._modal.server, at=self._at)
        self._plain = PlainAPI(modal.model, chance)
        self._faults = FaultChooser(FaultPlan.of(faults), seed)
        self._log = SeenLog()
        self._held: dict[str, Response] = {}
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
        arrival = self._arrival(provider, request, mode)
        request = marked(request, arrival.mode, self._served) if self._served else request
        fault = self._faults.before(arrival, moment)
        if fault is None:
            response = self._result_of(request) or self._ask(provider, request, moment, mode, arrival.model)
            if 200 <= response.status < 300:
                fault = self._faults.after(arrival, moment)
                response = response if fault is None else spoiled(response, fault)
        elif fault.kind == "cold" and fault.value("variant") == "redirect":
            response = self._redirect(fault, arrival, request, moment, mode)
        else:
            stamp = self._chance.of(f"fault {self._log.arrived}")
            response = refusal(
                fault,
                mode=arrival.mode,
                model=arrival.model,
                id=f"sim{stamp.getrandbits(24):06x}",
                wall=self._epoch + timedelta(seconds=moment),
            )
        self._log.saw(arrival, fault)
        exchange = Exchange(
            response, at=self._at, zero=self._zero or 0.0, began=moment, ended=self._log.ended
        )
        self._log.began(exchange)
        return exchange

    def use_faults(self, faults: Faults | None) -> None:
        """From now on these faults and no others; they count from the beginning."""
        self._faults = FaultChooser(FaultPlan.of(faults), self._chance.seed)

    @property
    def faults(self) -> FaultPlan:
        """What goes wrong on purpose."""
        return self._faults.plan

    def fired(self) -> tuple[Fired, ...]:
        """What the faults have done so far, in the order of their rules."""
        return self._faults.fired()

    def refusing(self, now: float) -> tuple[bool, float | None]:
        """Whether every connection is refused, and when (at the earliest) that changes."""
        moment = self._at(now)
        change = self._faults.next_change(moment)
        return self._faults.refusing(moment), None if change is None else change + (self._zero or 0.0)

    def seen(self, now: float | None = None) -> Seen:
        """What reached the providers until `now`, or so far."""
        self._at(self.latest if now is None else now)
        return self._log.seen()

    @property
    def latest(self) -> float:
        """The carrier's time that was last heard of."""
        return self._now + (self._zero or 0.0)

    def wall(self, now: float) -> datetime:
        """The time of day."""
        return self._epoch + timedelta(seconds=self._at(now))

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
        self._together.account.settle(moment)
        return Invoice(
            serverless=self._together.serverless.use(moment),
            serverless_requests=self._together.seen["together-serverless"],
            dedicated=tuple(endpoint.use(moment) for endpoint in self._together.endpoints()),
            dedicated_requests=self._together.seen["together-dedicated"],
            modal=self._modal.server.use(moment),
            modal_requests=self._modal.seen,
            units=self._together.serverless.units.use(moment),
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

    def _ask(
        self, provider: Provider, request: Request, moment: float, mode: Mode | None, model: str | None
    ) -> Response:
        if (picture := images.served(request)) is not None:
            return picture
        if mode == "openai-compatible":
            return self._plain.receive(request, moment)
        if provider == "modal":
            return self._modal.receive(request, moment)
        return self._together.receive(request, moment, None if mode == "modal" else mode, model)

    def _arrival(self, provider: Provider, request: Request, mode: Mode | None) -> Arrival:
        body = fields_of(request)
        model = field_of(body, "model")
        if mode is None:
            named = isinstance(model, str) and model in self._names
            mode = (
                "modal" if provider == "modal" else "together-dedicated" if named else "together-serverless"
            )
        return Arrival(
            mode=mode,
            model=model if isinstance(model, str) else None,
            path=request.path,
            stream=bool(field_of(body, "stream")),
            get=request.method != "POST",
        )

    def _redirect(
        self, fault: Fault, arrival: Arrival, request: Request, moment: float, mode: Mode | None
    ) -> Response:
        """Work on the answer, and lead to it: there is a queue, so no container is refused."""
        response = self._result_of(request)
        if response is None:
            provider: Provider = "modal" if arrival.mode == "modal" else "together"
            mode = "openai-compatible" if provider == "modal" else mode
            response = self._ask(provider, request, moment, mode, arrival.model)
        id = f"fc-{len(self._held) + 1:08x}"
        self._held[id] = response
        return redirect(id, fault.value("seconds"))

    def _result_of(self, request: Request) -> Response | None:
        """The answer that a redirect led to; once."""
        _, _, id = request.path.partition(f"?{RESULT}=")
        held = self._held.get(id) if id and request.method == "GET" else None
        if held is not None:
            self._held[id] = _GONE
        return held

    def _at(self, now: float) -> float:
        """The world's own time; whatever was dropped until now is cancelled."""
        if self._zero is None:
            self._zero = now
        self._now = max(self._now, now - self._zero)
        while self.dropped:
            self.dropped.popleft().stop(self._now)
        return self._now
