"""Machine: what a client knows of one machine, and which machine a model means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

from hybrid_infer.assembly import Assembly
from hybrid_infer.calls.call import Mode, Target
from hybrid_infer.endpoints.base import Endpoint
from hybrid_infer.endpoints.state import EndpointEvent, EndpointState, OnEvent, Replicas
from hybrid_infer.errors import ConfigurationError, HybridInferError
from hybrid_infer.parts import Known, Parts
from hybrid_infer.runtime.base import Runtime, log
from hybrid_infer.settings import ModelTarget, Settings
from hybrid_infer.transport.base import WireRequest, WireResponse

STARTED: Final[tuple[Mode, ...]] = ("together-dedicated", "modal")
"""Modes whose machines are started and stopped."""

PROBE_TIMEOUT = 30.0
"""Seconds for the one-token question at the end of a start."""


@dataclass(slots=True, kw_only=True, eq=False)
class Machine:
    """One machine of a client. Times are `Runtime.now()`.

    Attributes:
        name: of its endpoint, under which leases are kept.
        mode, model: as calls name it; the target itself may be made anew.
        last: what was seen last; None before the first look.
        used: when a call used it last, as far as this client knows; None never.
        attributed: nanoseconds of calls at the last look, to tell whether there were some since.
        pinged: when it was last asked so that it stays up.
        looked: when it was looked at last.
        idle: it was told to be idle, and no call has come since.
        made_of: whether it is made where there is none.
        stopped: somebody stopped it here, and calls that others may answer stay away until it is warm again.
        listeners: told of what is seen of it, whoever looks.
    """

    name: str
    mode: Mode
    model: str | None
    endpoint: Endpoint
    last: EndpointState | None = None
    used: float | None = None
    attributed: int = 0
    pinged: float = 0.0
    looked: float = float("-inf")
    idle: bool = False
    made_of: bool = False
    stopped: bool = False
    listeners: list[OnEvent] = field(default_factory=list["OnEvent"])

    def tell(self, event: EndpointEvent) -> None:
        """Call the listeners. What they raise is logged."""
        for listener in self.listeners.copy():
            try:
                listener(event)
            except Exception:
                log.warning("a listener to an endpoint failed", exc_info=True)

    @property
    def up(self) -> bool:
        """Whether it was up, or on its way, at the last look."""
        return self.last is not None and self.last.life in ("warming", "warm", "draining")


class Finder:
    """Finds the machine that a model means, and makes its endpoint, once for each.

    Args:
        current: the assembly of now.
        blocking: the colour of the runtime.
    """

    def __init__(self, parts: Parts, current: Callable[[], Assembly], *, blocking: bool) -> None:
        self._parts = parts
        self._runtime: Runtime = parts.runtime
        self._current = current
        self._blocking = blocking
        self._guard = parts.runtime.guard()
        self._machines: dict[tuple[Mode, str | None], Machine] = {}

    def find(self, model: str | None, mode: Mode | None = None) -> Machine | None:
        """The machine that calls for this model go to first; None where nothing has to be started for them.

        Raises:
            ConfigurationError: the model has no place in this mode, or a credential is missing.
        """
        target = self._current().target(model, mode)
        if target.mode not in STARTED or target.basis != "machine-time":
            return None
        name = self._name(target, model)
        key = (target.mode, name)
        found = self._machines.get(key)
        if found is None:
            endpoint = self._endpoint(target.mode, name, target)
            made = Machine(name=endpoint.name, mode=target.mode, model=name, endpoint=endpoint)
            entry = self._current().settings.models.get(name) if name is not None else None
            own = None if entry is None else entry.target(target.mode)
            made.made_of = own is not None and own.base_model is not None
            with self._guard:
                found = self._machines.setdefault(key, made)
        return found

    def named(self, machine: str) -> Endpoint | None:
        """The machine of that name (`Endpoint.name`), also of one that no model here means; for `Keeper`."""
        known = self.known_as(machine)
        if known is not None:
            return known.endpoint
        mode, _, own = machine.partition("/")
        if mode != "together-dedicated" or not own:
            return None
        found = self.find(own, "together-dedicated")
        return None if found is None else found.endpoint

    def known_as(self, machine: str) -> Machine | None:
        """The machine of that name that some model here means."""
        known = (*self._machines.values(), *self.configured())
        return next((one for one in known if one.name == machine), None)

    def configured(self) -> list[Machine]:
        """The machines of all configured models in all modes, without those that cannot be reached."""
        return self.reached()[0]

    def reached(self) -> tuple[list[Machine], dict[tuple[Mode, str], HybridInferError]]:
        """As `configured`; and why those that cannot be reached cannot, by mode and model."""
        settings = self._current().settings
        places = [(name, mode) for name, entry in settings.models.items() for mode in entry.targets]
        found: dict[str, Machine] = {}
        problems: dict[tuple[Mode, str], HybridInferError] = {}
        for name, mode in places:
            if mode in STARTED:
                try:
                    machine = self.find(name, mode)
                except HybridInferError as error:
                    problems[mode, name] = error
                    continue
                if machine is not None:
                    found.setdefault(machine.name, machine)
        return list(found.values()), problems

    def current(self) -> list[Machine]:
        """Those of the configured machines that calls go to first, as the client's mode is now."""
        settings, found = self._current().settings, dict[str, Machine]()
        for name in dict.fromkeys([*settings.models, settings.model]):
            try:
                machine = self.find(name)
            except HybridInferError:
                continue
            if machine is not None:
                found.setdefault(machine.name, machine)
        return list(found.values())

    def made(self) -> list[Machine]:
        """Those that this client has had to do with."""
        return list(self._machines.values())

    def target(self, machine: Machine) -> Target:
        """Where calls for the machine go."""
        return self._current().target(machine.model, machine.mode)

    def known(self, machine: Machine) -> Known | None:
        """What calls have taught of it."""
        assembly = self._current()
        return assembly.known(assembly.target(machine.model, machine.mode))

    def at_rest(self, model: str | None) -> EndpointState:
        """What is said of a model that needs no machine of the user's."""
        target = self._current().target(model)
        return EndpointState(
            name=target.name,
            life="warm",
            replicas=Replicas(ready=None, starting=None, wanted=None),
            minimum=None,
            maximum=None,
            routed=True,
            price=None,
            said=f"nothing is started or stopped for it: {_WHY.get(target.mode, 'it is paid by the token')}",
            since=None,
            at=self._runtime.wall(),
        )

    def _name(self, target: Target, model: str | None) -> str | None:
        """The model as the settings know it, or the provider's own name."""
        settings = self._current().settings
        named = model if model is not None else settings.model
        return named if named is not None else target.model

    def _endpoint(self, mode: Mode, name: str | None, target: Target) -> Endpoint:
        settings = self._current().settings
        if mode == "modal":
            return self._on_modal(settings, name)
        if name is None:
            raise ConfigurationError(f"mode {mode}: name the model whose machine is meant")
        return self._of_together(settings, name)

    def _of_together(self, settings: Settings, name: str) -> Endpoint:
        from hybrid_infer.endpoints.together import together_endpoint

        entry = settings.models.get(name)
        own = None if entry is None else entry.target("together-dedicated")
        world, runtime, blocking = self._parts.world, self._runtime, self._blocking
        connect: Callable[[], Any] | None = None
        if world is not None:

            def simulated() -> Any:
                from hybrid_infer.simulator.httpx_door import together_package

                return together_package(
                    world, runtime=runtime, blocking=blocking, speed=settings.simulate_speed
                )

            connect = simulated

        async def answers() -> bool:
            target = self._current().target(name, "together-dedicated")
            return await target.probe(runtime.now() + PROBE_TIMEOUT)

        endpoint = together_endpoint(
            settings,
            name,
            runtime=runtime,
            blocking=blocking,
            weights=None if own is None else own.base_model,
            config=None if own is None else own.hardware,
            inactive_minutes=None if own is None else own.inactive_timeout,
            connect=connect,
            probe=answers,
        )
        return cast("Endpoint", endpoint)

    def _on_modal(self, settings: Settings, name: str | None) -> Endpoint:
        from hybrid_infer.backends.knock import Knock
        from hybrid_infer.backends.registry import connect
        from hybrid_infer.endpoints.modal import modal_endpoint

        connection = connect("modal", settings, name)
        knock = None
        if connection.function is None:
            knock = Knock(connection, _Through(self._current, "modal"))
        world, autoscaler = self._parts.world, None
        if world is not None:
            from hybrid_infer.simulator.autoscaler_door import simulated_autoscaler

            autoscaler = simulated_autoscaler(world, runtime=self._runtime, speed=settings.simulate_speed)
            settings = _with_server(settings, name)
        endpoint = modal_endpoint(
            settings,
            name if name is not None else connection.model or connection.origin.host,
            runtime=self._runtime,
            blocking=self._blocking,
            knock=knock,
            connect=autoscaler,
        )
        return cast("Endpoint", endpoint)


_WHY = {"openai-compatible": "the server is yours"}


class _Through:
    """The transport that a mode has now, whatever it was when the endpoint was made."""

    name = "current"

    def __init__(self, current: Callable[[], Assembly], mode: Mode) -> None:
        self._current = current
        self._mode: Mode = mode

    async def send(self, request: WireRequest, *, until: float) -> WireResponse:
        return await self._current().transport(self._mode).send(request, until=until)

    async def aclose(self) -> None:
        """Nothing: it belongs to the assembly."""


def _with_server(settings: Settings, name: str | None) -> Settings:
    """The settings, with the name of the simulated server where a simulated model has none."""
    from hybrid_infer.simulator.autoscaling import SERVER

    entry = settings.models.get(name) if name is not None else None
    target: ModelTarget | None = None if entry is None else entry.target("modal")
    if name is None or entry is None or target is None or target.server or target.function:
        return settings
    targets = {**entry.targets, "modal": target.model_copy(update={"server": SERVER})}
    models = {**settings.models, name: entry.model_copy(update={"targets": targets})}
    return settings.model_copy(update={"models": models})
