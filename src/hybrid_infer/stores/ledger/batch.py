"""A batch of records becomes rows and sums, within one transaction.

Rows go in many at a time, in one statement: SQLite lets go of the interpreter's lock at every step, and where
another thread is busy it comes back only after 5 ms. A row a step took 2.4 ms then, thirty a step 0.02 ms.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import blake2b
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, TypeAlias

from hybrid_infer.calls.machines import Role, StateRecord, WaitRecord
from hybrid_infer.calls.records import PROCESS_LENGTH, AttemptRecord, CallRecord, Correction
from hybrid_infer.calls.rows import (
    ABANDONED,
    ATTEMPT_KIND,
    ATTEMPT_ROW,
    CALL_KIND,
    CALL_ROW,
    SUCCESS,
    AttemptRows,
    CallRows,
)
from hybrid_infer.stores.ledger.buckets import bucket
from hybrid_infer.stores.ledger.schema import (
    CORRECTION_COLUMNS,
    HOUR_NS,
    STATE_COLUMNS,
    SUMS,
    WAIT_COLUMNS,
)

Record: TypeAlias = CallRecord | CallRows | Correction | StateRecord

CACHE_HIT = "hit"

_AT_ONCE = (64, 32, 16, 8, 4, 2, 1)
"""Rows in one statement: few sizes, since each statement is kept ready (`STATEMENTS` of them); the largest
has 960 values, and 999 are what every SQLite takes."""

STATEMENTS = 256
"""Statements that a connection is to keep ready: those of all sizes and of the columns that are in use."""

_MOST_KNOWN = 20_000
"""Numbers that a process remembers."""

_ID, _BEGAN, _LATENCY = (CALL_ROW.index(name) for name in ("id", "began_ns", "latency_ns"))
_TOKENS = tuple(CALL_ROW.index(f"{name}_tokens") for name in ("input", "output", "cached"))
_line_of = itemgetter(*(CALL_KIND.index(name) for name in ("mode", "model", "purpose", "simulated")))
_OUTCOME, _COLD, _CACHE, _ESTIMATED = (
    CALL_KIND.index(name) for name in ("outcome", "cold_start", "cache", "cost_estimated")
)
_stay_of = itemgetter(*(ATTEMPT_ROW.index(name) for name in ("call", "began_ns", "ended_ns", "machine_ns")))
_BILLED, _RATE = ATTEMPT_KIND.index("billed"), ATTEMPT_KIND.index("rate")
_MODE, _MODEL, _PURPOSE, _SIMULATED = (
    CALL_KIND.index(name) for name in ("mode", "model", "purpose", "simulated")
)
_COST, _SAVED, _TAG = (CALL_ROW.index(name) for name in ("cost_nano", "saved_nano", "tag_hash"))
_call_row, _call_kind = attrgetter(*CALL_ROW), attrgetter(*CALL_KIND)
_attempt_row, _attempt_kind = attrgetter(*ATTEMPT_ROW), attrgetter(*ATTEMPT_KIND)
_wait_row, _state_row = attrgetter(*WAIT_COLUMNS), attrgetter(*STATE_COLUMNS)
_correction_row = attrgetter(*CORRECTION_COLUMNS)

_LINE = ("hour", "mode", "model", "purpose", "simulated")
_SHARE = ("total", "machine", "process", "rate", "role")
_ADD_SUMS = f"UPDATE totals SET {', '.join(f'{name} = {name} + ?' for name in SUMS)} WHERE id = ?"
_ADD_SHARE = """UPDATE shares SET attempts = attempts + ?, machine_ns = machine_ns + ?,
  began_ns = min(coalesce(began_ns, ?), ?), ended_ns = max(coalesce(ended_ns, ?), ?) WHERE id = ?"""


class Numbers:
    """The numbers that kinds, lines, machines and shares have in one file, as far as they were asked for."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[Any, ...]], int] = {}

    def forget(self) -> None:
        """After a transaction that was rolled back, which may have given some of them."""
        self._known.clear()

    def of(self, db: sqlite3.Connection, table: str, columns: tuple[str, ...], key: tuple[Any, ...]) -> int:
        """The number of what has these values; a new one if there is none."""
        number = self._known.get((table, key))
        if number is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            # The names are constants of this package.
            same = " AND ".join(f"{name} IS ?" for name in columns)
            found = db.execute(f"SELECT id FROM {table} WHERE {same}", key).fetchone()
            if found is not None:
                number = int(found[0])
            else:
                number = db.execute(_insertion(table, columns, 1, ""), key).lastrowid or 0
            self._known[table, key] = number
        return number


class _Alike:
    """Calls of one kind that began in one hour; `row`: a row for each, `tries`: attempts of them all."""

    __slots__ = ("kind", "rows", "total", "tries")

    def __init__(self, kind: int, total: int) -> None:
        self.kind = kind
        self.total = total
        self.rows: list[tuple[Any, ...]] = []
        self.tries = 0


