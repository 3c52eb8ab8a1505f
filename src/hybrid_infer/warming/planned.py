"""A machine that a schedule wants, and how it comes and goes at its hours."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hybrid_infer.calls.call import Mode
from hybrid_infer.endpoints.schedule import Schedule
from hybrid_infer.runtime.base import log
from hybrid_infer.stores.leases.base import Lease
from hybrid_infer.warming.machine import Machine

if TYPE_CHECKING:
    from hybrid_infer.warming.machines import Machines

MOVE = 5.0
"""Seconds before the end of its hours at which calls leave the machine."""

_OUTSIDE = "it is outside its hours"
_AGAIN = 60.0
_LEAD_FOR = 300.0


class Planned:
    """One machine with its hours.

    Every process moves its own calls by the clock: to the machine once it is known to be up, at the latest
    when its hours begin, and away just before they end. Who is elected also starts and stops it.
    """

    def __init__(self, machines: Machines, model: str, mode: Mode, schedule: Schedule) -> None:
        self.name = f"{mode}/{model}"
        self.machine: Machine | None = None
        self.lease: Lease | None = None
        self._machines = machines
        self._runtime = machines.runtime
        self._model = model
        self._mode: Mode = mode
        self._schedule = schedule
        self._change: datetime | None = None
        self._wanted = False
        self._lead = (float("-inf"), 0.0)
        self._up = False
        self._starting = False
        self._asking = False
        self._renewed = float("-inf")
        self._away = False
        self._again = float("-inf")
        self._next = float("inf")
        target = machines.settings.models[model].targets[mode]
        self._replicas = target.replicas

    @property
    def wanted(self) -> bool:
        """Whether it is wanted now, or about to be."""
        return self._wanted or self.lease is not None

    def begin(self) -> None:
        """Before the first call: outside its hours calls do not even ask the machine."""
        if not self._schedule.wanted(self._runtime.wall()):
            self.machine = self._machines.finder.find(self._model, self._mode)
            if self.machine is not None:
                self._away = True
                self._machines.leave(self.machine, _OUTSIDE)

    async def turn(self) -> None:
        """Do what is due."""
        wall, now = self._runtime.wall(), self._runtime.now()
        if self.machine is None:
            self.machine = self._machines.finder.find(self._model, self._mode)
            if self.machine is None:
                return
        machine = self.machine
        if self._change is None or wall >= self._change:
            self._change, self._wanted = self._schedule.next_change(wall), self._schedule.wanted(wall)
        if now - self._lead[0] >= _LEAD_FOR:
            self._lead = (now, await self._machines.keeper.lead(machine.name))
        lead, left = self._lead[1], (self._change - wall).total_seconds()
        due = self._wanted or left <= lead
        ending = self._wanted and left <= MOVE and not self._goes_on(self._change, lead)
        self._next = left if not due else left - MOVE if self._wanted and not ending else left
        if not due:
            self._next = left - lead
        await self._move(machine, open_=(self._wanted and not ending) or (due and self._up and not ending))
        if due:
            await self._keep(machine, now)
        elif self.lease is not None or self._asking:
            await self.let_go()

    def pause(self) -> float:
        """Seconds until something is due."""
        return max(0.05, self._next)

    async def renew(self) -> None:
        """Renew the lease, where it is time."""
        held, now, seconds = self.lease, self._runtime.now(), self._machines.settings.lease_seconds
        if held is None or now - self._renewed < seconds / 3:
            return
        self._renewed = now
        lease = await self._machines.keeper.renew(held, seconds)
        if self.lease is not held:  # let go of meanwhile
            return
        self.lease = lease
        if lease is None:  # it was stopped on purpose, and is not to come back in these hours
            log.warning("%s was stopped during its hours", held.machine)
            self._up = False
            self._again = now + max(self._next, _AGAIN)

    async def let_go(self) -> None:
        """Give the machine back."""
        lease, self.lease, self._up, self._asking = self.lease, None, False, False
        if lease is not None and self.machine is not None:
            await self._machines.release(self.machine, lease)
            if self._away:
                self._machines.leave(self.machine, _OUTSIDE)

    def begin_anew(self) -> None:
        """What was done beside the loop is gone, with the event loop."""
        self._starting = False

    def forget(self) -> None:
        """The lease is another process's."""
        self.lease, self._up, self._starting, self._asking = None, False, False, False

    def taken(self) -> None:
        """The lease was given back by somebody else, e.g. since the budget for idle machines is spent."""
        self.lease, self._up = None, False
        self._again = self._runtime.now() + _AGAIN

    def _goes_on(self, end: datetime, lead: float) -> bool:
        """Whether it is wanted again so soon after the end that it stays up."""
        return self._schedule.due(end + timedelta(seconds=1), lead)

    async def _move(self, machine: Machine, *, open_: bool) -> None:
        """Lead calls to the machine or away from it, where that is another way than before."""
        if open_:
            if self._away:
                self._away = False
                self._machines.stay(machine)
            return
        others = [
            lease
            for lease in await self._machines.keeper.leases(machine.name)
            if lease.kind == "asked" and lease.live(self._runtime.wall().timestamp())
        ]
        if others and self._away:
            self._away = False
            self._machines.stay(machine)
        elif not others:
            self._away = True
            coming = self.lease is not None and not self._wanted
            self._machines.leave(machine, "it comes up for its hours" if coming else _OUTSIDE)

    async def _keep(self, machine: Machine, now: float) -> None:
        """Hold it, and have it come up."""
        seconds = self._machines.settings.lease_seconds
        keeper = self._machines.keeper
        if self.lease is None:
            if now < self._again or not await keeper.elected(f"schedule of {machine.name}", seconds):
                return
            if self._asking:
                self._machines.beside(lambda: machine.endpoint.warm(1, timeout=seconds))
        if self.lease is None and not self._asking:
            before = await self._machines.look(machine)
            if before.life != "warm":
                await self._machines.tell(
                    "before_warm", machine, state=before, reason=f"schedule {self._schedule}"
                )
            self._again = now + _AGAIN
            if before.minimum is None:  # nothing can be kept: it is asked again and again
                self._asking, self._again = True, now
            else:
                self.lease = await keeper.hold(
                    machine.name, self._replicas, seconds, why=f"schedule {self._schedule}", kind="schedule"
                )
                if self._machines.closed:
                    await self.let_go()
                    return
            self._renewed = now
        if not self._up and not self._starting and (self.lease is not None or self._asking):
            self._starting = True
            self._machines.beside(lambda: self._bring_up(machine))

    async def _bring_up(self, machine: Machine) -> None:
        began = self._runtime.now()
        try:
            before = machine.last or await self._machines.look(machine)
            await self._machines.bring_up(
                machine,
                self._replicas,
                before,
                began=began,
                needed=lambda: self.lease is not None,
            )
            self._up = self.lease is not None or self._asking
        finally:
            self._starting = False
