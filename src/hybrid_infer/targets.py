"""Targets: where calls can go, made at first use; what is known of each machine; what carries the bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from hybrid_infer.backends.registry import ACCOUNTS, Connection, connect, function_connection
from hybrid_infer.calls.call import Call, Mode, Service, Target
from hybrid_infer.calls.operations import OPERATIONS, Asks
from hybrid_infer.layers.breaker import Breaker
from hybrid_infer.layers.cold import Spell
from hybrid_infer.layers.exchange import Exchange
from hybrid_infer.parts import Known, Parts
from hybrid_infer.policies import identity, limit_policy, modal_token
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.defaults import DEFAULT_GPU
from hybrid_infer.transport.base import Transport

if TYPE_CHECKING:
    from hybrid_infer.layers.exchange.functions import FunctionExchange
    from hybrid_infer.layers.limits.layer import Limits
    from hybrid_infer.layers.limits.policy import LimitPolicy
    from hybrid_infer.prices.meter import Meter
    from hybrid_infer.transport.functions import FunctionTransport

LayersOf = Callable[[Target, "Exchange | FunctionExchange", Known], Service]
"""Puts the layers of one target around the end of its stack."""


class Targets:
    """The places that calls of one assembly go to.

    Args:
        layers_of: the target's stack; it holds the order and its reasons.
    """

    def __init__(self, parts: Parts, settings: Settings, layers_of: LayersOf) -> None:
        self._parts = parts
        self._settings = settings
        self._layers_of = layers_of
        self._targets: dict[tuple[Mode, str | None], Target] = {}
        self._accounts: dict[Mode, Target] = {}
        self._transports: dict[Mode | None, Transport] = {}
        self._functions: FunctionTransport | None = None
        self._guard = parts.runtime.guard()

    def target(self, mode: Mode, name: str | None, call: Call) -> Target:
        """The target for a logical model (or a provider's own name) in a mode.

        Raises:
            ConfigurationError: an address, a credential or the model's entry for this mode is missing.
        """
        if "function" in call.body and call.operation.startswith("functions."):
            return self._function(str(call.body["function"]), OPERATIONS[call.operation].asks)
        if mode in ACCOUNTS and OPERATIONS[call.operation].asks != "model":
            return self._account(mode)
        found = self._targets.get((mode, name))
        if found is None:
            with self._guard:
                connection = connect(mode, self._settings, name)
                found = self._targets.get((mode, name)) or self._made(connection, mode, name)
                self._targets[mode, name] = found
        return found

    def _function(self, reference: str, asks: Asks) -> Target:
        """The Modal function that a call names. What only hands a call over is not paid by its time."""
        key: tuple[Mode, str] = ("modal", f"{asks} {reference}")
        found = self._targets.get(key)
        if found is None:
            connection = function_connection(self._settings, reference)
            if asks == "account":
                connection = replace(connection, basis="unknown")
            with self._guard:
                found = self._targets.get(key) or self._made(connection, "modal", reference, named=True)
                self._targets[key] = found
        return found

    def _account(self, mode: Mode) -> Target:
        """Where what belongs to the account is asked for: no machine of the user's serves that."""
        found = self._accounts.get(mode)
        if found is None:
            with self._guard:
                connection = replace(connect(mode, self._settings, None), basis="unknown")
                found = self._accounts.get(mode) or self._made(connection, mode, None, title="account")
                self._accounts[mode] = found
        return found

    def _made(
        self,
        connection: Connection,
        mode: Mode,
        name: str | None,
        *,
        title: str | None = None,
        named: bool = False,
    ) -> Target:
        """A target and its stack.

        Args:
            title: what stands in the name, where it is not the model.
            named: each call names the function that it wants.
        """
        parts = self._parts
        gpu, simulated = connection.gpu, parts.world is not None
        if gpu is None and simulated and connection.basis == "machine-time":
            gpu = DEFAULT_GPU
        model, elsewhere = connection.model, connection.elsewhere
        target = Target(
            name=f"{mode}/{title or model or connection.origin.place}",
            mode=mode,
            provider=connection.provider,
            model=model,
            host=connection.origin.host,
            port=connection.origin.port,
            basis=connection.basis,
            elsewhere=None if elsewhere is None else (elsewhere.host, elsewhere.port),
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
        exchange: Exchange | FunctionExchange
        if connection.function is None:
            exchange = Exchange(
                target=target,
                backend=connection.backend,
                transport=self.transport(mode),
                runtime=parts.runtime,
                carry=parts.spans.carry,
            )
        else:
            from hybrid_infer.backends.functions import FunctionErrors
            from hybrid_infer.layers.exchange.functions import FunctionExchange

            exchange = FunctionExchange(
                target=target,
                backend=FunctionErrors(),
                transport=self.functions(),
                runtime=parts.runtime,
                function=connection.function,
                shape=None if named else connection.backend,
            )
        known = self._known(target, limit_policy(self._settings, mode, name))
        target.predicted_wait = _no_wait if known.limits is None else known.limits.predicted_wait
        target.leaving = lambda: known.leaving
        target.probe = exchange.probe
        target.serve = self._layers_of(target, exchange, known)
        return target

    def transport(self, mode: Mode) -> Transport:
        """What carries the bytes to the targets of a mode."""
        parts = self._parts
        key = mode if parts.world is not None else None
        if key not in self._transports:
            self._transports[key] = self._carrier(mode)
        return self._transports[key]

    def _carrier(self, mode: Mode) -> Transport:
        parts = self._parts
        if parts.world is None:
            return parts.transport()
        from hybrid_infer.simulator.door import SimulatedTransport

        speed = self._settings.simulate_speed
        return SimulatedTransport(parts.world, runtime=parts.runtime, mode=mode, speed=speed)

    def functions(self) -> FunctionTransport:
        """What carries calls to Modal functions."""
        if self._functions is None:
            parts = self._parts
            if parts.world is None:
                from hybrid_infer.transport.modal_functions import ModalFunctions

                self._functions = ModalFunctions(runtime=parts.runtime, token=modal_token(self._settings))
            else:
                from hybrid_infer.simulator.functions_door import SimulatedFunctions

                self._functions = SimulatedFunctions(
                    parts.world.functions, runtime=parts.runtime, speed=self._settings.simulate_speed
                )
        return self._functions

    def meter(self, target: Target) -> Meter | None:
        """That of a target that has been made; None where it is not paid by time."""
        known = self.known(target)
        return None if known is None else known.meter

    def known(self, target: Target) -> Known | None:
        """What is known of the machine of a target that has been made."""
        machines = self._parts.machines
        for model in (target.model, None):  # once the server has named its only model, the target has it, too
            known = machines.get((target.mode, f"{target.host}:{target.port}", model))
            if known is not None:
                return known
        return None

    def _known(self, target: Target, limits: LimitPolicy) -> Known:
        parts = self._parts
        key = (target.mode, f"{target.host}:{target.port}", target.model)
        known = parts.machines.get(key)
        if known is None:
            runtime = parts.runtime
            known = parts.machines.setdefault(
                key,
                Known(
                    breaker=Breaker(runtime, target),
                    limits=self._limits(target, limits),
                    meter=self._meter(target),
                    spell=Spell(runtime.guard()),
                ),
            )
        return known

    def _limits(self, target: Target, policy: LimitPolicy) -> Limits | None:
        if not policy.limits_anything:
            return None
        from hybrid_infer.layers.limits.layer import Limits

        return Limits(self._parts.runtime, target, policy, self._parts.shared)

    def _meter(self, target: Target) -> Meter | None:
        """None where the target is not paid by time."""
        if target.basis != "machine-time" and not self._settings.prices:
            return None  # to find that out needs no prices, which take their time to load
        terms = self._parts.prices().terms(target)
        if terms is None:
            return None
        from hybrid_infer.prices.meter import Meter

        return Meter(self._parts.runtime.guard(), terms)

    async def aclose(self) -> None:
        with self._guard:
            transports, self._transports = list(self._transports.values()), {}
            functions, self._functions = self._functions, None
        for transport in transports:
            await transport.aclose()
        if functions is not None:
            await functions.aclose()


def _no_wait() -> float:
    return 0.0
