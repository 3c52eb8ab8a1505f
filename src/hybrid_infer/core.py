"""Core: what both clients share. It holds the current assembly, and moves to another one on a switch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hybrid_infer.assembly import Assembly, Parts
from hybrid_infer.calls.call import MODES, Call, Mode
from hybrid_infer.calls.hybrid import Hybrid
from hybrid_infer.calls.reply import Ending, Reply
from hybrid_infer.errors import ClientClosedError, InvalidCallError
from hybrid_infer.prices.book import PriceBook
from hybrid_infer.runtime.base import Leftovers, Runtime
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.world import World
from hybrid_infer.telemetry.spans import Spans
from hybrid_infer.transport.base import Transport
from hybrid_infer.transport.environment import Limits
from hybrid_infer.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

MakeTransport = Callable[..., Transport]
"""`transport.choose.blocking_transport` or `async_transport`."""


class Core:
    """Runs calls. Every call is counted into the assembly it began with and ends there."""

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        make_transport: MakeTransport,
        http_client: Any,
        tracer_provider: TracerProvider | None,
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        limits = Limits(
            connect_timeout=settings.connect_timeout,
            max_connections=settings.max_connections,
            max_keepalive=settings.max_keepalive,
            keepalive_expiry=settings.keepalive_expiry,
        )

        def transport() -> Transport:
            return make_transport(
                clock=runtime.now, limits=limits, environ=os.environ, http_client=http_client
            )

        self._parts = Parts(
            settings=settings,
            runtime=runtime,
            transport=transport,
            world=World(seed=settings.simulate_seed, dedicated=settings.simulate_dedicated)
            if settings.simulate
            else None,
            spans=Spans(VERSION, tracer_provider),
            prices=PriceBook(),
            meters={},
            leftovers=Leftovers(),
        )
        self._guard = runtime.guard()
        self._closed = False
        self._retired: list[Assembly] = []
        self._current = Assembly(self._parts, settings.mode)
        self._current.check()

    @property
    def mode(self) -> Mode:
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
            if self._closed:
                raise ClientClosedError("this client is closed; make a new one")
            if not here:
                # The old connections belong to an event loop that is gone: nothing can close them any more.
                # The meters went by its clock.
                self._parts.meters.clear()
                self._current = Assembly(self._parts, self._current.mode)
            assembly = self._current
            assembly.calls.add(id(call))
        try:
            reply = await assembly.serve(call)
        except BaseException:
            assembly.calls.discard(id(call))
            await self._reap()
            raise

        def leave(_: Ending) -> None:
            assembly.calls.discard(id(call))

        reply.on_end(leave)
        if reply.ending is None:
            await reply.on_finish(self._reap)
        else:
            await self._reap()
            reply.value.hybrid = Hybrid.of(call, reply.facts)
        return reply

    async def switch(self, mode: Mode) -> None:
        """See `Client.switch`."""
        if mode not in MODES:
            raise InvalidCallError(f"mode={mode!r}: must be one of {', '.join(MODES)}")
        assembly = Assembly(self._parts, mode)
        assembly.check()
        with self._guard:
            if self._closed:
                raise ClientClosedError("this client is closed; make a new one")
            old, self._current = self._current, assembly
            self._retired.append(old)
        await self._reap()

    async def aclose(self) -> None:
        """Close all connections, those of calls in flight too. Harmless when repeated."""
        with self._guard:
            self._closed = True
            assemblies, self._retired = [*self._retired, self._current], []
        self._parts.leftovers.sweep()
        for assembly in assemblies:
            await assembly.aclose()

    async def _reap(self) -> None:
        """Close the assemblies that were switched away from and that no call uses any more."""
        if not self._retired:
            return
        with self._guard:
            empty = [assembly for assembly in self._retired if not assembly.calls]
            self._retired = [assembly for assembly in self._retired if assembly not in empty]
        for assembly in empty:
            await assembly.aclose()
