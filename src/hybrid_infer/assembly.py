"""The stack: which layers a call passes, in which order, and why in this order.

`Client.describe()` reads it back. An assembly is a snapshot: a call ends in the one it began in, so a switch
of mode never touches a call in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybrid_infer.calls.call import Call, Mode, ModeChoice, Service, Target
from hybrid_infer.calls.chat import chat_reset
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.layers.allowed import Allowed
from hybrid_infer.layers.attempt import Attempts
from hybrid_infer.layers.base import Layer, stack
from hybrid_infer.layers.cold import PROBE_EVERY, Cold
from hybrid_infer.layers.deadline import Deadline
from hybrid_infer.layers.exchange import Exchange
from hybrid_infer.layers.hedge import Hedge
from hybrid_infer.layers.metering import Metering
from hybrid_infer.layers.plan import Plan
from hybrid_infer.layers.resume import Resume
from hybrid_infer.layers.retry import Retry, RetryPolicy
from hybrid_infer.layers.route import Cap, Overflow, Route, Tide
from hybrid_infer.layers.streams_only import StreamsOnly
from hybrid_infer.layers.tracing import Tracing
from hybrid_infer.parts import Known, Parts
from hybrid_infer.policies import modal_token, plan_policy, simulated, timeouts
from hybrid_infer.settings import Settings
from hybrid_infer.targets import Targets
from hybrid_infer.transport.base import Transport

if TYPE_CHECKING:
    from hybrid_infer.calls.machines import MachineReport
    from hybrid_infer.layers.exchange.functions import FunctionExchange

_WHY_CACHE = "above whatever spends money, slots or quota"
_WHY_SINGLE_FLIGHT = "above the budget, since one of those that share pays; below the cache, which it fills"
_WHY_BUDGET = "a call is refused once, before its first attempt, by what all of it may cost"

Reasoned = tuple[tuple[Layer, str], ...]
"""Layers, each with the reason for its place."""


class Assembly:
    """The call stack of one mode, and the target stacks below it, made at first use."""

    def __init__(self, parts: Parts, mode: ModeChoice) -> None:
        self.mode: ModeChoice = mode
        self.calls: set[int] = set()
        self._parts = parts
        self._settings = simulated(parts.settings) if parts.settings.simulate else parts.settings
        self._targets = Targets(parts, self._settings, self._around)
        self._plan = Plan(plan_policy(self._settings, mode), self._targets.target, parts.turnout)
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
        from hybrid_infer.layers.recording import Recording

        layer = Recording(parts.runtime, books.ledger, parts.prices(), books.ids.new, parts.leftovers)
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
            cost=lambda attempts: parts.prices().cost(attempts, at=parts.runtime.wall().date()),
            hooks=parts.hooks,
            tide=Tide(hybrid.dwell),
        )

    def _around(self, target: Target, exchange: Exchange | FunctionExchange, known: Known) -> Service:
        """The stack of a target."""
        layers = self._target_layers[target.name] = self._layers_of(target, exchange, known)
        return stack([layer for layer, _ in layers], exchange)

    def _layers_of(self, target: Target, exchange: Exchange | FunctionExchange, known: Known) -> Reasoned:
        """Passed once by every attempt, outermost first."""
        parts = self._parts
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
                    hooks=parts.hooks,
                    spell=known.spell,
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

    @property
    def settings(self) -> Settings:
        """Those of the client, with the simulator's models where providers are simulated."""
        return self._settings

    def target(self, name: str | None, mode: ModeChoice | None = None) -> Target:
        """Where a call for this model goes first; in the client's mode, or the model's own, if none is given.

        Raises:
            ConfigurationError: there is no such place.
        """
        return self._plan.candidates(Call(operation="chat", model=name, body={}, mode=mode))[0][0]

    def known(self, target: Target) -> Known | None:
        """What the client has learnt of the machine of one of its targets."""
        return self._targets.known(target)

    def transport(self, mode: Mode) -> Transport:
        """What carries the bytes of a mode."""
        return self._targets.transport(mode)

    def observe(self, mode: Mode, name: str | None, serving: int | None, starting: int) -> None:
        """See `Core.observe`."""
        target, parts = self.target(name, mode), self._parts
        meter, now = self._targets.meter(target), parts.runtime.now()
        if meter is None:
            return
        meter.state(serving, starting, now=now)
        if parts.books is not None:
            from hybrid_infer.calls.machines import StateRecord, machine_name
            from hybrid_infer.calls.records import unix_ns

            state = StateRecord(
                process=parts.books.ids.process,
                machine=machine_name(target),
                at_ns=unix_ns(parts.runtime.wall()),
                serving=serving,
                starting=starting,
                rate=parts.prices().hourly(target),
                simulated=target.simulated,
            )
            parts.books.ledger.put(state)

    def machine(self, mode: Mode, name: str | None) -> MachineReport | None:
        """See `Core.machine`."""
        meter = self._targets.meter(self.target(name, mode))
        return None if meter is None else meter.report(self._parts.runtime.now())

    def check(self) -> None:
        """Whether the assembly's own mode has what it needs, before the first call."""
        model = self._settings.model
        entry = self._settings.models.get(model) if model is not None else None
        if entry is not None and entry.mode is not None:
            return
        try:
            self._default_targets()
        except ConfigurationError:
            # Functions need no address, but Modal's own credential.
            if self.mode != "modal" or modal_token(self._settings) is None:
                raise

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
            f"transport  {self._targets.transport(targets[0].mode).name}",
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
        await self._targets.aclose()


def _rows(layers: Reasoned) -> list[str]:
    return [f"  {type(layer).__name__:<12} {why}" for layer, why in layers]
