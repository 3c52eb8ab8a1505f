"""A function or class on Modal: kept up by its autoscaler's minimum, looked at by its current statistics."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias, TypeVar

from hybrid_infer.endpoints.errors import (
    EndpointConflictError,
    EndpointError,
    EndpointUnreachableError,
)
from hybrid_infer.endpoints.modal_autoscaler import (
    Autoscaler,
    Bounds,
    Connect,
    Container,
    Runners,
    scaled,
    translated,
)
from hybrid_infer.endpoints.modal_watch import Waiting, Watch, as_draining, with_state
from hybrid_infer.endpoints.state import (
    EndpointState,
    HourlyPrice,
    Life,
    OnEvent,
    Replicas,
    next_look,
)
from hybrid_infer.runtime.base import Runtime

T = TypeVar("T")

MODE: Final = "modal"

SHORT = 60.0
"""Seconds for an operation that waits for no container."""

_MOST_SCALES = 3

Probe: TypeAlias = Callable[[], Coroutine[Any, Any, bool]]
"""Whether the function answers a call. Modal queues a call while no container is up."""

Pricing: TypeAlias = Callable[[Container | None], HourlyPrice | None]
"""What one container costs an hour; None asks for what is known without Modal's word."""


class ModalFunctionEndpoint:
    """A deployed function, or a class with all its methods. Fits `Endpoint`.

    Calls of a function are queued while it is cold: none is refused, they take longer. Warm is when as many
    containers run as shall; whether Modal counts those that still load is not known, so a `probe` makes sure.

    A minimum that is set here overrides the deployed one until the app is deployed anew. It has no time to
    live at Modal: if the process dies that set it, containers stay up, and are billed. Whoever sets one takes
    care that it is set back (see `Keeper`, whose leases do).

    Operations may overlap, also in threads. Each has a connection of its own, so nothing is held open between
    operations, whatever the event loop or the process.

    Args:
        name: mode and model, as `Target.name`.
        connect: makes what asks the autoscaler.
        pricing: from what a container asks for to its price.
        probe: asked once the statistics say that all is well, until it says so too.
    """

    def __init__(
        self,
        name: str,
        *,
        runtime: Runtime,
        connect: Connect,
        pricing: Pricing,
        probe: Probe | None = None,
    ) -> None:
        self.name = name
        self._runtime = runtime
        self._connect = connect
        self._pricing = pricing
        self._probe = probe
        self._watch = Watch(name, runtime)
        self._price: HourlyPrice | None = None
        self._priced = False
        self._stopping = False

    async def state(self) -> EndpointState:
        """See `Endpoint.state`."""
        until = self._runtime.now() + SHORT
        return await self._with(lambda autoscaler: self._look(autoscaler, until, None))

    async def minimum(self) -> int:
        """See `Endpoint.minimum`."""
        until = self._runtime.now() + SHORT
        return (await self._with(lambda autoscaler: autoscaler.bounds(until))).minimum

    async def set_minimum(self, replicas: int) -> EndpointState:
        """See `Endpoint.set_minimum`. It lasts until the next deploy of the app."""

        async def set_it(autoscaler: Autoscaler) -> EndpointState:
            self._stopping = False
            until = self._runtime.now() + SHORT
            await self._scale(autoscaler, replicas, until, None)
            return await self._look(autoscaler, until, None)

        return await self._with(set_it)

    async def warm(
        self, replicas: int = 1, *, timeout: float = 1800.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        """See `Endpoint.warm`. Sets the minimum where it is less, and leaves it so."""
        replicas = max(1, replicas)
        self._stopping = False

        async def warm(autoscaler: Autoscaler) -> EndpointState:
            waiting, scales = Waiting(self._watch, self._runtime, timeout, "warm"), 0
            while True:
                await waiting.pause(0.0)
                try:
                    state = await self._look(autoscaler, waiting.until, on_event)
                    waiting.answered()
                    if (state.minimum or 0) < replicas:
                        if scales >= _MOST_SCALES:
                            raise self._watch.error(
                                EndpointConflictError, "its minimum is set lower again and again"
                            )
                        scales += 1
                        await self._scale(autoscaler, replicas, waiting.until, on_event)
                        continue
                    if (state.replicas.ready or 0) >= replicas and await self._probed():
                        return state
                except EndpointUnreachableError as error:
                    waiting.bear(error)
                await waiting.pause(next_look(waiting.waited))

        return await self._with(warm)

    async def stop(
        self, *, wait: bool = True, timeout: float = 900.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        """See `Endpoint.stop`. Containers stop when they have been idle for the function's own scaledown
        window, and calls start new ones."""

        async def stop(autoscaler: Autoscaler) -> EndpointState:
            waiting, told = Waiting(self._watch, self._runtime, timeout, "stopped"), False
            while True:
                await waiting.pause(0.0)
                try:
                    if not told:
                        await self._scale(autoscaler, 0, waiting.until, on_event)
                        self._stopping = told = True
                    state = await self._look(autoscaler, waiting.until, on_event)
                    waiting.answered()
                    if not wait or state.life == "cold":
                        return state
                except EndpointUnreachableError as error:
                    waiting.bear(error)
                await waiting.pause(next_look(waiting.waited))

        return await self._with(stop)

    async def _with(self, work: Callable[[Autoscaler], Coroutine[Any, Any, T]]) -> T:
        autoscaler = translated(self._connect, self.name)
        try:
            return await work(autoscaler)
        except EndpointError as error:
            raise with_state(error, error.state or self._watch.last) from None
        finally:
            await autoscaler.aclose()

    async def _scale(
        self, autoscaler: Autoscaler, replicas: int, until: float, on_event: OnEvent | None
    ) -> None:
        what = await scaled(autoscaler, replicas, min(until, self._runtime.now() + SHORT))
        if what is not None:
            self._watch.did(what, on_event)

    async def _look(self, autoscaler: Autoscaler, until: float, on_event: OnEvent | None) -> EndpointState:
        until = min(until, self._runtime.now() + SHORT)
        bounds, runners = await autoscaler.bounds(until), await autoscaler.runners(until)
        if not self._priced:
            self._price = self._pricing(await autoscaler.container(until))
            self._priced = True
        return self._watch.saw(self._state(bounds, runners), on_event)

    def _state(self, bounds: Bounds, runners: Runners) -> EndpointState:
        ready, minimum = runners.runners, bounds.minimum
        life: Life = "warm" if ready else "warming" if minimum or runners.backlog else "cold"
        state = EndpointState(
            name=self.name,
            life=life,
            replicas=Replicas(ready=ready, starting=max(0, minimum - ready), wanted=max(minimum, ready)),
            minimum=minimum,
            maximum=bounds.maximum,
            routed=None,
            price=self._price,
            said=_said(runners),
            since=None,
            at=self._runtime.wall(),
        )
        return as_draining(state) if self._stopping and not minimum else state

    async def _probed(self) -> bool:
        return self._probe is None or await self._probe()


def _said(runners: Runners) -> str:
    return (
        f"{runners.runners} runners (those still loading may be counted), {runners.inputs} inputs running, "
        f"{runners.backlog} waiting"
    )
