"""Upkeep: what a client does for its machines in the background, in one loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from hybrid_infer.errors import ClientClosedError, HybridInferError
from hybrid_infer.policies import schedules
from hybrid_infer.runtime.base import Promise, log
from hybrid_infer.warming.machine import STARTED, Machine
from hybrid_infer.warming.planned import Planned
from hybrid_infer.warming.unused import Unused

if TYPE_CHECKING:
    from hybrid_infer.warming.machines import Held, Machines

TURN = 30.0
"""Seconds between two turns, at most."""

LOOK_EVERY = 60.0
"""Seconds between two looks at a machine that is up: as often as providers bill."""


class Upkeep:
    """Renews leases, keeps schedules, pings, stops what is idle, and tidies up after processes that died.

    What only one process of all shall do is done by the one that the store of leases elects. Every step is
    contained: what fails is logged, and done again at the next turn.
    """

    def __init__(self, machines: Machines) -> None:
        settings = machines.settings
        self._machines = machines
        self._runtime = machines.runtime
        self._ended: Promise | None = None
        self._swept = float("-inf")
        self._sweeping = False
        self._warmed = not (settings.upkeep and settings.warm_at_start)
        self._planned = [
            Planned(machines, name, mode, schedule)
            for (name, mode), schedule in schedules(settings).items()
            if settings.upkeep and mode in STARTED
        ]
        spans = (settings.keep_alive, settings.idle_stop, settings.idle_budget)
        looking = settings.upkeep and any(span is not None for span in spans)
        self._unused = Unused(machines, self._planned) if looking else None
        self.asked = looking or bool(self._planned) or not self._warmed
        """Whether there is something to do though nobody has asked for a machine yet."""
        self._said: dict[str, float] = {}

    def wake(self) -> None:
        """Begin the loop, unless it runs. Does nothing where there is no event loop yet."""
        if self._ended is not None:
            return
        try:
            self._machines.enter()
        except (RuntimeError, HybridInferError):  # no event loop runs, or the client is used in another one
            return
        self._ended = ended = self._runtime.promise()
        for planned in self._planned:
            try:
                planned.begin()
            except HybridInferError as error:
                self._complain(planned.name, error)

        async def renew() -> None:
            await self._again_and_again(self._renewals, ended)

        async def turn() -> None:
            await self._again_and_again(self._turn, ended)

        # Renewals wait for nobody: whatever takes long in the other loop, no lease ends meanwhile.
        if self._runtime.detach(renew) is None or self._runtime.detach(turn) is None:
            ended.keep()  # no thread is to be had; the next call tries again
            self._ended = None

    def begin_anew(self) -> None:
        """The loop of before is gone, with its event loop."""
        self._ended = None
        self._sweeping = False
        for planned in self._planned:
            planned.begin_anew()

    def enter_child(self) -> None:
        """What is held is the parent's."""
        self._ended = None
        for planned in self._planned:
            planned.forget()

    def end(self) -> None:
        if self._ended is not None:
            self._ended.keep()

    async def let_go(self) -> None:
        """Give back what schedules hold."""
        for planned in self._planned:
            await planned.let_go()

    async def _again_and_again(self, work: Callable[[], Coroutine[Any, Any, float]], ended: Promise) -> None:
        while True:
            pause = TURN
            try:
                pause = await work()
            except ClientClosedError:
                return
            except Exception as error:
                self._complain("machines", error)
            if await ended.wait(pause):
                return

    async def _renewals(self) -> float:
        """Renew what is held here; seconds until the next time."""
        now = self._runtime.now()
        for held in list(self._machines.held.values()):
            await self._contained(held.machine.name, self._renew(held, now))
        for planned in self._planned:
            await self._contained(planned.name, planned.renew())
        return min(TURN, self._machines.settings.lease_seconds / 6)

    async def _turn(self) -> float:
        """Everything else that is due; seconds until the next turn."""
        machines, now = self._machines, self._runtime.now()
        if not self._warmed:
            self._warmed = True
            machines.beside(self._warm_all)
        pause = TURN
        for planned in self._planned:
            await self._contained(planned.name, planned.turn())
            pause = min(pause, planned.pause())
        if now - self._swept >= LOOK_EVERY and await machines.keeper.elected("sweep", 2 * LOOK_EVERY):
            self._swept = now
            if not self._sweeping:  # it may wait for the turn of a process that died
                self._sweeping = True
                machines.beside(self._sweep)
        if self._unused is not None:
            await self._unused.turn()
            pause = min(pause, self._unused.pause)
        for machine in self._followed():
            if now - machine.looked >= LOOK_EVERY:
                await self._contained(machine.name, machines.look(machine))
        return max(0.0, pause)

    async def _sweep(self) -> None:
        try:
            await self._machines.sweep()
        finally:
            self._sweeping = False

    def _followed(self) -> list[Machine]:
        """Machines that this process keeps, or saw up."""
        kept = {id(held.machine): held.machine for held in self._machines.held.values()}
        for planned in self._planned:
            if planned.machine is not None and planned.lease is not None:
                kept[id(planned.machine)] = planned.machine
        for machine in self._machines.finder.made():
            if machine.up:
                kept[id(machine)] = machine
        return list(kept.values())

    async def _renew(self, held: Held, now: float) -> None:
        machines, seconds = self._machines, self._machines.settings.lease_seconds
        if held.until is not None:
            if now >= held.until:
                machines.beside(lambda: machines.let_go(held))
            return
        if now - held.renewed < (TURN if held.lease is None else seconds / 3):
            return
        held.renewed = now
        if held.lease is None:
            machines.beside(lambda: held.machine.endpoint.warm(1, timeout=TURN))
            return
        lease = await machines.keeper.renew(held.lease, seconds)
        if lease is None:
            machines.held.pop(id(held), None)
            log.warning("%s was stopped by somebody else while it was needed here", held.machine.name)
        else:
            held.lease = lease

    async def _warm_all(self) -> None:
        """`warm_at_start`: errors are logged, and told to hooks."""
        for machine in self._machines.finder.current():
            try:
                await self._machines.warm(machine.model, wait=False, why="warm_at_start")
            except HybridInferError as error:
                log.warning("%s is not warmed at the start: %s", machine.name, error)
                await self._machines.tell("after_warm", machine, state=machine.last, reason=str(error))

    async def _contained(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except ClientClosedError:
            raise
        except Exception as error:
            self._complain(name, error)

    def _complain(self, name: str, error: Exception) -> None:
        """Log it; of the same machine once in ten minutes."""
        now = self._runtime.now()
        if now - self._said.get(name, float("-inf")) >= 600.0:
            self._said[name] = now
            log.warning("%s is not seen to in the background: %s", name, error)
        else:
            log.debug("%s is not seen to in the background: %s", name, error)
