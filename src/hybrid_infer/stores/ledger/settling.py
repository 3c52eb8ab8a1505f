"""A machine that several processes used at a time: its time is divided anew when the ledger is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from operator import itemgetter
from typing import Any, Protocol, TypeAlias

from hybrid_infer.calls.machines import MachineReport, Role, StateChange
from hybrid_infer.calls.money import NANO
from hybrid_infer.stores.ledger.reader import LedgerReader
from hybrid_infer.stores.ledger.schema import HOUR_NS

FIRST, LAST = -(2**20), 2**20
"""Hours before and after all calls, within what nanoseconds since 1970 can say."""

Group: TypeAlias = tuple[Any, int]
"""What a line of the summary is of, as it stands in the file, and whether it was simulated."""

_NANO_HOURS = 3600 * NANO
_LONGEST = 25
"""Hours from the begin of a call's first hour to the end of its last attempt: no timeout exceeds a day."""

_SHARES = """SELECT s.id, {name}, simulated, process, rate, role, machine_ns, began_ns, ended_ns, hour
  FROM machines m CROSS JOIN shares s ON s.machine = m.id CROSS JOIN totals t ON t.id = s.total
  WHERE m.name = ? AND hour >= ? AND hour < ?"""
_STAYS = """SELECT ended_ns, share, began_ns FROM {rows}
  WHERE machine = (SELECT id FROM machines WHERE name = ?) AND share IS NOT NULL
    AND began_ns >= ? AND began_ns < ? ORDER BY began_ns"""
_STATES = """SELECT at_ns, serving, starting, process, rate FROM states
  WHERE machine = (SELECT id FROM machines WHERE name = ?) AND at_ns < ? ORDER BY at_ns"""


class Divide(Protocol):
    """Divides a machine among all who used it: `prices.settling.settle`, at the terms of its mode."""

    def __call__(
        self,
        mode: str,
        nano_per_hour: int | None,
        stays: Iterable[tuple[int, int, int]],
        roles: Sequence[Role],
        *,
        states: Sequence[StateChange],
        marks: Sequence[int] = (),
        alike: Sequence[int] | None = None,
    ) -> tuple[list[int], list[MachineReport]]: ...


