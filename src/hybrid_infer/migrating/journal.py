"""Journal: how far a move to another mode is, kept where any process finds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, cast, get_args

from hybrid_infer.calls.call import ModeChoice
from hybrid_infer.migrating.errors import MigrationBusyError, MigrationError
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.stores.leases.base import LeaseStore

Phase = Literal["warm", "verify", "shift", "switch", "drain", "keep", "stop"]
"""What is being done, in this order:

- warm: the machine of the new mode is made where there is none, brought up and held by a lease;
- verify: both modes are asked, and their answers compared;
- shift: a growing share of the calls goes to the new mode;
- switch: all do;
- drain: calls that are still in the old mode end;
- keep: the new machine stays up for good, and no longer by a lease;
- stop: the old machine is stopped.
"""
PHASES: tuple[Phase, ...] = get_args(Phase)

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A move that is not finished. Written before a phase begins, so that phase may be half done.

    Attributes:
        id: of this move; no other has it.
        before, after: the modes.
        models: as calls name them; None is the client's or the server's only one.
        replicas: that stay up in the new mode; None is one at Together, and what was deployed at Modal.
        step: of the phase shift, which of `steps` (percent of the calls).
        undoing: it is being undone.
        shift: this process moves calls of its own; else others do it when they are told.
        leases: by machine, the lease that holds it, as stores keep it.
        minima: by machine, the minimum at the provider before this move.
        at: seconds since 1970.
        holder: the process that wrote it, for people.
    """

    id: str
    before: ModeChoice
    after: ModeChoice
    models: tuple[str | None, ...]
    phase: Phase = "warm"
    step: int = 0
    undoing: bool = False
    steps: tuple[float, ...] = ()
    dwell: float = 0.0
    replicas: int | None = None
    keep_old: bool = False
    shift: bool = True
    leases: Mapping[str, str] = field(default_factory=dict[str, str])
    minima: Mapping[str, int] = field(default_factory=dict[str, int])
    at: float = 0.0
    holder: str = ""

    def reached(self, phase: Phase) -> bool:
        """Whether that phase has begun, or is over."""
        return PHASES.index(self.phase) >= PHASES.index(phase)


def record_text(record: Record) -> str:
    """As stores keep it."""
    return json.dumps({"version": _VERSION, **asdict(record)}, sort_keys=True)


def record_of(text: str) -> Record:
    """Raises MigrationError where another version of this package wrote it."""
    values = cast("dict[str, Any]", json.loads(text))
    if values.pop("version", None) != _VERSION:
        raise MigrationError(
            "an unfinished move was written by another version of hybrid_infer",
            hint="finish or undo it with that version",
        )
    for name in ("models", "steps"):
        values[name] = tuple(values[name])
    return Record(**values)


class Journal:
    """The record of the unfinished move of one model; there is at most one.

    Raises LeasesUnavailableError where the store does not answer.
    """

    def __init__(self, store: LeaseStore, model: str | None) -> None:
        self.name = f"migration of {model or 'the only model'}"
        self._store = store
        self._text: str | None = None

    async def read(self) -> Record | None:
        self._text = await self._store.journal(self.name)
        return None if self._text is None else record_of(self._text)

    async def write(self, record: Record | None) -> None:
        """Write it in the place of what was read or written here last; None removes it.

        Raises:
            MigrationBusyError: another process has written in between.
        """
        text = None if record is None else record_text(record)
        if not await self._store.set_journal(self.name, text, if_was=self._text):
            raise MigrationBusyError(
                "another process has gone on with this move",
                hint="let that one bring it to its end",
            )
        self._text = text


class Book:
    """The journal of one move while a process works on it.

    What is about to be done is written first. Since each writing takes the place of the one before it, a
    process whose move another one has taken over finds out before its next step, and does nothing any more.
    """

    def __init__(self, journal: Journal, runtime: Runtime, holder: str, record: Record) -> None:
        self.record = record
        self.open = False
        self._journal = journal
        self._runtime = runtime
        self._holder = holder

    async def change(self, **changes: Any) -> None:
        """Write it, with these changes. Raises as `Journal.write`."""
        wall = self._runtime.wall().timestamp()
        record = replace(self.record, at=wall, holder=self._holder, **changes)
        await self._journal.write(record)
        self.record, self.open = record, True

    async def close(self) -> None:
        """There is nothing left to do."""
        await self._journal.write(None)
        self.open = False
