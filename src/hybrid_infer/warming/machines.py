"""Machines: what a client's `warm`, `warmed`, `stop`, `state`, `status` and `sweep` do."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from weakref import WeakSet

from hybrid_infer.assembly import Assembly
from hybrid_infer.endpoints.errors import EndpointError
from hybrid_infer.endpoints.idle import IdleBudget
from hybrid_infer.endpoints.keeper import Keeper, Swept
from hybrid_infer.endpoints.state import (
    EndpointAction,
    EndpointState,
    OnEvent,
)
from hybrid_infer.errors import ClientClosedError, HybridInferError, InvalidCallError
from hybrid_infer.parts import Parts
from hybrid_infer.runtime.base import log
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.fork import mend_after_fork
from hybrid_infer.runtime.step import step
from hybrid_infer.stores.leases.base import Kind, Lease, LeaseStore
from hybrid_infer.warming.coming import come_up
from hybrid_infer.warming.machine import Machine
from hybrid_infer.warming.status import MachineStatus, status_of
from hybrid_infer.warming.upkeep import Upkeep
from hybrid_infer.warming.watching import Watching

T = TypeVar("T")

WARM_TIMEOUT = 1800.0
"""Seconds for a start: a first one "commonly takes up to ~20 minutes" (Together's docs, 2026-10)."""
STOP_TIMEOUT = 900.0


@dataclass(slots=True, kw_only=True, eq=False)
class Held:
    """A machine that somebody needs.

    Attributes:
        lease: None where the provider keeps no minimum for it, and it is asked again and again instead.
        until: `Runtime.now()` at which it is let go of by itself; None once somebody says so.
        renewed: when the lease was renewed last.
    """

    machine: Machine
    lease: Lease | None
    until: float | None
    renewed: float


_unclosed: WeakSet[Machines] = WeakSet()


class Machines(Watching):
    """The machines of one client. All methods are `async` in one colour of logic.

    Args:
        current: checks the runtime and gives the assembly of now; raises ClientClosedError.
        blocking: the colour of the runtime.
    """

    def __init__(
        self, parts: Parts, current: Callable[[], Assembly], store: LeaseStore, *, blocking: bool
    ) -> None:
        super().__init__(parts, current, blocking=blocking)
        spend = self.settings.idle_budget
        budget = None if spend is None else IdleBudget(spend)
        self.keeper = Keeper(store, self.runtime, self.finder.named, budget=budget)
        self.held: dict[int, Held] = {}
        self.upkeep = Upkeep(self)
        mend_after_fork(self, Machines._enter_child)
        if blocking and isinstance(self.runtime, BlockingRuntime):
            _unclosed.add(self)

    def enter(self) -> None:
        """Bind the runtime to the event loop at hand."""
        self._current()

    def wake(self) -> None:
        """See that what is done in the background is done, as soon as there is somewhere to do it."""
        if self.upkeep.asked and not self._closed:
            self.upkeep.wake()

    async def warm(
        self,
        model: str | None,
        *,
        replicas: int = 1,
        wait: bool = True,
        timeout: float = WARM_TIMEOUT,
        keep: float | None = None,
        on_event: OnEvent | None = None,
        why: str = "warm",
    ) -> EndpointState:
        """See `Client.warm`."""
        return (
            await self.hold(
                model, replicas=replicas, wait=wait, timeout=timeout, keep=keep, on_event=on_event, why=why
            )
        )[1]

    async def hold(
        self,
        model: str | None,
        *,
        replicas: int = 1,
        wait: bool = True,
        timeout: float = WARM_TIMEOUT,
        keep: float | None = None,
        on_event: OnEvent | None = None,
        why: str = "warmed",
    ) -> tuple[Held | None, EndpointState]:
        """Have a machine up until `let_go`; None where there is nothing to let go of."""
        if replicas < 1:
            raise InvalidCallError(f"replicas={replicas!r}: must be 1 or more; see stop()")
        if keep is not None and not keep > 0:
            raise InvalidCallError(f"keep={keep!r}: must be seconds above 0")
        machine = self._find(model)
        if machine is None:
            return None, self.finder.at_rest(model)
        self.upkeep.asked = True
        self.upkeep.wake()
        with self.listening(machine, on_event):
            began, before = self.runtime.now(), await self.look(machine)
            await self.tell("before_warm", machine, state=before)
            held = await self._begin(machine, before, replicas, keep, why)
            if held.lease is not None:
                what = f"keep at least {replicas} up"
                machine.tell(EndpointAction(at=self.runtime.wall(), name=machine.name, what=what))
            try:
                self.stay(machine)
                state = await self.look(machine)
                bring_up = partial(
                    self.bring_up,
                    machine,
                    replicas,
                    before,
                    began=began,
                    timeout=timeout,
                    needed=lambda: id(held) in self.held and not self._closed,
                )
                if wait:
                    return held, await bring_up()
            except GeneratorExit:  # nothing can be awaited any more; the lease ends by itself
                raise
            except BaseException:
                await self._withdraw(held)
                raise

        async def beside() -> None:
            with self.listening(machine, on_event):
                await bring_up()

        self.beside(beside)
        return held, state

    async def let_go(self, held: Held) -> None:
        """Give a machine back. Harmless when repeated, and in a process that was forked meanwhile.

        Raises:
            EndpointError: the provider did not do it; the next sweep does.
        """
        if self.held.pop(id(held), None) is None:
            return
        if held.lease is not None:
            await self.release(held.machine, held.lease)

    async def release(self, machine: Machine, lease: Lease) -> None:
        """Give a lease back. If that may stop the machine, calls go elsewhere first, and hooks are told."""
        others = [other for other in await self.keeper.leases(machine.name) if other.id != lease.id]
        if not others:
            await self.tell("before_stop", machine, state=machine.last, reason=f"{lease.why} is over")
            self.leave(machine, "it is about to be stopped")
        try:
            change = await self.keeper.release(lease)
        finally:
            self.stay(machine)
        if change.state is not None:
            self.saw(machine, change.state)

    async def stop(
        self,
        model: str | None,
        *,
        force: bool = False,
        wait: bool = True,
        timeout: float = STOP_TIMEOUT,
        on_event: OnEvent | None = None,
    ) -> EndpointState:
        """See `Client.stop`."""
        machine = self._find(model)
        if machine is None:
            return self.finder.at_rest(model)
        with self.listening(machine, on_event):
            state = await self.look(machine)
            await self.take_down(machine, state, "stop() was called", asked=True, force=force)
            told = partial(self.told_of, machine)
            state = await machine.endpoint.stop(wait=wait, timeout=timeout, on_event=told)
            self.saw(machine, state)
        return state

    async def take_down(
        self,
        machine: Machine,
        state: EndpointState,
        why: str,
        *,
        asked: bool = False,
        force: bool = False,
    ) -> None:
        """Have it stop, and do not wait for that; calls go elsewhere first.

        Args:
            asked: somebody said so, and calls are not to start it again.

        Raises:
            EndpointConflictError: others need it.
        """
        mine = {held.lease.id for held in self.held.values() if held.lease is not None}
        mine |= {lease.id for lease in self.keeper.held}
        leases = await self.keeper.leases(machine.name)
        told = force or all(lease.id in mine for lease in leases)
        if told:
            await self.tell("before_stop", machine, state=state, reason=why)
            self.leave(machine, "it is about to be stopped")
        stopped = False
        try:
            change = await self.keeper.stop(machine.name, force=force)
            stopped = True
        finally:
            machine.stopped = stopped and asked and machine.mode == "modal"
            if not machine.stopped:  # to ask a stopped one there starts it
                self.stay(machine)
        for key, held in list(self.held.items()):
            if held.machine is machine:
                self.held.pop(key, None)
        if change.state is not None:
            self.saw(machine, change.state)

    async def state(self, model: str | None) -> EndpointState:
        """See `Client.state`."""
        machine = self._find(model)
        return self.finder.at_rest(model) if machine is None else await self.look(machine)

    async def status(self) -> tuple[MachineStatus, ...]:
        """See `Client.status`."""
        self._current()
        return await status_of(self)

    async def sweep(self) -> Swept:
        """See `Client.sweep`."""
        self._current()
        swept = await self.keeper.sweep()
        for change in swept.changes:
            machine = self.finder.known_as(change.machine)
            if machine is not None and change.state is not None:
                self.saw(machine, change.state)
        return swept

    async def bring_up(
        self,
        machine: Machine,
        replicas: int,
        before: EndpointState,
        *,
        began: float,
        needed: Callable[[], bool],
        timeout: float = WARM_TIMEOUT,
    ) -> EndpointState:
        """Wait until it answers. The lease is held by whoever calls this, as long as it is `needed`."""
        try:
            if before.minimum is None:  # asking is what starts it, and all that can be done
                told = partial(self.told_of, machine)
                state = await machine.endpoint.warm(replicas, timeout=timeout, on_event=told)
            else:
                state = await come_up(self, machine, replicas, timeout=timeout, needed=needed)
        except EndpointError as error:
            if error.state is not None:
                self.saw(machine, error.state)
            took = self.runtime.now() - began
            await self.tell("after_warm", machine, state=error.state, seconds=took, reason=str(error))
            raise
        self.saw(machine, state)
        took = self.runtime.now() - began
        if before.life in ("cold", "absent"):
            await self.keeper.measured(machine.name, took)
        await self.tell("after_warm", machine, state=state, seconds=took)
        return state

    async def aclose(self) -> None:
        """Give back what this client holds, and end what is done in the background."""
        if self._closed:
            return
        self._closed = True
        self.upkeep.end()
        for stop in self._stops:
            stop()
        try:
            self.runtime.check()
            await self.upkeep.let_go()
            for held in list(self.held.values()):
                if held.until is None:
                    await self.let_go(held)
                else:
                    self.held.pop(id(held), None)
            for machine in self.finder.made():
                # Whoever holds a lease follows it on; else nobody knows from now on.
                if machine.up and not await self.keeper.leases(machine.name):
                    self._current().observe(machine.mode, machine.model, None, 0)
        except HybridInferError as error:
            log.warning("a machine could not be let go of, and is when its lease ends: %s", error)
        await self.keeper.store.aclose()

    def _find(self, model: str | None) -> Machine | None:
        self._current()
        return self.finder.find(model)

    async def _begin(
        self,
        machine: Machine,
        state: EndpointState,
        replicas: int,
        keep: float | None,
        why: str,
        kind: Kind = "asked",
    ) -> Held:
        """A lease; or, where the provider keeps no minimum for it, a promise to ask it again and again."""
        lease, now = None, self.runtime.now()
        if state.minimum is not None:
            seconds = self.settings.lease_seconds if keep is None else keep
            lease = await self.keeper.hold(machine.name, replicas, seconds, why=why, kind=kind)
            if self._closed:
                await self.keeper.release(lease)
                raise ClientClosedError("this client was closed meanwhile; make a new one")
        held = Held(machine=machine, lease=lease, until=None if keep is None else now + keep, renewed=now)
        self.held[id(held)] = held
        return held

    async def _withdraw(self, held: Held) -> None:
        try:
            await self.let_go(held)
        except Exception as error:
            log.warning("a machine is left to end with its lease: %s", error)

    def _enter_child(self) -> None:
        """What is held is the parent's."""
        self.held = {}
        self._stops = []
        self.upkeep.enter_child()


@atexit.register
def _give_back() -> None:
    """At the end of a process whose blocking clients were not closed."""
    for machines in list(_unclosed):
        if machines.held or machines.keeper.held:
            step(machines.aclose())
