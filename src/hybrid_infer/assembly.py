"""The stack: which layers a call passes, in which order, and why in this order.

`Client.describe()` reads it back. An assembly is a snapshot: a call ends in the one it began in, so a switch
of mode never touches a call in flight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hybrid_infer.backends.registry import connect
from hybrid_infer.calls.call import Call, Mode, ModeChoice, Service, Target
from hybrid_infer.calls.chat import chat_reset
from hybrid_infer.calls.machines import MachineReport, StateRecord, machine_name
from hybrid_infer.calls.records import Ids, unix_ns
from hybrid_infer.layers.allowed import Allowed
from hybrid_infer.layers.attempt import Attempts
from hybrid_infer.layers.base import Layer, stack
from hybrid_infer.layers.breaker import Breaker
from hybrid_infer.layers.budget import Budget
from hybrid_infer.layers.cache import Cache
from hybrid_infer.layers.cold import PROBE_EVERY, Cold
from hybrid_infer.layers.deadline import Deadline
from hybrid_infer.layers.exchange import Exchange
from hybrid_infer.layers.hedge import Hedge
from hybrid_infer.layers.limits import LimitPolicy, Limits, SharedLimits
from hybrid_infer.layers.metering import Metering
from hybrid_infer.layers.plan import Plan
from hybrid_infer.layers.recording import Ledger, Recording
from hybrid_infer.layers.resume import Resume
from hybrid_infer.layers.retry import Retry, RetryBudget, RetryPolicy
from hybrid_infer.layers.route import Cap, Overflow, Route
from hybrid_infer.layers.single_flight import SingleFlight
from hybrid_infer.layers.streams_only import StreamsOnly
from hybrid_infer.layers.tracing import Tracing
from hybrid_infer.policies import identity, limit_policy, plan_policy, simulated, timeouts
from hybrid_infer.prices.book import PriceBook
from hybrid_infer.prices.meter import Meter
from hybrid_infer.runtime.base import Leftovers, Runtime
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.defaults import DEFAULT_GPU
from hybrid_infer.simulator.door import SimulatedTransport
from hybrid_infer.simulator.world import World
from hybrid_infer.telemetry.metrics import Metrics
from hybrid_infer.telemetry.spans import Spans
from hybrid_infer.transport.base import Transport

_WHY_CACHE = "above whatever spends money, slots or quota"
_WHY_SINGLE_FLIGHT = "above the budget, since one of those that share pays; below the cache, which it fills"
_WHY_BUDGET = "a call is refused once, before its first attempt, by what all of it may cost"

Reasoned = tuple[tuple[Layer, str], ...]
"""Layers, each with the reason for its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Where calls are written down, and how this client names them and itself."""

    ledger: Ledger
    ids: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What all assemblies of one client are made from and share.

    Attributes:
        transport: makes the transport of an assembly.
        world: the simulated providers, where they are simulated.
        leftovers: what finalisers may not do themselves.
        budget: what all calls together may repeat.
        shared: limits that several processes keep to together.
        spending: holds the budgets, where there are some.
        cache, flights: what answers nearer by, where that is on.
        books: the ledger, where there is one.
        machines: what is known of each machine, so that a switch neither forgets nor doubles it.
    """

    settings: Settings
    runtime: Runtime
    transport: Callable[[], Transport]
    world: World | None
    spans: Spans
    metrics: Metrics
    prices: PriceBook
    leftovers: Leftovers
    budget: RetryBudget
    shared: SharedLimits[Any] | None
    spending: Budget | None
    cache: Cache | None
    flights: SingleFlight | None
    books: Books | None
    machines: dict[tuple[Mode, str, str | None], Known] = field(
        default_factory=dict["tuple[Mode, str, str | None]", "Known"]
    )


@dataclass(slots=True, kw_only=True)
class Known:
    """What the client has learnt of one machine, and holds of it."""

    breaker: Breaker
    limits: Limits | None
    meter: Meter | None


