"""The minimum of one machine, changed by one process at a time, so that kill -9 anywhere can be repaired.

A note says what we are about to do before it is done. Whoever comes next finds leases, note and the minimum
at the provider, and brings them together again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from uuid import uuid4

from hybrid_infer.endpoints.base import Endpoint
from hybrid_infer.endpoints.errors import EndpointConflictError
from hybrid_infer.endpoints.leases import Decision, believed, decide
from hybrid_infer.endpoints.state import EndpointState
from hybrid_infer.runtime.base import Runtime, log
from hybrid_infer.stores.leases.base import Lease, LeaseStore, Note

TURN = 180.0
"""Seconds for which one process may change a machine's minimum: more than a change takes, for which a
provider is given two minutes. One that was killed holds up the others for so long."""

PATIENCE = TURN + 60.0
"""Seconds that a change waits for its turn."""

_AGAIN = (0.2, 2.0)
_LOOKS = (1.0, 2.0, 4.0, 8.0)
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was done about the minimum of a machine.

    Attributes:
        before: what it was; None where the provider was not asked, because there was nothing to do.
        after: what it was set to; None where it was left alone.
        state: as the provider answered; None where it was left alone.
        warning: what somebody should know, e.g. that somebody else changed it. Logged, too.
    """

    machine: str
    before: int | None = None
    after: int | None = None
    state: EndpointState | None = None
    warning: str | None = None


_InTurn: TypeAlias = Callable[[str], Coroutine[Any, Any, Change | None]]
"""What is done in a turn of that name; None where it has to be begun anew."""


class Minimum:
    """Makes the minimum at the provider follow the leases. See `Keeper`, which decides when.

    Args:
        patience: seconds that a change waits for its turn.
    """

    def __init__(self, store: LeaseStore, runtime: Runtime, *, patience: float = PATIENCE) -> None:
        self._store = store
        self._runtime = runtime
        self._patience = patience

    async def follow(self, endpoint: Endpoint, *, asked: bool = False) -> Change:
        """Bring the minimum to what leases need. See `decide`.

        Raises:
            EndpointError: the provider did not do it; what was begun is noted.
            EndpointConflictError: other processes did not let us.
            LeasesUnavailableError: the store did not answer.
        """
        return await self._in_turn(endpoint, lambda turn: self._follow(endpoint, turn, asked))

    async def down(self, endpoint: Endpoint, refused: Callable[[tuple[Lease, ...]], None]) -> Change:
        """Remove the leases and set the minimum to 0, for good.

        Args:
            refused: is given the live leases, and raises where it must not be. Then nothing is done.

        Raises:
            EndpointError: as `follow`.
        """
        return await self._in_turn(endpoint, lambda turn: self._down(endpoint, turn, refused))

    async def _in_turn(self, endpoint: Endpoint, work: _InTurn) -> Change:
        until = self._runtime.now() + self._patience
        for _ in range(_TRIES):
            turn = uuid4().hex
            try:
                await self._take(endpoint.name, turn, until)
                change = await work(turn)
            except GeneratorExit:  # nothing can be awaited any more; the turn ends by itself
                raise
            except BaseException:
                await self._give_back(endpoint.name, turn)
                raise
            await self._give_back(endpoint.name, turn)
            if change is not None:
                return change
        raise EndpointConflictError(
            "its minimum is changed by other processes again and again", where=endpoint.name
        )

    async def _take(self, machine: str, turn: str, until: float) -> None:
        pause = _AGAIN[0]
        while not await self._claim(machine, turn):
            if self._runtime.now() >= until:
                raise EndpointConflictError("another process is changing its minimum", where=machine)
            await self._runtime.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, _AGAIN[1])

    async def _claim(self, machine: str, turn: str) -> bool:
        return await self._store.claim(f"minimum of {machine}", turn, TURN, self._wall())

    async def _give_back(self, machine: str, turn: str) -> None:
        try:
            await self._store.resign(f"minimum of {machine}", turn)
        except Exception as error:
            log.debug("the turn to change %s is left to end by itself: %s", machine, error)

    async def _follow(self, endpoint: Endpoint, turn: str, asked: bool) -> Change | None:
        machine = endpoint.name
        note = await self._store.note(machine)
        if note is None and not asked:
            return Change(machine=machine)
        current = await self._look(endpoint, note)
        leases = await self._store.leases(machine)  # after the slow look: who came meanwhile counts
        step = decide(note, leases, current, asked=asked, now=self._wall())
        if step.target is not None:
            return await self._set(endpoint, turn, note, step, step.target, current)
        if step.note != note and not await self._store.set_note(machine, step.note, if_was=note):
            return None
        return self._changed(machine, current, None, step.warning)

    async def _down(
        self, endpoint: Endpoint, turn: str, refused: Callable[[tuple[Lease, ...]], None]
    ) -> Change | None:
        machine = endpoint.name
        note = await self._store.note(machine)
        current = await self._look(endpoint, note)
        leases = await self._store.leases(machine)
        refused(tuple(lease for lease in leases if lease.live(self._wall())))
        step = Decision(target=0, original=0, note=None)
        return await self._set(endpoint, turn, note, step, 0, current, ending=leases)

    async def _look(self, endpoint: Endpoint, note: Note | None) -> int:
        """The minimum at the provider, looked at again for a while where nobody can have expected it."""
        current = await endpoint.minimum()
        for pause in _LOOKS:
            if believed(note, current, self._wall()):
                break
            await self._runtime.sleep(pause)
            current = await endpoint.minimum()
        return current

    async def _set(
        self,
        endpoint: Endpoint,
        turn: str,
        note: Note | None,
        step: Decision,
        target: int,
        current: int,
        *,
        ending: tuple[Lease, ...] = (),
    ) -> Change | None:
        """Note it, do it, note that it is done. None where somebody else came in between: look anew."""
        machine = endpoint.name
        begun = note.setting if note is not None and not note.left and note.ours(current) else ()
        setting = tuple(dict.fromkeys((*begun, target)))
        intent = Note(original=step.original, set_to=current, setting=setting, at=self._wall())
        if not await self._store.set_note(machine, intent, if_was=note):
            return None
        for lease in ending:
            await self._store.drop(lease.id)
        if not await self._claim(machine, turn):  # a whole turn for what takes longest
            return None
        state = await endpoint.set_minimum(target)
        done = None if step.note is None else replace(step.note, at=self._wall())
        if not await self._store.set_note(machine, done, if_was=intent):
            await self._own_up(machine, target)
            return None
        return self._changed(machine, current, target, step.warning, state)

    async def _own_up(self, machine: str, target: int) -> None:
        """This process was held up beyond its turn, and what it set came after what another one did. That is
        not to be taken for the doing of somebody else."""
        note = await self._store.note(machine)
        if note is not None:
            mended = replace(note, setting=tuple(dict.fromkeys((*note.setting, target))))
            await self._store.set_note(machine, mended, if_was=note)

    def _changed(
        self,
        machine: str,
        before: int,
        after: int | None,
        warning: str | None,
        state: EndpointState | None = None,
    ) -> Change:
        if warning is not None:
            log.warning("%s: %s", machine, warning)
        if after is not None:
            log.info("%s: minimum %d, before %d", machine, after, before)
        return Change(machine=machine, before=before, after=after, state=state, warning=warning)

    def _wall(self) -> float:
        return self._runtime.wall().timestamp()
