"""Together's dedicated endpoints: looked at, warmed, stopped and deleted through the `together` package."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from hybrid_infer.endpoints.errors import (
    CapacityError,
    EndpointConflictError,
    EndpointError,
    EndpointFailedError,
    EndpointNotFoundError,
    EndpointTimeoutError,
    EndpointUnreachableError,
)
from hybrid_infer.endpoints.state import (
    EndpointAction,
    EndpointChange,
    EndpointEvent,
    EndpointState,
    OnEvent,
    changed,
    followed,
    next_look,
)
from hybrid_infer.endpoints.together_calls import HOST, Calls, together_client
from hybrid_infer.endpoints.together_control import Creation, TogetherControl
from hybrid_infer.endpoints.together_steps import (
    Done,
    Goal,
    Impossible,
    MakeDeployment,
    MakeEndpoint,
    Reached,
    Wait,
    next_step,
)
from hybrid_infer.endpoints.together_view import View, answers, state_of
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.settings import Secret, Settings, reveal

log = logging.getLogger("hybrid_infer")

MODE: Final = "together-dedicated"

SETTLE = 30.0
"""Seconds until a change of the split of traffic has effect (Together's docs, 2026-10: about 30)."""

CAPACITY_WAIT = 600.0
"""Seconds for which a provider without GPUs is waited for; it usually finds some (docs, 2026-10)."""

SHORT = 120.0
"""Seconds for an operation that waits for no machine."""

_MOST_CONFLICTS = 8
_LONGEST = 15.0
_CHAT_HOST = "api-inference.together.ai"
"""Serves inference alone (`together` 3.1.1)."""

Connect: TypeAlias = Callable[[], Any]
"""Makes a new `together.Together` or `together.AsyncTogether`; it is closed after each operation."""

Probe: TypeAlias = Callable[[], Coroutine[Any, Any, bool]]
"""Whether the machine answers a request."""


class TogetherEndpoint:
    """A dedicated endpoint of Together. Fits `Endpoint`.

    Operations may overlap, also in threads; whether two that want different things should is the caller's
    matter, and `since` is then a guess. Each has
    a client of the package for itself, so nothing is held open between operations, whatever the event loop or
    the process. The first import of the package takes a third of a second.

    Args:
        runtime: has been checked (`Runtime.check`) in the loop that the operation runs in.
        model: ``<project slug>/<endpoint>``, as inference requests name it; with ``/<deployment>`` it is
            about that deployment alone, else about those that traffic goes to.
        connect: makes a client of the package, of the runtime's colour.
        creation: what to make the endpoint of where there is none; None makes none.
        probe: asked once the control plane says that all is well, until it says so too. Without one, a
            machine that has just become reachable is given `settle` seconds.
        settle: seconds until a change of the split of traffic has effect.
        capacity_wait: seconds without GPUs after which `warm` gives up.
        clean: removes credentials from the provider's words.
    """

    def __init__(
        self,
        model: str,
        *,
        runtime: Runtime,
        connect: Connect,
        creation: Creation | None = None,
        probe: Probe | None = None,
        settle: float = SETTLE,
        capacity_wait: float = CAPACITY_WAIT,
        clean: Callable[[str], str] = str,
    ) -> None:
        self.name = f"{MODE}/{model}"
        self._runtime = runtime
        self._connect = connect
        self._creating = creation is not None
        self._probe = probe
        self._settle = settle
        self._capacity_wait = capacity_wait
        self._clean = clean
        self._control = TogetherControl(model, where=self.name, creation=creation, runtime=runtime)
        self._last: EndpointState | None = None
        self._answered: bool | None = None
        self._arrives = -math.inf

    async def state(self) -> EndpointState:
        """See `Endpoint.state`."""
        async with self._calls() as calls:
            return (await self._look(calls, None))[1]

    async def minimum(self) -> int:
        """See `Endpoint.minimum`."""
        return (await self.state()).minimum or 0

    async def set_minimum(self, replicas: int) -> EndpointState:
        """See `Endpoint.set_minimum`."""
        return await self._reach(self._goal("minimum", replicas), SHORT, None)

    async def warm(
        self, replicas: int = 1, *, timeout: float = 1800.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        """See `Endpoint.warm`. Makes the endpoint where there is none, if it may."""
        return await self._reach(self._goal("warm", max(1, replicas)), timeout, on_event)

    async def stop(
        self, *, wait: bool = True, timeout: float = 900.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        """See `Endpoint.stop`. All deployments of the endpoint stop; the split of traffic stays as it is."""
        kind = self._goal("stop") if wait else self._goal("minimum")
        return await self._reach(kind, timeout, on_event)

    async def delete(self, *, timeout: float = 900.0, on_event: OnEvent | None = None) -> EndpointState:
        """Stop it, and delete its deployments and itself; of a pinned deployment, that one alone.

        Raises:
            EndpointTimeoutError: it has not stopped in time; nothing was deleted yet.
        """
        return await self._reach(self._goal("delete"), timeout, on_event)

    def _goal(self, kind: Any, replicas: int = 0) -> Goal:
        return Goal(kind=kind, replicas=replicas, pinned=self._control.pinned, creating=self._creating)

    def _calls(self) -> Calls:
        return Calls(self._connect(), self._runtime, where=self.name, clean=self._clean)

    async def _reach(self, goal: Goal, timeout: float, on_event: OnEvent | None) -> EndpointState:
        """Look, decide, act, wait, until the goal is reached."""
        async with self._calls() as calls:
            began = self._runtime.now()
            until, done, made, conflicts = began + timeout, Done(), False, 0
            short_since: float | None = None
            while True:
                view, state = await self._look(calls, on_event)
                step = next_step(goal, view, done)
                if isinstance(step, Reached):
                    if goal.kind != "warm" or (state.serves and await self._probed()):
                        return state
                    step = Wait()
                if isinstance(step, Impossible):
                    raise await self._impossible(calls, step, view, state)
                if isinstance(step, Wait):
                    now = self._runtime.now()
                    short_since = (now if short_since is None else short_since) if step.lacks_gpus else None
                    if short_since is not None and now - short_since >= self._capacity_wait:
                        raise await self._no_gpus(calls, state)
                    await self._pause(next_look(now - began), until, goal, state)
                    continue
                try:
                    what = await self._control.act(calls, step, done)
                except EndpointConflictError as error:
                    conflicts += 1
                    if conflicts >= _MOST_CONFLICTS:
                        error.state = state
                        raise
                    await self._pause(min(2.0 ** (conflicts - 1), _LONGEST), until, goal, state)
                except EndpointError as error:
                    error.state = state
                    undo = made and view is not None and isinstance(step, MakeDeployment)
                    if undo and not isinstance(error, EndpointUnreachableError):
                        await self._undo(calls, view, on_event)
                    raise
                else:
                    made = made or isinstance(step, MakeEndpoint)
                    self._tell(on_event, EndpointAction(at=self._runtime.wall(), name=self.name, what=what))

    async def _look(self, calls: Calls, on_event: OnEvent | None) -> tuple[View | None, EndpointState]:
        view = await self._control.read(calls)
        chosen = None if view is None else view.chosen(self._control.pinned)
        price = None if chosen is None else await self._control.price(calls, chosen.hardware)
        state = followed(
            self._last,
            state_of(
                view,
                name=self.name,
                pinned=self._control.pinned,
                price=price,
                settling=self._settling(view),
                at=self._runtime.wall(),
            ),
        )
        before, self._last = self._last, state
        if changed(before, state):
            self._tell(on_event, EndpointChange(at=state.at, before=before, state=state))
        return view, state

    def _settling(self, view: View | None) -> bool:
        """Whether it was seen to become reachable too short a time ago."""
        now, reachable = self._runtime.now(), answers(view, self._control.pinned)
        if reachable and self._answered is False and self._probe is None:
            self._arrives = now + self._settle
        self._answered = reachable
        return reachable and now < self._arrives

    async def _probed(self) -> bool:
        return self._probe is None or await self._probe()

    async def _pause(self, seconds: float, until: float, goal: Goal, state: EndpointState) -> None:
        left = until - self._runtime.now()
        if left <= 0:
            wanted = {"warm": "warm", "minimum": "scaled", "stop": "stopped", "delete": "deleted"}[goal.kind]
            raise self._error(EndpointTimeoutError, f"not {wanted} in time", state)
        await self._runtime.sleep(min(seconds, left))

    async def _undo(self, calls: Calls, view: View | None, on_event: OnEvent | None) -> None:
        """Delete the endpoint whose deployment could not be made: so does Together's own tool."""
        if view is None:
            return
        try:
            what = await self._control.delete_endpoint(calls, view.id)
        except EndpointError as error:
            log.warning("an endpoint that was made for nothing could not be deleted: %s", error)
            return
        self._tell(on_event, EndpointAction(at=self._runtime.wall(), name=self.name, what=what))

    async def _no_gpus(self, calls: Calls, state: EndpointState) -> EndpointError:
        error = self._error(CapacityError, "Together has no GPUs for it", state)
        room = await self._control.with_room(calls)
        if room:
            error.hint = f"{error.hint}; with room at the moment: {', '.join(room)}"
        return error

    async def _impossible(
        self, calls: Calls, step: Impossible, view: View | None, state: EndpointState
    ) -> EndpointError:
        if step.why == "failed" and view is not None:
            error = self._error(EndpointFailedError, "the deployment failed", state)
            excerpt = await self._control.log_of(calls, view)
            if excerpt is not None:
                error.said = self._clean(f"{error.said}: {excerpt}")
            return error
        if step.why == "fought over":
            return self._error(EndpointConflictError, "its replicas are set again and again", state)
        return EndpointNotFoundError(
            state.said,
            where=self.name,
            state=state,
            hint="make it, or say what it is made of (weights, gpu, gpus): then warm() makes it",
        )

    def _error(self, kind: type[EndpointError], message: str, state: EndpointState) -> EndpointError:
        return kind(message, where=self.name, said=state.said, state=state)

    def _tell(self, on_event: OnEvent | None, event: EndpointEvent) -> None:
        log.debug("%s", event)
        if on_event is not None:
            try:
                on_event(event)
            except Exception:
                log.warning("a listener to an endpoint failed", exc_info=True)


def together_endpoint(
    settings: Settings,
    name: str,
    *,
    runtime: Runtime,
    blocking: bool,
    weights: str | None = None,
    config: str | None = None,
    inactive_minutes: int | None = None,
    connect: Connect | None = None,
    probe: Probe | None = None,
) -> TogetherEndpoint:
    """The endpoint of logical model `name`, or of Together's own ``<slug>/<endpoint>``.

    Args:
        blocking: the colour of `runtime`.
        weights, config, inactive_minutes: see `Creation`; without weights, nothing is made.
        connect: in the place of the package's own client, for a simulated provider.

    Raises:
        ConfigurationError: the model has no dedicated endpoint, or there is no credential for it.
    """
    entry = settings.models.get(name)
    target = None if entry is None else entry.target(MODE)
    if entry is not None and (target is None or target.model is None):
        raise ConfigurationError(
            f'model "{name}" has no dedicated endpoint: '
            f'add `{MODE} = {{ model = "<project slug>/<endpoint>" }}` to [models.{name}]'
        )
    model = name if target is None or target.model is None else target.model
    creation = None
    if weights is not None:
        creation = Creation(
            weights=weights,
            gpu=None if target is None else target.gpu,
            gpus=1 if target is None else target.gpus,
            config=config,
            inactive_minutes=inactive_minutes,
        )
    key = settings.together_api_key
    if target is not None and target.api_key is not None and _is_home(target.url):
        key = target.api_key
    if connect is None:
        if key is None:
            raise ConfigurationError(
                f"{MODE}/{model} is started and stopped with Together's API key: set TOGETHER_API_KEY"
            )
        connect = _connecting(_control_address(settings.together_base_url), key, blocking)

    def clean(text: str) -> str:
        return text if key is None else text.replace(reveal(key), "[credential]")

    return TogetherEndpoint(
        model, runtime=runtime, connect=connect, creation=creation, probe=probe, clean=clean
    )


def _connecting(address: str, key: Secret, blocking: bool) -> Callable[[], Any]:
    """What makes a client of Together's package; the credential is asked for then, and not before."""
    return lambda: together_client(base_url=address, api_key=reveal(key), blocking=blocking)


def _control_address(base_url: str | None) -> str:
    """Where the control plane is; the credential goes there alone. The host of chat has none."""
    if base_url is None or urlsplit(base_url).hostname == _CHAT_HOST:
        return HOST
    return base_url


def _is_home(url: str | None) -> bool:
    """Whether a model's own key is one of Together's: its address is Together's, or none."""
    if url is None:
        return True
    parts = urlsplit(url)
    return parts.scheme == "https" and (parts.hostname or "").endswith((".together.ai", ".together.xyz"))