class Assembly:
    """The call stack of one mode, and the target stacks below it, made at first use."""

    def __init__(self, parts: Parts, mode: ModeChoice) -> None:
        self.mode: ModeChoice = mode
        self.calls: set[int] = set()
        self._parts = parts
        self._settings = simulated(parts.settings) if parts.settings.simulate else parts.settings
        self._targets: dict[tuple[Mode, str | None], Target] = {}
        self._transports: dict[Mode | None, Transport] = {}
        self._guard = parts.runtime.guard()
        self._plan = Plan(plan_policy(self._settings, mode), self.target)
        self._layers = self._call_layers()
        self._target_layers: dict[str, Reasoned] = {}
        self.serve: Service = stack([layer for layer, _ in self._layers], self._route())

    def _call_layers(self) -> Reasoned:
        """Passed once by every logical call, outermost first."""
        parts, settings = self._parts, self._settings
        retry = Retry(parts.runtime, settings.max_retries, RetryPolicy(), parts.budget)
        return (
            (self._plan, "everything below needs to know where the call may go"),
            (
                Tracing(parts.runtime, parts.spans, parts.metrics, parts.leftovers),
                "above everything that happens, so that a refusal is seen too",
            ),
            *self._recording(),
            (
                Metering(parts.runtime, parts.prices, parts.leftovers),
                "a call's cost is the sum of its attempts",
            ),
            (Deadline(parts.runtime, timeouts(settings)), "above all that may wait"),
            *([] if parts.cache is None else [(parts.cache, _WHY_CACHE)]),
            *([] if parts.flights is None else [(parts.flights, _WHY_SINGLE_FLIGHT)]),
            *([] if parts.spending is None else [(parts.spending, _WHY_BUDGET)]),
            (
                Resume(settings.on_stream_break, retry.again, chat_reset),
                "above retry: a stream that breaks after it was handed over begins again as a call would",
            ),
            (retry, "above the choice of a target, so that the next attempt may go elsewhere"),
            (
                Hedge(parts.runtime, settings.hedge, retry.buy),
                "inside retry: one attempt, two racers, paid from the same budget",
            ),
        )

    def _recording(self) -> Reasoned:
        parts, books = self._parts, self._parts.books
        if books is None:
            return ()
        layer = Recording(parts.runtime, books.ledger, parts.prices, books.ids.new, parts.leftovers)
        return ((layer, "above metering: what a call has cost is known when it is written down"),)

    def _route(self) -> Route:
        """The innermost service of the call stack."""
        parts, settings = self._parts, self._settings
        hybrid = settings.hybrid
        return Route(
            parts.runtime,
            impatient=settings.on_cold == "overflow",
            overflow=Overflow(max_wait=hybrid.max_wait, return_below=hybrid.return_below, dwell=hybrid.dwell),
            cap=None if hybrid.cap is None else Cap(hybrid.cap),
            cost=lambda attempts: parts.prices.cost(attempts, at=parts.runtime.wall().date()),
        )

    def _layers_of(self, target: Target, exchange: Exchange, limits: LimitPolicy) -> Reasoned:
        """Passed once by every attempt, outermost first."""
        parts, known = self._parts, self._known(target, limits)
        target.predicted_wait = _no_wait if known.limits is None else known.limits.predicted_wait
        layers: list[tuple[Layer, str]] = [
            (Allowed(target), "outermost: whatever the layers above do, the call does not get further")
        ]
        if self._settings.breaker:
            layers.append(
                (known.breaker, "a target that keeps failing is refused before anybody queues for it")
            )
        layers.append(
            (
                Cold(
                    parts.runtime,
                    target,
                    exchange.probe,
                    known.meter,
                    every=PROBE_EVERY / (self._settings.simulate_speed if target.simulated else 1.0),
                ),
                "a cold machine is not an error: waiting for it holds no slot, and one call probes for all",
            )
        )
        if known.limits is not None:
            layers.append(
                (known.limits, "a slot is held from here to the end of the answer; last before the wire")
            )
        return (
            *layers,
            (StreamsOnly(), "above attempts: the refused request and the stream are one each"),
            (
                Attempts(parts.runtime, target, parts.spans, known.meter, parts.leftovers),
                "next to the wire: every request that may cost money has its span and its line in the Tally",
            ),
        )

    def target(self, mode: Mode, name: str | None) -> Target:
        """The target for a logical model (or a provider's own name) in a mode.

        Raises:
            ConfigurationError: an address, a credential or the model's entry for this mode is missing.
        """
        found = self._targets.get((mode, name))
        if found is None:
            with self._guard:
                found = self._targets.get((mode, name)) or self._make_target(mode, name)
                self._targets[mode, name] = found
        return found

    def observe(self, mode: Mode, name: str | None, serving: int | None, starting: int) -> None:
        """See `Core.observe`."""
        target, parts = self._as_called(mode, name), self._parts
        meter, now = self._meter(target), parts.runtime.now()
        if meter is None:
            return
        meter.state(serving, starting, now=now)
        if parts.books is not None:
            state = StateRecord(
                process=parts.books.ids.process,
                machine=machine_name(target),
                at_ns=unix_ns(parts.runtime.wall()),
                serving=serving,
                starting=starting,
                rate=parts.prices.hourly(target),
                simulated=target.simulated,
            )
            parts.books.ledger.put(state)

    def machine(self, mode: Mode, name: str | None) -> MachineReport | None:
        """See `Core.machine`."""
        meter = self._meter(self._as_called(mode, name))
        return None if meter is None else meter.report(self._parts.runtime.now())

    def check(self) -> None:
        """Whether the assembly's own mode has what it needs, before the first call."""
        model = self._settings.model
        entry = self._settings.models.get(model) if model is not None else None
        if entry is None or entry.mode is None:
            self._default_targets()

    def describe(self) -> str:
        """The mode, what carries the bytes, and each layer with the reason for its place."""
        targets = self._default_targets()
        rows = [
            f"mode       {self.mode}",
            *(
                f"target     {target.name}" + (" (simulated)" if target.simulated else "")
                for target in targets
            ),
            f"runtime    {self._parts.runtime.name}",
            f"transport  {self._transport(targets[0].mode).name}",
            "",
            "call stack, once per call, outermost first:",
            *_rows(self._layers),
            f"  {'Route':<12} asks the targets in order until one takes the call",
            "target stack, once per attempt:",
            *_rows(self._target_layers[targets[0].name]),
            f"  {'Exchange':<12} the backend's request goes over the transport, the answer becomes a reply",
        ]
        return "\n".join(rows)

    def _default_targets(self) -> tuple[Target, ...]:
        """Where a call goes that says nothing of its own.

        Raises:
            ConfigurationError, InvalidCallError: one of them cannot be reached.
        """
        return self._plan.candidates(Call(operation="chat", model=None, body={}, mode=self.mode))[0]

    async def aclose(self) -> None:
        with self._guard:
            transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.aclose()

    def _make_target(self, mode: Mode, name: str | None) -> Target:
        parts = self._parts
        connection = connect(mode, self._settings, name)
        gpu, simulated = connection.gpu, parts.world is not None
        if gpu is None and simulated and connection.basis == "machine-time":
            gpu = DEFAULT_GPU
        model = connection.model
        target = Target(
            name=f"{mode}/{model or connection.origin.host}",
            mode=mode,
            provider=connection.provider,
            model=model,
            host=connection.origin.host,
            port=connection.origin.port,
            basis=connection.basis,
            priced_as=connection.priced_as,
            gpu=gpu,
            gpus=connection.gpus,
            cpu=connection.cpu,
            memory=connection.memory,
            logical=name if name in self._settings.models else None,
            place=connection.backend.place,
            identity=identity(self._settings, mode, name),
            credential=connection.backend.credential,
            simulated=simulated,
        )
        exchange = Exchange(
            target=target,
            backend=connection.backend,
            transport=self._transport(mode),
            runtime=parts.runtime,
            carry=parts.spans.carry,
        )
        layers = self._layers_of(target, exchange, limit_policy(self._settings, mode, name))
        self._target_layers[target.name] = layers
        target.serve = stack([layer for layer, _ in layers], exchange)
        return target

    def _transport(self, mode: Mode) -> Transport:
        parts = self._parts
        key = mode if parts.world is not None else None
        if key not in self._transports:
            self._transports[key] = (
                parts.transport()
                if parts.world is None
                else SimulatedTransport(
                    parts.world, runtime=parts.runtime, mode=mode, speed=self._settings.simulate_speed
                )
            )
        return self._transports[key]

    def _as_called(self, mode: Mode, name: str | None) -> Target:
        """Where a call goes first that names this mode and model."""
        return self._plan.candidates(Call(operation="chat", model=name, body={}, mode=mode))[0][0]

    def _meter(self, target: Target) -> Meter | None:
        """That of a target that has been made; None where it is not paid by time."""
        machines = self._parts.machines
        for model in (target.model, None):  # once the server has named its only model, the target has it, too
            known = machines.get((target.mode, target.host, model))
            if known is not None:
                return known.meter
        return None

    def _known(self, target: Target, limits: LimitPolicy) -> Known:
        parts = self._parts
        key = (target.mode, target.host, target.model)
        known = parts.machines.get(key)
        if known is None:
            runtime = parts.runtime
            terms = parts.prices.terms(target)
            known = parts.machines.setdefault(
                key,
                Known(
                    breaker=Breaker(runtime, target),
                    limits=Limits(runtime, target, limits, parts.shared) if limits.limits_anything else None,
                    meter=None if terms is None else Meter(runtime.guard(), terms),
                ),
            )
        return known


def _no_wait() -> float:
    return 0.0


def _rows(layers: Reasoned) -> list[str]:
    return [f"  {type(layer).__name__:<12} {why}" for layer, why in layers]
