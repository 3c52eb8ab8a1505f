"""Ground: the machines that a move stands on. Every step may be repeated after a crash."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hybrid_infer.endpoints.errors import (
    EndpointConflictError,
    EndpointError,
    EndpointUnreachableError,
    LeaseStoreError,
)
from hybrid_infer.endpoints.state import EndpointChange, EndpointEvent, EndpointState
from hybrid_infer.migrating.journal import Book
from hybrid_infer.runtime.base import log
from hybrid_infer.stores.leases.base import Lease, lease_of, lease_text
from hybrid_infer.warming.machine import Machine
from hybrid_infer.warming.machines import Machines

WHY = "migration"


class Ground:
    """Holds machines by leases while a move is underway, and then lets them stay, or go.

    Args:
        on_event: told what happens to machines.
        warm_timeout, stop_timeout: seconds.
    """

    def __init__(
        self,
        machines: Machines,
        book: Book,
        *,
        on_event: Callable[[EndpointEvent], object],
        warm_timeout: float,
        stop_timeout: float,
    ) -> None:
        self._machines = machines
        self._keeper = machines.keeper
        self._runtime = machines.runtime
        self._book = book
        self._on_event = on_event
        self._warm_timeout = warm_timeout
        self._stop_timeout = stop_timeout
        self._seconds = machines.settings.lease_seconds
        self._renewed: dict[str, float] = {}

    async def bring_up(self, machine: Machine, replicas: int) -> None:
        """Have it up and answering, held by a lease that the journal knows.

        Raises:
            EndpointError: it does not come up.
        """
        machines, record = self._machines, self._book.record
        began, before = self._runtime.now(), await machines.look(machine)
        if before.minimum is not None:
            await self._remember(machine, before.minimum)
            lease = await self._lease(machine, replicas, self._warm_timeout + self._seconds)
            if self._book.record.leases.get(machine.name) != lease_text(lease):
                leases = {**record.leases, machine.name: lease_text(lease)}
                await self._book.change(leases=leases)
        await machines.tell("before_warm", machine, state=before)
        machines.stay(machine)
        await self._until_it_answers(machine, replicas, before, began)
        await self.renew(force=True)

    async def _until_it_answers(
        self, machine: Machine, replicas: int, before: EndpointState, began: float
    ) -> None:
        machines, timeout = self._machines, self._warm_timeout
        told = partial(self._told, machine)
        try:
            state = await machine.endpoint.warm(replicas, timeout=timeout, on_event=told)
        except EndpointError as error:
            took = self._runtime.now() - began
            await machines.tell("after_warm", machine, state=error.state, seconds=took, reason=str(error))
            raise
        machines.saw(machine, state)
        took = self._runtime.now() - began
        if before.life in ("cold", "absent"):
            await self._keeper.measured(machine.name, took)
        await machines.tell("after_warm", machine, state=state, seconds=took)

    def _told(self, machine: Machine, event: EndpointEvent) -> None:
        if isinstance(event, EndpointChange):
            self._machines.saw(machine, event.state)
        self._on_event(event)

    async def renew(self, *, force: bool = False) -> None:
        """Hold on to what is held, as often as is needed. What may succeed later is tried again, for as long
        as the lease lasts.

        Raises:
            EndpointError: it cannot be held any longer.
        """
        now = self._runtime.now()
        for name, text in self._book.record.leases.items():
            since = now - self._renewed.get(name, float("-inf"))
            if not force and since < self._seconds / 3:
                continue
            try:
                if await self._keeper.renew(lease_of(text), self._seconds) is None:
                    raise EndpointConflictError("somebody else stopped it meanwhile", where=name)
            except (LeaseStoreError, EndpointUnreachableError) as error:
                if force or since >= self._seconds:
                    raise
                log.debug("%s: its lease is renewed later: %s", name, error)
            else:
                self._renewed[name] = now

    async def keep(self, machine: Machine, *, starts_itself: bool = False) -> None:
        """From now on its minimum stays as it is, and no lease is needed: that is what it was moved for.

        Args:
            starts_itself: calls start it, so its minimum becomes that of before.
        """
        text = self._book.record.leases.get(machine.name)
        if text is None:
            return
        if starts_itself:
            await self._forget(machine)
            return
        store = self._keeper.store
        note = await store.note(machine.name)
        if note is not None and not await store.set_note(machine.name, None, if_was=note):
            raise EndpointConflictError("another process changes its minimum", where=machine.name)
        await self._forget(machine)

    async def _forget(self, machine: Machine) -> None:
        """The lease is over; what the minimum is stays as it is."""
        leases = dict(self._book.record.leases)
        text = leases.pop(machine.name, None)
        if text is None:
            return
        await self._keeper.store.drop(lease_of(text).id)
        await self._keeper.release(lease_of(text))
        await self._book.change(leases=leases)

    async def stop(self, machine: Machine) -> str | None:
        """Stop it, after calls that are still there have ended. Why it was left up; None where it was not.

        Raises:
            EndpointError: it is not known what became of it.
        """
        machines = self._machines
        state = await machines.look(machine)
        if state.minimum is None:
            return f"{machine.name}: its provider keeps no minimum for it; it stops by itself once it is idle"
        await self._remember(machine, state.minimum)
        if state.life in ("absent", "cold") and not state.minimum:
            return None
        try:
            await machines.take_down(machine, state, "calls go to another mode")
        except EndpointConflictError as error:
            return f"it is left up: {error}"
        told = partial(self._told, machine)
        state = await machine.endpoint.stop(wait=True, timeout=self._stop_timeout, on_event=told)
        machines.saw(machine, state)
        return None

    async def bring_back(self, machine: Machine) -> None:
        """As it was before it was stopped: up, if it was kept up.

        Raises:
            EndpointError: it does not come up.
        """
        before = self._book.record.minima.get(machine.name, 0)
        if before > 0:
            await self.bring_up(machine, before)
            await self.keep(machine)

    async def let_go(self, machine: Machine) -> str | None:
        """As it was before it was brought up. Why it was left as it is; None where it was not."""
        record = self._book.record
        text, before = record.leases.get(machine.name), record.minima.get(machine.name)
        try:
            if text is not None:
                await self._machines.release(machine, lease_of(text))
                await self._book.change(leases={k: v for k, v in record.leases.items() if k != machine.name})
            if before is None or not record.reached("keep"):
                return None
            return await self._restore(machine, before)
        except EndpointError as error:
            log.warning("%s is left as it is: %s", machine.name, error)
            return f"it is left as it is: {error}"

    async def _restore(self, machine: Machine, before: int) -> str | None:
        """A minimum that was to stay."""
        state = await self._machines.look(machine)
        if (state.minimum or 0) <= before or await self._keeper.leases(machine.name):
            return None
        if before == 0:
            return await self.stop(machine)
        self._machines.saw(machine, await machine.endpoint.set_minimum(before))
        return None

    async def _remember(self, machine: Machine, minimum: int) -> None:
        """What its minimum was before this move."""
        minima = self._book.record.minima
        if machine.name not in minima:
            note = await self._keeper.store.note(machine.name)
            before = minimum if note is None else note.original
            await self._book.change(minima={**minima, machine.name: before})

    async def _lease(self, machine: Machine, replicas: int, seconds: float) -> Lease:
        text = self._book.record.leases.get(machine.name)
        if text is not None:
            renewed = await self._keeper.renew(lease_of(text), seconds)
            if renewed is not None:
                return renewed
        return await self._keeper.hold(machine.name, replicas, seconds, why=WHY)
