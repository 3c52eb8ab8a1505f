"""A server, web function or dedicated endpoint of Modal, reached by its address; and shared endpoints.

Without a container the answer is 503 at once, and the request that got it starts one (Modal docs, servers,
2026-10): asking is how it is warmed. What has no valid proxy token is answered 401 and starts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from hybrid_infer.endpoints.errors import (
    EndpointError,
    EndpointForbiddenError,
    EndpointNotFoundError,
    EndpointUnreachableError,
)
from hybrid_infer.endpoints.modal_autoscaler import (
    Autoscaler,
    Bounds,
    Connect,
    scaled,
    translated,
)
from hybrid_infer.endpoints.modal_function import SHORT, Pricing
from hybrid_infer.endpoints.modal_watch import Waiting, Watch, with_state
from hybrid_infer.endpoints.state import (
    NO_REPLICAS,
    EndpointState,
    HourlyPrice,
    Life,
    OnEvent,
    Replicas,
    next_look,
)
from hybrid_infer.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    ColdError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RedirectError,
)
from hybrid_infer.runtime.base import Runtime

T = TypeVar("T")

ASK_TIMEOUT = 30.0
"""Seconds for one question. A server answers at once; a web function holds it until a container is up."""

ASK_EVERY = 1.0
"""Seconds between questions at first: Modal's own example clients ask once a second."""

_EAGER = 60.0
_TICK = 0.1
_PROXY = "modal-http:"


class Ask(Protocol):
    """Asks an address, with its credentials, whether a model is served there. See `backends.knock.Knock`."""

    async def __call__(self, until: float) -> APIError | None:
        """None where it answers as it should; the error that its answer is, or the lack of one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """What the last question came to. `at` is on the runtime's clock."""

    life: Life
    said: str
    at: float