class Batch:
    """What one transaction writes.

    Args:
        db: an open file of the current version, in a transaction.
        numbers: of that file; kept from batch to batch.
        salt: that of the file.
    """

    def __init__(self, db: sqlite3.Connection, numbers: Numbers, salt: bytes) -> None:
        self._db = db
        self._numbers = numbers
        self._salt = salt
        self._calls: dict[tuple[int, tuple[Any, ...]], _Alike] = {}
        self._attempts: list[tuple[Any, ...]] = []
        self._attempt_kinds: dict[tuple[Any, ...], int] = {}
        self._waits: list[tuple[Any, ...]] = []
        self._corrections: list[tuple[Any, ...]] = []
        self._states: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._sums: dict[int, list[int]] = {}
        self._latencies: dict[tuple[int, int], int] = {}
        self._shares: dict[int, tuple[int, int, int, int]] = {}

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            if isinstance(record, CallRows):
                self._add_call(record)
            elif isinstance(record, CallRecord):
                self._add_call(_rows(record))
            elif isinstance(record, Correction):
                self._add_correction(record)
            else:
                self._add_state(record)

    def write(self) -> None:
        """Rows first, then the sums that they change."""
        db = self._db
        for (_, kind), alike in self._calls.items():
            self._add_up(kind, alike)
        calls = [row for alike in self._calls.values() for row in alike.rows]
        _insert(db, "call_rows", (*CALL_ROW, "kind", "total"), calls)
        _insert(db, "attempt_rows", (*ATTEMPT_ROW, "kind", "machine", "share", "correction"), self._attempts)
        _insert(db, "waits", (*WAIT_COLUMNS, "machine", "share", "correction"), self._waits)
        _insert(db, "corrections", CORRECTION_COLUMNS, self._corrections)
        _insert(
            db,
            "states",
            (*STATE_COLUMNS, "machine"),
            list(self._states.values()),
            then="ON CONFLICT (machine, at_ns, process) DO UPDATE SET"
            " serving = excluded.serving, starting = excluded.starting, rate = excluded.rate",
        )
        for total, sums in self._sums.items():
            db.execute(_ADD_SUMS, (*sums, total))
        for share, (attempts, machine_ns, began, ended) in self._shares.items():
            db.execute(_ADD_SHARE, (attempts, machine_ns, began, began, ended, ended, share))
        counts = [(total, number, calls) for (total, number), calls in self._latencies.items()]
        _insert(
            db,
            "latencies",
            ("total", "bucket", "calls"),
            counts,
            then="ON CONFLICT (total, bucket) DO UPDATE SET calls = calls + excluded.calls",
        )

    def _add_call(self, record: CallRows) -> None:
        row, kind, tag, tries, waits = record
        key = row[_BEGAN] // HOUR_NS, kind
        alike = self._calls.get(key)
        if alike is None:
            number = self._numbers.of(self._db, "call_kinds", CALL_KIND, kind)
            line = key[0], *_line_of(kind)
            alike = self._calls[key] = _Alike(number, self._numbers.of(self._db, "totals", _LINE, line))
        if tag is not None:
            row = (*row[:_TAG], tag_hash(tag, self._salt), *row[_TAG + 1 :])
        alike.rows.append((*row, alike.kind, alike.total))
        alike.tries += len(tries)
        for attempt in tries:
            self._add_attempt(attempt, alike.total, row[_COST] is not None, None)
        for wait in waits:
            self._add_wait(wait, alike.total, row[_COST] is not None, None)

    def _add_up(self, kind: tuple[Any, ...], alike: _Alike) -> None:
        """The sums of calls of one kind."""
        columns = list(zip(*alike.rows, strict=True))
        calls, costs = len(alike.rows), columns[_COST]
        into, out, cached = (columns[place] for place in _TOKENS)
        outcome, estimated, cost = kind[_OUTCOME], kind[_ESTIMATED], _sum(costs)
        unknown = sum(i is None or o is None for i, o in zip(into, out, strict=True))
        added = (
            calls,
            0 if outcome in (SUCCESS, ABANDONED) else calls,
            alike.tries,
            0,
            _sum(into),
            _sum(out),
            _sum(cached),
            unknown,
            cost,
            costs.count(None),
            calls if estimated else 0,
            cost if estimated else 0,
            calls if kind[_COLD] else 0,
            calls if kind[_CACHE] == CACHE_HIT else 0,
            _sum(columns[_SAVED]),
        )
        self._add_sums(alike.total, added)
        if outcome == SUCCESS:
            for number, count in Counter(map(bucket, columns[_LATENCY])).items():
                key = alike.total, number
                self._latencies[key] = self._latencies.get(key, 0) + count

    def _add_correction(self, record: Correction) -> None:
        line = record.began_ns // HOUR_NS, record.mode, record.model, record.purpose, record.simulated
        total = self._numbers.of(self._db, "totals", _LINE, line)
        self._corrections.append(_correction_row(record))
        after, before = record.cost_nano, record.before_nano
        doubted, doubted_before = record.cost_estimated, record.before_estimated
        added = dict.fromkeys(SUMS, 0)
        added["attempts"] = len(record.tries)
        added["corrections"] = 1
        added["cost_nano"] = (after or 0) - (before or 0)
        added["cost_unknown"] = (after is None) - (before is None)
        added["cost_estimated"] = doubted - doubted_before
        added["estimated_nano"] = (after or 0) * doubted - (before or 0) * doubted_before
        self._add_sums(total, tuple(added.values()))
        for attempt in record.tries:
            self._add_attempt(_tried(attempt), total, after is not None, record.id)
        for wait in record.waits:
            self._add_wait(wait, total, after is not None, record.id)

    def _add_attempt(
        self, attempt: AttemptRows, total: int, cost_known: bool, correction: str | None
    ) -> None:
        row, kind, name = attempt
        number = self._attempt_kinds.get(kind)
        if number is None:
            number = self._numbers.of(self._db, "attempt_kinds", ATTEMPT_KIND, kind)
            self._attempt_kinds[kind] = number
        machine = share = None
        if name is not None:
            role: Role = "refused" if kind[_BILLED] is False else "call"
            call, began, ended, used = _stay_of(row)
            stay = _Stay(call, began, ended, used, kind[_RATE])
            machine, share = self._add_stay(stay, name, role, total, cost_known)
        self._attempts.append((*row, number, machine, share, correction))

    def _add_wait(self, wait: WaitRecord, total: int, cost_known: bool, correction: str | None) -> None:
        stay = _Stay(wait.call, wait.began_ns, wait.ended_ns, wait.machine_ns, wait.rate)
        machine, share = self._add_stay(stay, wait.machine, "wait", total, cost_known)
        self._waits.append((*_wait_row(wait), machine, share, correction))

    def _add_stay(
        self, stay: _Stay, name: str, role: Role, total: int, cost_known: bool
    ) -> tuple[int, int | None]:
        """The numbers of the machine and, where it took time, of the share."""
        db, numbers = self._db, self._numbers
        machine = numbers.of(db, "machines", ("name",), (name,))
        call, began, ended, used, rate = stay
        if ended <= began:
            return machine, None
        # A machine's time is paid, whether anybody knows that the answer was billed or not.
        counts = cost_known and role != "refused" and used is not None
        key = total, machine, call[:PROCESS_LENGTH], (rate or 0) if counts else 0, role
        share = numbers.of(db, "shares", _SHARE, key)
        had = self._shares.get(share)
        self._shares[share] = (
            (1, used or 0, began, ended)
            if had is None
            else (had[0] + 1, had[1] + (used or 0), min(had[2], began), max(had[3], ended))
        )
        return machine, share

    def _add_state(self, state: StateRecord) -> None:
        machine = self._numbers.of(self._db, "machines", ("name",), (state.machine,))
        # Of several words at one moment the last counts.
        self._states[state.process, machine, state.at_ns] = (*_state_row(state), machine)

    def _add_sums(self, total: int, added: Sequence[int]) -> None:
        sums = self._sums.get(total)
        self._sums[total] = (
            list(added) if sums is None else [mine + more for mine, more in zip(sums, added, strict=True)]
        )


