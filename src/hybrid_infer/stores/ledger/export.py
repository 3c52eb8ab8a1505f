"""The rows of a ledger for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from hybrid_infer.calls.money import NANO, usd
from hybrid_infer.calls.rows import ATTEMPT_COLUMNS, CALL_COLUMNS
from hybrid_infer.stores.ledger.reader import LedgerReader
from hybrid_infer.stores.ledger.schema import CORRECTION_COLUMNS

Rows = Literal["calls", "attempts", "corrections"]

_MONEY: dict[str, str] = {"cost_nano": "cost_usd", "saved_nano": "saved_usd", "before_nano": "before_usd"}
_FLAGS = {
    *("cold_start", "stream", "tokens_estimated", "cost_estimated", "cost_final", "simulated"),
    *("billed", "lost", "before_estimated"),
}
_SOURCES: dict[Rows, tuple[tuple[str, ...], str, str]] = {
    "calls": (CALL_COLUMNS, "calls", "began_ns"),
    "attempts": (
        (*ATTEMPT_COLUMNS, "machine"),
        "attempts",
        "call, number",
    ),
    "corrections": (CORRECTION_COLUMNS, "corrections", "id"),
}


def export_columns(rows: Rows) -> tuple[str, ...]:
    """The names of what `export_rows` gives: as in the file, but for money, which is USD; the time first."""
    return ("time", *(_MONEY.get(name, name) for name in _SOURCES[rows][0]))


def export_rows(reader: LedgerReader, rows: Rows) -> Iterator[list[Any]]:
    """Each row, as it is read. Time is ISO, UTC, of the begin (of corrections: when they were made), money
    `Decimal`."""
    columns, table, order = _SOURCES[rows]
    at = columns.index("at_ns" if rows == "corrections" else "began_ns")
    changes = [_change(name) for name in columns]
    changed = [(place, change) for place, change in enumerate(changes, 1) if change is not None]
    for row in reader.query(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}"):
        out: list[Any] = [_iso(row[at]), *row]
        for place, change in changed:
            if out[place] is not None:
                out[place] = change(out[place])
        yield out


def _change(name: str) -> Callable[[int], Any] | None:
    return usd if name in _MONEY else bool if name in _FLAGS else None


def _iso(ns: int) -> str:
    seconds, rest = divmod(ns, NANO)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return moment.isoformat(timespec="microseconds")
