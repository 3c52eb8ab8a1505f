"""A batch of records becomes rows and sums, within one transaction.

Rows go in many at a time, in one statement: SQLite lets go of the interpreter's lock at every step, and where
another thread is busy it comes back only after 5 ms. A row a step took 2.4 ms then, thirty a step 0.02 ms.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, TypeAlias

from hybrid_infer.calls.machines import Role, StateRecord, WaitRecord
from hybrid_infer.calls.records import (
    ABANDONED,
    PROCESS_LENGTH,
    SUCCESS,
    AttemptRecord,
    CallRecord,
    Correction,
)
from hybrid_infer.stores.ledger.buckets import bucket
from hybrid_infer.stores.ledger.schema import (
    ATTEMPT_KIND,
    ATTEMPT_ROW,
    CALL_KIND,
    CALL_ROW,
    CORRECTION_COLUMNS,
    HOUR_NS,
    STATE_COLUMNS,
    SUMS,
    WAIT_COLUMNS,
)

Record: TypeAlias = CallRecord | Correction | StateRecord

CACHE_HIT = "hit"

_AT_ONCE = (32, 8, 1)
"""Rows in one statement: few sizes, since SQLite keeps each statement ready; the largest has 480 values, and
999 are what every SQLite takes."""

_MOST_KNOWN = 20_000
"""Numbers that a process remembers."""

_TAG = CALL_ROW.index("tag_hash")
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
        self._calls: list[tuple[Any, ...]] = []
        self._attempts: list[tuple[Any, ...]] = []
        self._waits: list[tuple[Any, ...]] = []
        self._corrections: list[tuple[Any, ...]] = []
        self._states: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._sums: dict[int, list[int]] = {}
        self._latencies: dict[tuple[int, int], int] = {}
        self._shares: dict[int, tuple[int, int, int, int]] = {}

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            if isinstance(record, CallRecord):
                self._add_call(record)
            elif isinstance(record, Correction):
                self._add_correction(record)
            else:
                self._add_state(record)

    def write(self) -> None:
        """Rows first, then the sums that they change."""
        db = self._db
        _insert(db, "call_rows", (*CALL_ROW, "kind", "total"), self._calls)
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

    def _add_call(self, record: CallRecord) -> None:
        total = self._total(record)
        kind = self._numbers.of(self._db, "call_kinds", CALL_KIND, _call_kind(record))
        row = _call_row(record)
        if record.tag is not None:
            row = (*row[:_TAG], tag_hash(record.tag, self._salt), *row[_TAG + 1 :])
        self._calls.append((*row, kind, total))
        cost, estimated = record.cost_nano, record.cost_estimated
        added = (
            1,
            record.outcome != SUCCESS and record.outcome != ABANDONED,
            len(record.tries),
            0,
            record.input_tokens or 0,
            record.output_tokens or 0,
            record.cached_tokens or 0,
            record.input_tokens is None or record.output_tokens is None,
            cost or 0,
            cost is None,
            estimated,
            cost if estimated and cost is not None else 0,
            record.cold_start,
            record.cache == CACHE_HIT,
            record.saved_nano or 0,
        )
        self._add_sums(total, added)
        if record.outcome == SUCCESS:
            key = total, bucket(max(record.latency_ns, 0))
            self._latencies[key] = self._latencies.get(key, 0) + 1
        for attempt in record.tries:
            self._add_attempt(attempt, total, cost is not None, None)
        for wait in record.waits:
            self._add_wait(wait, total, cost is not None, None)

    def _add_correction(self, record: Correction) -> None:
        total = self._total(record)
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
            self._add_attempt(attempt, total, after is not None, record.id)
        for wait in record.waits:
            self._add_wait(wait, total, after is not None, record.id)

    def _add_attempt(
        self, attempt: AttemptRecord, total: int, cost_known: bool, correction: str | None
    ) -> None:
        kind = self._numbers.of(self._db, "attempt_kinds", ATTEMPT_KIND, _attempt_kind(attempt))
        machine = share = None
        if attempt.machine is not None:
            role: Role = "refused" if attempt.billed is False else "call"
            machine, share = self._add_stay(attempt, attempt.machine, role, total, cost_known)
        self._attempts.append((*_attempt_row(attempt), kind, machine, share, correction))

    def _add_wait(self, wait: WaitRecord, total: int, cost_known: bool, correction: str | None) -> None:
        machine, share = self._add_stay(wait, wait.machine, "wait", total, cost_known)
        self._waits.append((*_wait_row(wait), machine, share, correction))

    def _add_stay(
        self, stay: AttemptRecord | WaitRecord, name: str, role: Role, total: int, cost_known: bool
    ) -> tuple[int, int | None]:
        """The numbers of the machine and, where it took time, of the share."""
        db, numbers = self._db, self._numbers
        machine = numbers.of(db, "machines", ("name",), (name,))
        began, ended, used = stay.began_ns, stay.ended_ns, stay.machine_ns
        if ended <= began:
            return machine, None
        # A machine's time is paid, whether anybody knows that the answer was billed or not.
        counts = cost_known and role != "refused" and used is not None
        key = total, machine, stay.call[:PROCESS_LENGTH], (stay.rate or 0) if counts else 0, role
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

    def _total(self, record: CallRecord | Correction) -> int:
        hour = record.began_ns // HOUR_NS
        key = hour, record.mode, record.model, record.purpose, record.simulated
        return self._numbers.of(self._db, "totals", _LINE, key)


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
    done = 0
    for size in _AT_ONCE:
        statement = _insertion(table, columns, size, then)
        while len(rows) - done >= size:
            db.execute(statement, [value for row in rows[done : done + size] for value in row])
            done += size


@cache
def _insertion(table: str, columns: tuple[str, ...], rows: int, then: str) -> str:
    marks = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([marks] * rows)} {then}"