class _Stay(NamedTuple):
    """Of an attempt on a machine, or of a wait for one."""

    call: str
    began: int
    ended: int
    used: int | None
    rate: int | None


def _rows(record: CallRecord) -> CallRows:
    tries = tuple(_tried(attempt) for attempt in record.tries)
    return CallRows(_call_row(record), _call_kind(record), record.tag, tries, record.waits)


def _tried(attempt: AttemptRecord) -> AttemptRows:
    return _attempt_row(attempt), _attempt_kind(attempt), attempt.machine


def _sum(values: Iterable[int | None]) -> int:
    """Of those that are known."""
    return sum(filter(None, values))


def tag_hash(tag: str, salt: bytes) -> str:
    """What a ledger keeps of a tag: equal tags have equal hashes in one ledger, and only there."""
    return blake2b(tag.encode("utf-8", "surrogatepass"), key=salt, digest_size=16).hexdigest()


def unknown_ids(db: sqlite3.Connection, table: str, ids: Sequence[str]) -> set[str]:
    """Those of `ids` that `table` (call_rows or corrections) does not hold."""
    find = f"SELECT 1 FROM {table} WHERE id = ?"
    return {one for one in ids if db.execute(find, (one,)).fetchone() is None}


def _insert(
    db: sqlite3.Connection,
    table: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    *,
    then: str = "",
) -> None:
    if not rows:
        return
    # Values that no row has are left out: each costs a tenth of a microsecond a row.
    values = zip(columns, zip(*rows, strict=True), strict=True)
    used = {name: of for name, of in values if of[0] is not None or of.count(None) < len(of)}
    lean, names = list(zip(*used.values(), strict=True)), tuple(used)
    done = 0
    for size in _AT_ONCE:
        while len(lean) - done >= size:
            db.execute(
                _insertion(table, names, size, then), tuple(chain.from_iterable(lean[done : done + size]))
            )
            done += size


@cache
def _insertion(table: str, columns: tuple[str, ...], rows: int, then: str) -> str:
    marks = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([marks] * rows)} {then}"
