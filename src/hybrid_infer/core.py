"""Core: what both clients share. It holds the current assembly, and moves to another one on a switch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from hybrid_infer.assembly import Assembly
from hybrid_infer.calls.call import CHOICES, Call, Mode, ModeChoice, Tally
from hybrid_infer.calls.hybrid import Hybrid, Later
from hybrid_infer.calls.reply import Ending, Reply
from hybrid_infer.colours import Colour
from hybrid_infer.errors import ClientClosedError, DeadlineExceededError, InvalidCallError
from hybrid_infer.hooks import HookEvent, hooks_of
from hybrid_infer.parts import parts_of, renewed
from hybrid_infer.policies import schedules
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.fork import mend_after_fork
from hybrid_infer.settings import Settings
from hybrid_infer.telemetry.content import Redact

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from hybrid_infer.calls.machines import MachineReport
    from hybrid_infer.simulator.world import World
    from hybrid_infer.warming.machines import Machines


class Core:
    """Runs calls. Every call is counted into the assembly it began with and ends there."""

    def __init__(
        self,
        settings: Settings,
        colour: Colour,
        http_client: Any,
        tracer_provider: TracerProvider | None,
        world: World | None = None,
        *,
        meter_provider: MeterProvider | None = None,
        redact: Redact | None = None,
    ) -> None:
        self._settings = settings
        self._runtime = runtime = colour.runtime
        self._awaits = colour.awaits
        kept = schedules(settings)  # what is wrong with them is told at once
        self.hooks = hooks_of(settings, runtime.guard(), takes_async=colour.awaits)
        self._parts = parts_of(
            settings,
            colour,
            self.hooks,
            http_client=http_client,
            world=world,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            redact=redact,
        )
        self._guard = runtime.guard()
        self._closed = False
        self._retired: list[Assembly] = []
        self._current = Assembly(self._parts, settings.mode)
        self._current.check()
        self._machines: Machines | None = None
        mend_after_fork(self, Core._begin_anew)
        if settings.upkeep and (kept or settings.warm_at_start or settings.keep_alive or settings.idle_stop):
            self.machines.wake()

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    @property
    def mode(self) -> ModeChoice:
        return self._current.mode

    def describe(self) -> str:
        return self._current.describe()

    async def run(self, call: Call) -> Reply:
        """Send a call through the stack of the current assembly.

        Raises:
            ClientClosedError, EventLoopError: see there.
            APIError: it did not end well.
        """
        here = self._runtime.check()
        self._parts.leftovers.sweep()
        with self._guard:
            assembly = self._here(here)
            assembly.calls.add(id(call))
        if self._machines is not None:
            self._machines.wake()
        try:
            reply = await assembly.serve(call)
        except BaseException:
            assembly.calls.discard(id(call))
            await self._reap()
            raise
        if reply.ending is not None:
            assembly.calls.discard(id(call))
            if self._retired:
                await self._reap()
            self._told(call, reply)
            return reply
        reply.on_end(partial(_leave, assembly, call))
        await reply.on_finish(self._reap)
        return reply

    def _told(self, call: Call, reply: Reply) -> None:
        """A complete answer, with what is known of the call."""
        if call.operation.startswith("functions."):
            from hybrid_infer.calls.functions import FunctionReply

            reply.value = FunctionReply(value=reply.value, hybrid=Hybrid.of(call, reply.facts))
            return
        value = reply.value
        value.learn(Later(call, reply.facts))
        if call.shape is not None:
            value.expect(call.shape)

    @property
    def machines(self) -> Machines:
        """What warms and stops machines; made at first use."""
        if self._machines is None:
            from hybrid_infer.warming.machines import Machines
            from hybrid_infer.warming.places import lease_store

            parts = self._parts
            store = lease_store(self._settings, self._runtime, redis=parts.redis, world=parts.world)
            self._machines = Machines(parts, self._assembly, store, blocking=not self._awaits)
        return self._machines

    def wake(self) -> None:
        """Begin what is done in the background, where the settings ask for it."""
        if self._machines is not None:
            self._machines.wake()

    @property
    def assembly(self) -> Assembly:
        """That of now. Raises ClientClosedError."""
        return self._assembly()

    @property
    def leaving(self) -> int:
        """Calls in flight that began before the last switches."""
        return sum(len(assembly.calls) for assembly in self._retired.copy())

    def _assembly(self) -> Assembly:
        here = self._runtime.check()
        with self._guard:
            return self._here(here)

    def _here(self, here: bool) -> Assembly:
        """The current assembly, made anew where the connections were made elsewhere. For the guard's holder.

        Raises:
            ClientClosedError: see there.
        """
        if self._closed:
            raise ClientClosedError("this client is closed; make a new one")
        if not here:
            # The old connections belong to an event loop that is gone: nothing can close them any more.
            # What is known of the machines went by its clock.
            self._parts.machines.clear()
            if self._parts.flights is not None:
                self._parts.flights.forget()
            self._current = Assembly(self._parts, self._current.mode)
            if self._machines is not None:
                self._machines.upkeep.begin_anew()
        return self._current

    async def wait_for(self, call: Call, every: float) -> Any:
        """Ask again and again, until the answer is no longer `underway`.

        Args:
            call: asks; its time limit is that of all of them together.
            every: seconds between two.

        Raises:
            DeadlineExceededError: it still is, at the end of that time.
        """
        if not every > 0:
            raise InvalidCallError(f"every={every!r}: must be seconds above 0")
        runtime = self._runtime
        total = call.timeouts.total or self._settings.timeout
        until = runtime.now() + total
        while True:
            answer = (await self.run(call.changed(tally=Tally()))).value
            if not answer.underway:
                return answer
            if runtime.now() + every >= until:
                raise DeadlineExceededError(
                    f"{answer.id} was still {answer.status} after {total:g} s",
                    billed=None,
                    hint="it goes on at the provider: wait for it again, or give more time with timeout=",
                )
            await runtime.sleep(every)

    async def switch(self, mode: ModeChoice) -> None:
        """See `Client.switch`."""
        if mode not in CHOICES:
            raise InvalidCallError(f"mode={mode!r}: must be one of {', '.join(CHOICES)}")
        assembly = Assembly(self._parts, mode)
        assembly.check()
        with self._guard:
            if self._closed:
                raise ClientClosedError("this client is closed; make a new one")
            old, self._current = self._current, assembly
            self._retired.append(old)
        await self._reap()
        await self.hooks.fire(
            HookEvent(name="on_switch", at=self._runtime.wall(), mode=mode, before=old.mode)
        )

    async def aclose(self) -> None:
        """Close all connections, those of calls in flight too. Harmless when repeated."""
        if self._machines is not None and not self._closed:
            await self._machines.aclose()
        with self._guard:
            self._closed = True
            assemblies, self._retired = [*self._retired, self._current], []
        self._parts.leftovers.sweep()
        for assembly in assemblies:
            await assembly.aclose()
        if self._parts.cache is not None:
            await self._parts.cache.store.aclose()
        if self._parts.redis is not None:
            await self._parts.redis.aclose()
        if self._parts.books is not None:
            self._parts.books.ledger.close()

    def observe(self, mode: Mode, model: str | None, serving: int | None, starting: int = 0) -> None:
        """Whoever knows the state of a machine says so here, as often as it changes: the meter counts from
        now on, and the ledger tells the other processes. Does nothing where the machine is not paid by time.

        Args:
            mode, model: as calls name the machine's target.
            serving, starting: replicas that serve, and that come up; None is no longer known.

        Raises:
            ConfigurationError: there is no such target.
        """
        self._current.observe(mode, model, serving, starting)

    def machine(self, mode: Mode, model: str | None) -> MachineReport | None:
        """What a machine was billed for so far, as far as this client can tell; None where it is not paid by
        time."""
        return self._current.machine(mode, model)

    def _begin_anew(self) -> None:
        """In a forked process: threads, connections and calls in flight are its parent's alone."""
        self._parts = renewed(self._parts)
        self._guard = self._runtime.guard()
        self._retired = []
        self._current = Assembly(self._parts, self._current.mode)

    async def _reap(self) -> None:
        """Close the assemblies that were switched away from and that no call uses any more."""
        if not self._retired:
            return
        with self._guard:
            empty = [assembly for assembly in self._retired if not assembly.calls]
            self._retired = [assembly for assembly in self._retired if assembly not in empty]
        for assembly in empty:
            await assembly.aclose()


def _leave(assembly: Assembly, call: Call, _: Ending) -> None:
    assembly.calls.discard(id(call))
