"""Watching: what is seen of machines is told to meters, listeners and hooks; and where calls go meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

from hybrid_infer.assembly import Assembly
from hybrid_infer.endpoints.state import (
    EndpointChange,
    EndpointEvent,
    EndpointState,
    OnEvent,
    changed,
)
from hybrid_infer.errors import ClientClosedError, HybridInferError
from hybrid_infer.hooks import HookEvent, HookName
from hybrid_infer.parts import Parts
from hybrid_infer.runtime.base import log
from hybrid_infer.warming.machine import Finder, Machine


class Watching:
    """Looks at the machines of one client.

    Args:
        current: checks the runtime and gives the assembly of now; raises ClientClosedError.
        blocking: the colour of the runtime.
    """

    def __init__(self, parts: Parts, current: Callable[[], Assembly], *, blocking: bool) -> None:
        self.parts = parts
        self.settings = parts.settings
        self.runtime = parts.runtime
        self.finder = Finder(parts, current, blocking=blocking)
        self._current = current
        self._blocking = blocking
        self._stops: list[Callable[[], None]] = []
        self._closed = False

    async def look(self, machine: Machine) -> EndpointState:
        """Look at it, and tell the meter and the ledger what is seen."""
        machine.looked = self.runtime.now()
        state = await machine.endpoint.state()
        self.saw(machine, state)
        return state

    def saw(self, machine: Machine, state: EndpointState) -> None:
        """The meter and the ledger count from now on with what was seen."""
        before, machine.last = machine.last, state
        if machine.listeners and changed(before, state):
            machine.tell(EndpointChange(at=state.at, before=before, state=state))
        if machine.stopped and state.life == "warm":
            machine.stopped = False
            self.stay(machine)
        serving, starting = state.replicas.ready, state.replicas.starting or 0
        if state.life in ("absent", "cold", "failed"):
            serving = starting = 0
        try:
            self._current().observe(machine.mode, machine.model, serving, starting)
        except HybridInferError as error:  # closed meanwhile
            log.debug("the state of %s is not recorded: %s", machine.name, error)

    @property
    def closed(self) -> bool:
        """Whether the client is closed, or about to be."""
        return self._closed

    def leave(self, machine: Machine, why: str) -> None:
        """From now on calls go first to who else may answer them."""
        self._mark(machine, why)

    def stay(self, machine: Machine) -> None:
        """Calls go to the machine as they did."""
        self._mark(machine, None)

    def _mark(self, machine: Machine, why: str | None) -> None:
        try:
            known = self.finder.known(machine)
        except HybridInferError:  # closed meanwhile
            return
        if known is not None:
            known.leaving = why

    async def tell(
        self,
        name: HookName,
        machine: Machine,
        *,
        state: EndpointState | None = None,
        seconds: float | None = None,
        reason: str = "",
    ) -> None:
        """Call the hooks of a name."""
        hooks = self.parts.hooks
        if hooks.wants(name):
            await hooks.fire(
                HookEvent(
                    name=name,
                    at=self.runtime.wall(),
                    mode=machine.mode,
                    model=machine.model,
                    target=machine.name,
                    seconds=seconds,
                    reason=reason,
                    state=state,
                )
            )

    def beside(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Begin work in the background. Its errors are logged."""

        async def contained() -> None:
            try:
                await work()
            except ClientClosedError:
                return
            except Exception as error:
                level = logging.DEBUG if self._closed else logging.WARNING
                log.log(level, "a machine could not be seen to: %s", error)

        stop = self.runtime.detach(contained)
        if stop is None:
            log.warning("a machine is not seen to in the background: no thread is to be had")
        else:
            self._stops = [*self._stops[-99:], stop]

    async def surely(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it to its end, though the caller be cancelled meanwhile. Its errors are logged."""
        done = self.runtime.promise()

        async def kept() -> None:
            try:
                await work()
            except Exception as error:
                log.warning("a machine could not be let go of, and is when its lease ends: %s", error)
            finally:
                done.keep()

        if self._blocking or self.runtime.detach(kept) is None:
            await kept()
        else:
            await done.wait(float("inf"))

    def told_of(self, machine: Machine, event: EndpointEvent) -> None:
        if isinstance(event, EndpointChange):
            self.saw(machine, event.state)
        else:
            machine.tell(event)

    @contextmanager
    def listening(self, machine: Machine, on_event: OnEvent | None) -> Generator[None]:
        if on_event is None:
            yield
            return
        machine.listeners.append(on_event)
        try:
            yield
        finally:
            machine.listeners.remove(on_event)
