"""What an endpoint on Modal remembers between its looks, and how it waits."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import TypeVar

from hybrid_infer.endpoints.errors import EndpointError, EndpointTimeoutError, EndpointUnreachableError
from hybrid_infer.endpoints.state import (
    EndpointAction,
    EndpointChange,
    EndpointEvent,
    EndpointState,
    OnEvent,
    changed,
    followed,
)
from hybrid_infer.runtime.base import Runtime

log = logging.getLogger("hybrid_infer")

E = TypeVar("E", bound=EndpointError)

PATIENCE = 60.0
"""Seconds for which a provider that does not answer is asked again while a machine is waited for."""


class Watch:
    """The last state of one endpoint, and who is told."""

    def __init__(self, name: str, runtime: Runtime) -> None:
        self.name = name
        self.last: EndpointState | None = None
        self._runtime = runtime

    def saw(self, state: EndpointState, on_event: OnEvent | None) -> EndpointState:
        """`state` with its `since`, told where it is another than before."""
        before = self.last
        now = self.last = followed(before, state)
        if changed(before, now):
            self._tell(on_event, EndpointChange(at=now.at, before=before, state=now))
        return now

    def did(self, what: str, on_event: OnEvent | None) -> None:
        self._tell(on_event, EndpointAction(at=self._runtime.wall(), name=self.name, what=what))

    def error(self, kind: type[E], message: str, *, hint: str | None = None) -> E:
        """An error with the state as it was last seen."""
        last = self.last
        said = None if last is None else last.said
        return kind(message, where=self.name, said=said, state=last, hint=hint)

    def _tell(self, on_event: OnEvent | None, event: EndpointEvent) -> None:
        log.debug("%s", event)
        if on_event is not None:
            try:
                on_event(event)
            except Exception:
                log.warning("a listener to an endpoint failed", exc_info=True)


class Waiting:
    """One wait for a machine, until a moment at most.

    Args:
        wanted: where it shall be brought, for the error, e.g. ``"warm"``.
    """

    def __init__(self, watch: Watch, runtime: Runtime, timeout: float, wanted: str) -> None:
        self.began = runtime.now()
        self.until = self.began + timeout
        self._watch = watch
        self._runtime = runtime
        self._wanted = wanted
        self._silent = math.inf

    async def pause(self, seconds: float) -> None:
        """Sleep, but not beyond the end.

        Raises:
            EndpointTimeoutError: the end has come.
        """
        left = self.until - self._runtime.now()
        if left <= 0:
            raise self._watch.error(EndpointTimeoutError, f"not {self._wanted} in time")
        await self._runtime.sleep(min(seconds, left))

    def answered(self) -> None:
        """The provider did."""
        self._silent = math.inf

    def bear(self, error: EndpointUnreachableError) -> None:
        """The provider did not; raises the error once that has been so for too long."""
        now = self._runtime.now()
        self._silent = min(self._silent, now)
        if now - self._silent >= PATIENCE or now >= self.until:
            error.state = self._watch.last
            raise error

    @property
    def waited(self) -> float:
        """Seconds so far."""
        return self._runtime.now() - self.began


def with_state(error: E, state: EndpointState | None) -> E:
    """The error, with the machine as it was last seen."""
    error.state = state
    return error


def as_draining(state: EndpointState) -> EndpointState:
    """What still runs though it was told to stop."""
    return replace(state, life="draining") if state.life == "warm" else state