@dataclass(frozen=True, slots=True)
class Hours:
    """From `low` on and before `high`, counted from 1970."""

    low: int = FIRST
    high: int = LAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A machine that several processes used at a time, so that its time was divided anew among them.

    Attributes:
        seen: seconds that the processes gave to their attempts, each as if it were alone.
        busy: seconds that calls had the machine: what is counted in the summary.
    """

    machine: str
    processes: int
    seen: float
    busy: float


@dataclass(frozen=True, slots=True)
class Divided:
    """What came of it. `shifts`: what it adds to the known cost of each group, in nano-dollars."""

    settled: Settled
    shifts: dict[Group, Fraction]


@dataclass(frozen=True, slots=True)
class Share:
    """A row of `shares`. `counted`: it is in the hours asked for."""

    group: Group
    process: str
    rate: int
    role: Role
    machine_ns: int
    began: int
    ended: int
    counted: bool


class Used:
    """Everything that the files hold of one machine, in some hours and a day around them.

    Args:
        name: the column of `totals` that groups are made by.
    """

    def __init__(self, readers: Sequence[LedgerReader], machine: str, name: str, hours: Hours) -> None:
        self.machine = machine
        self._readers = readers
        self._hours = hours
        self.shares: list[Share] = []
        self._places: list[dict[int, int]] = []
        self.states: list[StateChange] = []
        self.watchers: set[str] = set()
        """Processes that told of its state."""
        rates: list[tuple[int, int]] = []
        for reader in readers:
            self._places.append({})
            for number, share in self._shares(reader, name):
                self.shares.append(share)
                self._places[-1][number] = len(self.shares)
            for at, serving, starting, process, rate in reader.query(
                _STATES, (machine, hours.high * HOUR_NS)
            ):
                self.states.append(StateChange(at=at, serving=serving, starting=starting))
                self.watchers.add(process)
                rates.append((at, rate or 0))
        rates += [(share.ended, share.rate) for share in self.shares]
        self.rate: int | None = max((one for one in rates if one[1]), default=(0, None))[1]
        """What a replica costs in nano-dollars per hour; where the price has changed, the last one."""

    def divided(
        self, divide: Divide, marks: Sequence[int] = (), *, alike: Sequence[int] | None = None
    ) -> tuple[list[int], list[MachineReport]]:
        """See `Divide`; groups are those of `shares`."""
        mode = self.machine.partition(" ")[0]
        roles: list[Role] = [share.role for share in self.shares]
        with self._readers[0].explained():
            sources = [
                self._stays(reader, rows, placed)
                for reader, placed in zip(self._readers, self._places, strict=True)
                for rows in (["attempt_rows", "waits"] if "wait" in roles else ["attempt_rows"])
            ]
            stays = sources[0] if len(sources) == 1 else merge(*sources, key=itemgetter(2))
            return divide(mode, self.rate, stays, roles, states=self.states, marks=marks, alike=alike)

    def _shares(self, reader: LedgerReader, name: str) -> Iterator[tuple[int, Share]]:
        """Those of the hours asked for, and of a day around them: their attempts took part in the sharing."""
        hours = self._hours
        around = self.machine, hours.low - _LONGEST, hours.high + _LONGEST
        for number, of, simulated, process, rate, role, ns, began, ended, hour in reader.query(
            _SHARES.format(name=name), around
        ):
            counted = hours.low <= hour < hours.high
            yield number, Share((of, simulated), process, rate, role, ns, began, ended, counted)

    def _stays(
        self, reader: LedgerReader, rows: str, places: dict[int, int]
    ) -> Iterator[tuple[int, int, int]]:
        """The stays of these shares, in the order in which they began."""
        hours = self._hours
        # A little more than there can be; what belongs to other shares is left out below.
        span = (hours.low - _LONGEST) * HOUR_NS, (hours.high + 2 * _LONGEST) * HOUR_NS
        found: Iterator[Any] = reader.rows(_STAYS.format(rows=rows), (self.machine, *span))
        if hours == Hours() and all(number == place for number, place in places.items()):
            return found
        return ((ended, places[share], began) for ended, share, began in found if share in places)


def settle(
    readers: Sequence[LedgerReader], machine: str, name: str, hours: Hours, divide: Divide
) -> Divided | None:
    """Divide the time of one machine anew; None where each process knew all there was to know.

    Args:
        name: the column of `totals` that groups are made by.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    used = Used(readers, machine, name, hours)
    everybody = {share.process for share in used.shares}
    if not _overlap(used.shares) and used.watchers <= everybody and (not used.states or len(everybody) < 2):
        return None
    times, _ = used.divided(divide, alike=_alike(used.shares))
    busy = seen = 0
    processes: set[str] = set()
    more: dict[tuple[Group, int], int] = {}
    for share, ns in zip(used.shares, times, strict=True):
        if share.counted:
            key = share.group, share.rate
            more[key] = more.get(key, 0) + ns - share.machine_ns
            busy += ns
            seen += share.machine_ns
            processes.add(share.process)
    if busy == seen and len(processes) < 2:
        return None
    shifts: dict[Group, Fraction] = {}
    for (group, rate), ns in more.items():
        shifts[group] = shifts.get(group, Fraction(0)) + Fraction(ns * rate, _NANO_HOURS)
    settled = Settled(machine=machine, processes=len(processes), seen=seen / NANO, busy=busy / NANO)
    return Divided(settled, shifts)


def _alike(shares: Sequence[Share]) -> list[int] | None:
    """Which of them are added up in the end; None where these take turns so often that nothing is gained."""
    if not shares:
        return None
    numbers: dict[tuple[Group, int, bool], int] = {}
    found = [numbers.setdefault((of.group, of.rate, of.counted), len(numbers)) for of in shares]
    spans: dict[int, tuple[int, int]] = {}
    for number, share in zip(found, shares, strict=True):
        began, ended = spans.get(number, (share.began, share.ended))
        spans[number] = min(began, share.began), max(ended, share.ended)
    whole = max(ended for _, ended in spans.values()) - min(began for began, _ in spans.values())
    return found if sum(ended - began for began, ended in spans.values()) < 2 * whole else None


def _overlap(shares: Iterable[Share]) -> bool:
    """Whether two processes can have had the machine at a time: where not, each saw all there was."""
    spans: dict[str, tuple[int, int]] = {}
    for share in shares:
        began, ended = spans.get(share.process, (share.began, share.ended))
        spans[share.process] = min(began, share.began), max(ended, share.ended)
    latest = FIRST * HOUR_NS
    for began, ended in sorted(spans.values()):
        if began < latest:
            return True
        latest = max(latest, ended)
    return False
