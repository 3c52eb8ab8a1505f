"""What machines cost that are paid by time: used, cold starts, idle; from the records of all processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hybrid_infer.calls.machines import MachineReport, StateChange
from hybrid_infer.stores.ledger.reader import LedgerReader
from hybrid_infer.stores.ledger.schema import HOUR_NS
from hybrid_infer.stores.ledger.settling import FIRST, LAST, Divide, Hours, Used


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine.

    Attributes:
        name: mode, host and model (see `machine_name`).
        simulated: nothing was paid for it.
        rate: nano-dollars per hour of a replica; None is unknown.
        processes: those that used it.
        followed: somebody told of its state.
        reports: one for each span of time that was asked for.
        starts, up_at_end: for each of them, how many replicas came into service, and how many were up at its
            end; as far as was told.
    """

    name: str
    simulated: bool
    rate: int | None
    processes: int
    followed: bool
    reports: tuple[MachineReport, ...]
    starts: tuple[int, ...]
    up_at_end: tuple[int, ...]

    @property
    def mode(self) -> str:
        return self.name.split(" ")[0]

    @property
    def host(self) -> str:
        return self.name.split(" ")[1]

    @property
    def model(self) -> str:
        return self.name.removesuffix(SIMULATED).split(" ", 2)[2]


SIMULATED = " (simulated)"
_MACHINES = "SELECT name FROM machines"


def machines(files: Sequence[Path], marks: Sequence[int], *, divide: Divide) -> Iterator[Machine]:
    """Every machine of a ledger.

    Args:
        marks: whole hours, as nanoseconds since 1970, in ascending order: there is a report of the time
            between any two. None is one report of everything.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    hours = Hours(marks[0] // HOUR_NS, marks[-1] // HOUR_NS) if marks else Hours(FIRST, LAST)
    with ExitStack() as stack:
        readers = [stack.enter_context(LedgerReader(file)) for file in files]
        for name in sorted({row[0] for reader in readers for row in reader.query(_MACHINES)}):
            used = Used(readers, name, "NULL", hours)
            _, reports = used.divided(divide, marks, alike=[0] * len(used.shares))
            starts, up = _service(used.states, marks or (-(2**63), 2**63))
            yield Machine(
                name=name,
                simulated=name.endswith(SIMULATED),
                rate=used.rate,
                processes=len({share.process for share in used.shares if share.counted}),
                followed=bool(used.states),
                reports=tuple(reports),
                starts=starts,
                up_at_end=up,
            )


def _service(states: Sequence[StateChange], marks: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Between any two moments: how many replicas came into service, and how many were up at the end."""
    ordered = sorted(states, key=lambda state: state.at)
    starts, up = [0] * (len(marks) - 1), [0] * (len(marks) - 1)
    for place, (since, until) in enumerate(pairwise(marks)):
        before = 0
        for state in ordered:
            if state.at < until:
                now = state.serving or 0
                starts[place] += max(0, now - before) if state.at >= since else 0
                before = now
        up[place] = before
    return tuple(starts), tuple(up)
