"""The stack: which layers a call passes, in which order, and why in this order.

`Client.describe()` reads it back. An assembly is a snapshot: a call ends in the one it began in, so a switch
of mode never touches a call in flight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hybrid_infer.backends.registry import connect
from hybrid_infer.calls.call import Mode, Service, Target
from hybrid_infer.layers.attempt import Attempts
from hybrid_infer.layers.base import Layer, stack
from hybrid_infer.layers.cold import PROBE_EVERY, Cold
from hybrid_infer.layers.deadline import Deadline
from hybrid_infer.layers.exchange import Exchange
from hybrid_infer.layers.metering import Metering
from hybrid_infer.layers.plan import Plan
from hybrid_infer.layers.retry import Retry, RetryPolicy
from hybrid_infer.layers.route import pinned
from hybrid_infer.layers.streams_only import StreamsOnly
from hybrid_infer.layers.tracing import Tracing
from hybrid_infer.prices.book import PriceBook
from hybrid_infer.prices.meter import Meter
from hybrid_infer.runtime.base import Leftovers, Runtime
from hybrid_infer.settings import ModelSettings, ModelTarget, Settings
from hybrid_infer.simulator.defaults import DEFAULT_GPU, DEFAULT_MODELS
from hybrid_infer.simulator.door import SimulatedTransport
from hybrid_infer.simulator.world import World
from hybrid_infer.telemetry.spans import Spans
from hybrid_infer.transport.base import Transport

Reasoned = tuple[tuple[Layer, str], ...]
"""Layers, each with the reason for its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What all assemblies of one client are made from and share.

    Attributes:
        transport: makes the transport of an assembly.
        world: the simulated providers, where they are simulated.
        leftovers: what finalisers may not do themselves.
        meters: by machine, so that a switch does not split the sharing of a machine's time.
    """

    settings: Settings
    runtime: Runtime
    transport: Callable[[], Transport]
    world: World | None
    spans: Spans
    prices: PriceBook
    meters: dict[tuple[Mode, str, str | None], Meter]
    leftovers: Leftovers


class Assembly:
    """The call stack of one mode, and the target stacks below it, made at first use."""

    def __init__(self, parts: Parts, mode: Mode) -> None:
        self.mode: Mode = mode
        self.calls: set[int] = set()
        self._parts = parts
        self._settings = simulated(parts.settings) if parts.settings.simulate else parts.settings
        self._targets: dict[tuple[Mode, str | None], Target] = {}
        self._transports: dict[Mode | None, Transport] = {}
        self._guard = parts.runtime.guard()
        self._layers = self._call_layers()
        self._target_layers: dict[str, Reasoned] = {}
        self.serve: Service = stack([layer for layer, _ in self._layers], pinned)

    def _call_layers(self) -> Reasoned:
        """Passed once by every logical call, outermost first."""
        parts, settings = self._parts, self._settings
        return (
            (
                Plan(mode=self.mode, model=settings.model, models=settings.models, target=self.target),
                "everything below needs to know where the call may go",
            ),
            (
                Tracing(parts.runtime, parts.spans, parts.leftovers),
                "above everything that happens, so that a refusal is seen too",
            ),
            (
                Metering(parts.runtime, parts.prices, parts.leftovers),
                "a call's cost is the sum of its attempts",
            ),
            (Deadline(parts.runtime, settings.timeout), "above all that may wait"),
            (
                Retry(parts.runtime, settings.max_retries, RetryPolicy()),
                "above the choice of a target, so that the next attempt may go elsewhere",
            ),
        )

    def _layers_of(self, target: Target, exchange: Exchange) -> Reasoned:
        """Passed once by every attempt, outermost first."""
        parts = self._parts
        return (
            (
                Cold(
                    parts.runtime,
                    target,
                    exchange.probe,
                    timeout=self._settings.cold_start_timeout,
                    every=PROBE_EVERY / (self._settings.simulate_speed if target.simulated else 1.0),
                ),
                "a cold machine is not an error: waiting for it is no attempt, and one call probes for all",
            ),
            (StreamsOnly(), "above attempts: the refused request and the stream are one each"),
            (
                Attempts(parts.runtime, target, parts.spans, self._meter(target), parts.leftovers),
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

    def check(self) -> None:
        """Whether the assembly's own mode has what it needs, before the first call."""
        model = self._settings.model
        entry = self._settings.models.get(model) if model is not None else None
        if entry is None or entry.mode is None:
            self.target(self.mode, model)

    def describe(self) -> str:
        """The mode, what carries the bytes, and each layer with the reason for its place."""
        target = self.target(self.mode, self._settings.model)
        rows = [
            f"mode       {self.mode}",
            f"target     {target.name}" + (" (simulated)" if target.simulated else ""),
            f"runtime    {self._parts.runtime.name}",
            f"transport  {self._transport(self.mode).name}",
            "",
            "call stack, once per call, outermost first:",
            *_rows(self._layers),
            f"  {'pinned':<12} the first candidate serves",
            "target stack, once per attempt:",
            *_rows(self._target_layers[target.name]),
            f"  {'Exchange':<12} the backend's request goes over the transport, the answer becomes a reply",
        ]
        return "\n".join(rows)

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
            simulated=simulated,
        )
        exchange = Exchange(
            target=target,
            backend=connection.backend,
            transport=self._transport(mode),
            runtime=parts.runtime,
            attempt_timeout=self._settings.attempt_timeout,
        )
        layers = self._layers_of(target, exchange)
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

    def _meter(self, target: Target) -> Meter | None:
        if target.basis != "machine-time":
            return None
        key = (target.mode, target.host, target.model)
        meter = self._parts.meters.get(key)
        if meter is None:
            meter = self._parts.meters.setdefault(key, Meter(self._parts.runtime.guard()))
        return meter


def _rows(layers: Reasoned) -> list[str]:
    return [f"  {type(layer).__name__:<12} {why}" for layer, why in layers]


def simulated(settings: Settings) -> Settings:
    """The settings with the simulator's default models and machines, where none are configured."""
    models = dict(settings.models)
    for name, targets in DEFAULT_MODELS.items():
        models.setdefault(
            name,
            ModelSettings(
                targets={
                    mode: ModelTarget(model=model, gpu=gpu, gpus=gpus)
                    for mode, (model, gpu, gpus) in targets.items()
                }
            ),
        )
    return settings.model_copy(
        update={"models": models, "model": settings.model or next(iter(DEFAULT_MODELS))}
    )
