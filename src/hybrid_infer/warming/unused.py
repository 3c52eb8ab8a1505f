"""Machines that nobody uses: pinged so that they stay up, or stopped after a while; and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybrid_infer.endpoints.errors import EndpointConflictError
from hybrid_infer.errors import ClientClosedError
from hybrid_infer.runtime.base import log
from hybrid_infer.warming.machine import PROBE_TIMEOUT, Machine

if TYPE_CHECKING:
    from hybrid_infer.warming.machines import Machines
    from hybrid_infer.warming.planned import Planned

_TELL_EVERY = 15.0
"""Seconds between two words to other processes that a machine is in use."""

_AGAIN = 60.0


class Unused:
    """Sees to the machines that calls go to, by when a call used them last.

    Each process notes in the store of leases when it used a machine, so that who is elected to stop it knows
    of all of them.
    """

    def __init__(self, machines: Machines, planned: Sequence[Planned]) -> None:
        self._machines = machines
        self._runtime = machines.runtime
        self._planned = planned
        self._told: dict[str, float] = {}
        self._turned: float | None = None
        self._began: float | None = None
        self._again: dict[str, float] = {}

    async def turn(self) -> None:
        """Do what is due."""
        now = self._runtime.now()
        if self._began is None:
            self._began = now
        passed = 0.0 if self._turned is None else now - self._turned
        self._turned = now
        for machine in self._machines.finder.current():
            try:
                await self._see_to(machine, now, passed)
            except ClientClosedError:
                raise
            except Exception as error:
                log.debug("%s: %s", machine.name, error)

    @property
    def pause(self) -> float:
        """Seconds until something may be due."""
        settings = self._machines.settings
        spans = [span for span in (settings.keep_alive, settings.idle_stop) if span is not None]
        return max(1.0, min((span / 4 for span in spans), default=60.0))

    async def _see_to(self, machine: Machine, now: float, passed: float) -> None:
        settings = self._machines.settings
        using = self._in_use(machine)
        if using:
            machine.used, machine.idle = now, False
            await self._say_used(machine, now)
            if (answered := getattr(machine.endpoint, "answered", None)) is not None:
                answered()
        elif settings.idle_budget is not None:
            await self._count(machine, passed)
        if settings.idle_stop is not None and not machine.idle and not using:
            await self._stop(machine, now, settings.idle_stop)
        if settings.keep_alive is not None and not machine.idle and machine.used is not None:
            await self._ping(machine, now, settings.keep_alive)

    def _in_use(self, machine: Machine) -> bool:
        """Whether a call uses it, or did since the last turn."""
        known = self._machines.finder.known(machine)
        meter = None if known is None else known.meter
        if meter is None:  # nobody can tell, so it is not stopped for being idle
            return True
        report = meter.report(self._runtime.now())
        before, machine.attributed = machine.attributed, report.attributed.ns - report.waited.ns
        return meter.in_flight > 0 or machine.attributed > before

    async def _say_used(self, machine: Machine, now: float) -> None:
        if now - self._told.get(machine.name, float("-inf")) < _TELL_EVERY:
            return
        self._told[machine.name] = now
        store, entry = self._machines.keeper.store, f"use of {machine.name}"
        before = await store.journal(entry)
        await store.set_journal(entry, f"{self._runtime.wall().timestamp():.3f}", if_was=before)

    async def _count(self, machine: Machine, passed: float) -> None:
        """Idle time of what is kept for its schedule, against the budget."""
        last = machine.last
        planned = [plan for plan in self._planned if plan.machine is machine and plan.lease is not None]
        if not planned or last is None or not last.replicas.ready:
            return
        keeper = self._machines.keeper
        if not await keeper.idle(machine.name, passed, price=last.price, replicas=last.replicas.ready):
            for plan in planned:
                plan.taken()

    async def _stop(self, machine: Machine, now: float, after: float) -> None:
        """Stop it once no process has used it for so long."""
        needed = any(plan.machine is machine and plan.wanted for plan in self._planned)
        if needed or any(held.machine is machine for held in self._machines.held.values()):
            return
        if now < self._again.get(machine.name, 0.0):
            return
        idle = await self._idle_for(machine, now)
        if idle < after:
            return
        self._again[machine.name] = now + _AGAIN
        keeper = self._machines.keeper
        if not await keeper.elected(f"idle stop of {machine.name}", 2 * _AGAIN):
            return
        state = await self._machines.look(machine)
        if state.life not in ("warming", "warm"):
            return
        await self._machines.tell("on_idle", machine, state=state, seconds=idle)
        try:
            await self._machines.take_down(machine, state, f"no call came for {idle:.0f} s")
        except EndpointConflictError as error:
            log.debug("%s is idle, and left alone: %s", machine.name, error)
            return
        machine.idle = True
        log.info("%s is stopped: no call came for %.0f s", machine.name, idle)

    async def _idle_for(self, machine: Machine, now: float) -> float:
        """Seconds since the last use by any process; since this one began where there was none."""
        began = self._began if self._began is not None else now
        mine = now - (machine.used if machine.used is not None else began)
        said = await self._machines.keeper.store.journal(f"use of {machine.name}")
        theirs = float("inf") if not said else self._runtime.wall().timestamp() - float(said)
        return min(mine, theirs)

    async def _ping(self, machine: Machine, now: float, every: float) -> None:
        last = max(machine.used or 0.0, machine.pinged)
        if now - last < every or (machine.last is not None and machine.last.life in ("cold", "absent")):
            return
        if any(plan.machine is machine and not plan.wanted for plan in self._planned):
            return
        if await self._machines.keeper.elected(f"ping of {machine.name}", 2 * every):
            machine.pinged = now
            await self._machines.finder.target(machine).probe(now + PROBE_TIMEOUT)