class ModalServerEndpoint:
    """What stands behind an address at ``*.modal.direct`` or ``*.modal.run``. Fits `Endpoint`.

    Nobody but its own answers tells whether a container is up, and a question starts one. So `state` asks
    only where that costs nothing more: while a minimum keeps containers, or one is starting. Else it is as
    the last answer says, until the scaledown window has passed since. How many containers there are is not
    known.

    The minimum is set through the autoscaler, where that is given. It lasts until the app is deployed anew
    and has no time to live at Modal: whoever sets one takes care that it is set back (see `Keeper`). `warm`
    sets none for one replica: it asks until one answers, and that stops by itself after its window.

    Args:
        name: mode and model, as `Target.name`.
        ask: asks the address.
        connect: makes what asks the autoscaler; None where it cannot be reached.
        lacks: what to set so that it can.
        pricing: from what a container asks for to its price.
        window: seconds a container stays up after its last request, where the autoscaler does not tell.
    """

    def __init__(
        self,
        name: str,
        *,
        runtime: Runtime,
        ask: Ask,
        pricing: Pricing,
        connect: Connect | None = None,
        lacks: str = "",
        window: float = 60.0,
    ) -> None:
        self.name = name
        self._runtime = runtime
        self._ask = ask
        self._pricing = pricing
        self._connect = connect
        self._lacks = lacks
        self._window = window
        self._watch = Watch(name, runtime)
        self._heard: _Heard | None = None
        self._price: HourlyPrice | None = None
        self._priced = False
        self._stopping = False

    async def state(self) -> EndpointState:
        """See `Endpoint.state`. Starts no container.

        Raises:
            EndpointForbiddenError: the proxy token is missing or wrong.
        """
        return await self._with(lambda autoscaler: self._look(autoscaler, None))

    async def minimum(self) -> int:
        """See `Endpoint.minimum`; 0 where the autoscaler cannot be reached."""
        until = self._runtime.now() + SHORT
        bounds = await self._with(lambda autoscaler: self._bounds(autoscaler, until))
        return 0 if bounds is None else bounds.minimum

    async def set_minimum(self, replicas: int) -> EndpointState:
        """See `Endpoint.set_minimum`. It lasts until the next deploy of the app.

        Raises:
            EndpointError: the autoscaler cannot be reached; says what to set.
        """

        async def set_it(autoscaler: Autoscaler | None) -> EndpointState:
            self._stopping = False
            await self._scale(autoscaler, replicas, self._runtime.now() + SHORT, None)
            return await self._look(autoscaler, None)

        return await self._with(set_it)

    async def warm(
        self, replicas: int = 1, *, timeout: float = 1800.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        """See `Endpoint.warm`. More than one replica is set as minimum, which is left so; that all of them
        answer cannot be told, only that one does. One comes up even while the control plane is out."""
        self._stopping = False

        async def warm(autoscaler: Autoscaler | None) -> EndpointState:
            waiting = Waiting(self._watch, self._runtime, timeout, "warm")
            bounds, known = None, False
            while True:
                await waiting.pause(0.0)  # no question in the moment in which time is over
                try:
                    if not known:
                        bounds = await self._enough(autoscaler, replicas, waiting.until, on_event)
                        known = True
                    await self._hear(min(waiting.until, self._runtime.now() + ASK_TIMEOUT))
                    waiting.answered()
                    state = await self._seen(autoscaler, bounds, on_event)
                    if state.serves:
                        return state
                except EndpointUnreachableError as error:
                    waiting.bear(error)
                waited = waiting.waited
                await waiting.pause(ASK_EVERY if waited < _EAGER else next_look(waited))

        return await self._with(warm)

    async def stop(
        self, *, wait: bool = True, timeout: float = 900.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        """See `Endpoint.stop`. A container stops when it has had no request for its window, which nobody can
        be asked: waiting is to let that pass. Requests of others keep it up."""

        async def stop(autoscaler: Autoscaler | None) -> EndpointState:
            waiting = Waiting(self._watch, self._runtime, timeout, "stopped")
            before = await self._bounds(autoscaler, waiting.until)
            if before is not None and before.minimum and self._heard is None:
                self._note("warm", "kept up by a minimum")
            await self._scale(autoscaler, 0, waiting.until, on_event)
            self._stopping = True
            bounds = await self._bounds(autoscaler, waiting.until)
            while True:
                state = await self._seen(autoscaler, bounds, on_event)
                heard = self._heard
                if not wait or state.life == "cold" or heard is None:
                    return state
                await waiting.pause(max(_TICK, heard.at + self._window - self._runtime.now()))

        return await self._with(stop)

    def answered(self) -> None:
        """A call was answered by it just now, as good as a question."""
        self._note("warm", "answered a call")

    async def _with(self, work: Callable[[Autoscaler | None], Coroutine[Any, Any, T]]) -> T:
        autoscaler = None if self._connect is None else translated(self._connect, self.name)
        try:
            return await work(autoscaler)
        except EndpointError as error:
            raise with_state(error, error.state or self._watch.last) from None
        finally:
            if autoscaler is not None:
                await autoscaler.aclose()

    async def _bounds(self, autoscaler: Autoscaler | None, until: float) -> Bounds | None:
        if autoscaler is None:
            return None
        bounds = await autoscaler.bounds(min(until, self._runtime.now() + SHORT))
        self._window = self._window if bounds.window is None else bounds.window
        return bounds

    async def _enough(
        self, autoscaler: Autoscaler | None, replicas: int, until: float, on_event: OnEvent | None
    ) -> Bounds | None:
        """See that more than one will come up; what the autoscaler says then."""
        if replicas <= 1:
            try:
                return await self._bounds(autoscaler, until)
            except EndpointUnreachableError:
                return None  # asking the server itself brings one up
        before = await self._bounds(autoscaler, until)
        if before is None or before.minimum < replicas:
            await self._scale(autoscaler, replicas, until, on_event)
        return await self._bounds(autoscaler, until)

    async def _scale(
        self, autoscaler: Autoscaler | None, replicas: int, until: float, on_event: OnEvent | None
    ) -> None:
        if autoscaler is None:
            if replicas > 0:
                raise EndpointError(
                    "its minimum of containers cannot be set", where=self.name, hint=self._lacks or None
                )
            return
        what = await scaled(autoscaler, replicas, min(until, self._runtime.now() + SHORT))
        if what is not None:
            self._watch.did(what, on_event)

    async def _look(self, autoscaler: Autoscaler | None, on_event: OnEvent | None) -> EndpointState:
        bounds = await self._bounds(autoscaler, self._runtime.now() + SHORT)
        heard = self._heard
        starting = heard is not None and heard.life == "warming" and not self._over(heard)
        if (bounds is not None and bounds.minimum) or starting:
            await self._hear(self._runtime.now() + ASK_TIMEOUT)
        return await self._seen(autoscaler, bounds, on_event)

    async def _seen(
        self, autoscaler: Autoscaler | None, bounds: Bounds | None, on_event: OnEvent | None
    ) -> EndpointState:
        """The state by what is known, without a question."""
        if not self._priced:
            # Once the bounds are known, its control plane was there a moment ago.
            ask = None if bounds is None else autoscaler
            told = None if ask is None else await ask.container(self._runtime.now() + SHORT)
            self._price, self._priced = self._pricing(told), ask is autoscaler
        minimum = 0 if bounds is None else bounds.minimum
        heard = self._heard
        if heard is None or (self._over(heard) and not minimum):
            life: Life = "warming" if minimum else "cold"
            said = "it was not asked lately: a question would start a container"
        else:
            life, said = heard.life, heard.said
        if life == "warm" and self._stopping and not minimum:
            life, said = "draining", f"stops {self._window:g} s after its last request"
        replicas = Replicas(ready=None, starting=None, wanted=minimum or None)
        if life == "warming":
            replicas = Replicas(ready=0, starting=max(1, minimum), wanted=max(1, minimum))
        state = EndpointState(
            name=self.name,
            life=life,
            replicas=NO_REPLICAS if life == "cold" else replicas,
            minimum=minimum if bounds is not None else None,
            maximum=None if bounds is None else bounds.maximum,
            routed=None,
            price=self._price,
            said=said,
            since=None,
            at=self._runtime.wall(),
        )
        return self._watch.saw(state, on_event)

    async def _hear(self, until: float) -> None:
        """Ask once, and note what it came to.

        Raises:
            EndpointForbiddenError: with this token it will never answer, so it is not asked again.
            EndpointNotFoundError: there is no such server.
            EndpointUnreachableError: nobody answered.
        """
        error = await self._ask(until)
        if error is None:
            self._note("warm", "it answers")
            return
        told: dict[str, Any] = {"where": self.name, "said": error.message, "status": error.status}
        if isinstance(error, AuthenticationError | PermissionDeniedError):
            message = "the proxy token is missing or wrong, or not allowed in the server's environment"
            raise EndpointForbiddenError(message, hint=error.hint, **told)
        if isinstance(error, NotFoundError) and (error.body or "").startswith(_PROXY):
            raise EndpointNotFoundError("nothing is served at its address", hint=error.hint, **told)
        if isinstance(error, APIConnectionError) and not isinstance(error, APITimeoutError):
            raise EndpointUnreachableError("it cannot be reached", hint=error.hint, **told)
        self._note(_life(error), error.message)

    def _note(self, life: Life, said: str) -> None:
        self._heard = _Heard(life=life, said=said, at=self._runtime.now())

    def _over(self, heard: _Heard) -> bool:
        """Whether a container that was up then has stopped, if nobody else used it."""
        return self._runtime.now() - heard.at >= self._window


def _life(error: APIError) -> Life:
    """What an answer that is none tells of the containers.

    A question that takes long, or is led on to its result, waits for a container of a web function. A proxy
    says 502 or 504 of one that does not answer it; any other answer is an engine's own, so there is one.
    """
    if isinstance(error, ColdError | RedirectError | APITimeoutError):
        return "warming"
    if isinstance(error, InternalServerError) and not isinstance(error, OverloadedError):
        return "warming"
    return "warm"


class SharedEndpoint:
    """A shared endpoint: machines of Modal's, paid by the token. Always warm; nothing is set or stopped."""

    def __init__(self, name: str, *, runtime: Runtime) -> None:
        self.name = name
        self._runtime = runtime

    async def state(self) -> EndpointState:
        return EndpointState(
            name=self.name,
            life="warm",
            replicas=Replicas(ready=None, starting=None, wanted=None),
            minimum=0,
            maximum=None,
            routed=True,
            price=HourlyPrice(nano=0, source="Modal's shared endpoints are paid by the token"),
            said="a shared endpoint, kept by Modal",
            since=None,
            at=self._runtime.wall(),
        )

    async def minimum(self) -> int:
        return 0

    async def set_minimum(self, replicas: int) -> EndpointState:
        return await self.state()

    async def warm(
        self, replicas: int = 1, *, timeout: float = 1800.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        return await self.state()

    async def stop(
        self, *, wait: bool = True, timeout: float = 900.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        return await self.state()
