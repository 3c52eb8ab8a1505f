"""Waiting for a machine that was told to come up. Telling is the keeper's matter; here it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hybrid_infer.endpoints.errors import (
    CapacityError,
    EndpointConflictError,
    EndpointError,
    EndpointFailedError,
    EndpointTimeoutError,
    EndpointUnreachableError,
)
from hybrid_infer.endpoints.state import EndpointState, next_look
from hybrid_infer.errors import ClientClosedError
from hybrid_infer.warming.machine import PROBE_TIMEOUT, Machine

if TYPE_CHECKING:
    from hybrid_infer.warming.watching import Watching

CAPACITY_WAIT = 600.0
"""Seconds for which a provider without room is waited for; it mostly finds some (Together docs, 2026-10)."""

SILENCE = 60.0
"""Seconds for which a control plane that does not answer is asked again."""

LATE = 60.0
"""Seconds for which a provider may still show what was before the last change."""


async def come_up(
    watching: Watching, machine: Machine, replicas: int, *, timeout: float, needed: Callable[[], bool]
) -> EndpointState:
    """Wait until so many replicas are up, and one request was answered. Changes no minimum, so that it never
    undoes what the keeper, or somebody else, has decided meanwhile.

    Args:
        needed: whether it is still waited for.

    Raises:
        EndpointTimeoutError, CapacityError, EndpointFailedError: it is not up in time, or will not be.
        EndpointConflictError: somebody else stopped it, or it was let go of.
    """
    runtime, began = watching.runtime, watching.runtime.now()
    crowded: float | None = None
    silent: float | None = None
    told = False
    while True:
        if not needed():
            raise _error(EndpointConflictError, "it was let go of while it came up", machine)
        try:
            state = await watching.look(machine)
        except EndpointUnreachableError as error:
            silent = runtime.now() if silent is None else silent
            if runtime.now() - silent >= SILENCE or runtime.now() - began >= timeout:
                error.state = machine.last
                raise
            await runtime.sleep(next_look(runtime.now() - began))
            continue
        silent, now = None, runtime.now()
        if state.life == "failed":
            raise await _failed(machine, replicas)
        enough = state.replicas.ready is None or state.replicas.ready >= replicas
        if state.serves and enough and await _answers(watching, machine):
            return machine.last or state
        if state.minimum is not None and state.minimum < replicas and now - began >= LATE:
            raise _error(EndpointConflictError, "its minimum was lowered while it came up", machine)
        if state.life == "cold" and (state.minimum or 0) >= replicas and not told:
            told = True  # stopped by its own timeout it has to be told the same again
            await machine.endpoint.set_minimum(state.minimum or replicas)
            continue
        crowded = (now if crowded is None else crowded) if "capacity" in state.said.lower() else None
        if crowded is not None and now - crowded >= CAPACITY_WAIT:
            raise _error(CapacityError, "the provider has no room for it", machine)
        left = began + timeout - now
        if left <= 0:
            raise _error(EndpointTimeoutError, "not warm in time", machine)
        await runtime.sleep(min(next_look(now - began), left))


async def _answers(watching: Watching, machine: Machine) -> bool:
    """Whether one token comes back. A server on Modal was asked by the look itself."""
    if machine.mode == "modal":
        return True
    target = watching.finder.target(machine)
    return await target.probe(watching.runtime.now() + PROBE_TIMEOUT)


async def _failed(machine: Machine, replicas: int) -> EndpointError:
    """The error, with the end of the engine's log where the endpoint gives it without doing anything."""
    if not machine.made_of:
        try:
            await machine.endpoint.warm(replicas, timeout=1.0)
        except ClientClosedError:
            raise
        except EndpointError as error:
            return error
    return _error(EndpointFailedError, "it failed while it came up", machine)


def _error(kind: type[EndpointError], message: str, machine: Machine) -> EndpointError:
    said = None if machine.last is None else machine.last.said
    return kind(message, where=machine.name, said=said, state=machine.last)
