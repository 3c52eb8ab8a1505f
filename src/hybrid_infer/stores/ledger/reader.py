"""Reading a ledger, while others write to it."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybrid_infer.calls.machines import StateRecord, WaitRecord
from hybrid_infer.calls.records import AttemptRecord, CallRecord, Correction
from hybrid_infer.calls.rows import ATTEMPT_COLUMNS, CALL_COLUMNS
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.stores.ledger.file import PATIENCE, full_files, lock_of, patiently
from hybrid_infer.stores.ledger.schema import (
    CORRECTION_COLUMNS,
    MIGRATIONS,
    STATE_COLUMNS,
    WAIT_COLUMNS,
    version,
)

_AT_ONCE = 500

_CALL_FLAGS = ("cold_start", "stream", "tokens_estimated", "cost_estimated", "cost_final", "simulated")
_ATTEMPT_FLAGS = ("lost", "tokens_estimated")
_CORRECTION_FLAGS = ("simulated", "before_estimated", "cost_estimated")


def ledger_files(path: Path) -> list[Path]:
    """The files of a ledger: those that became full, the oldest first, and the current one.

    Raises:
        ConfigurationError: there is none.
    """
    path = path.expanduser().absolute()
    files = [*full_files(path), *([path] if path.exists() else [])]
    if not files:
        raise ConfigurationError(
            f"ledger: there is no file {path}; it is made at the first call with HYBRID_INFER_LEDGER={path}"
        )
    return files


class LedgerReader:
    """One file of a ledger, read only. A context manager, or to be closed.

    It shows the file as it was when it was opened, whatever is written meanwhile.

    Raises:
        ConfigurationError: there is no such file, it is no ledger, or one of another version. The methods
            raise it too, where the file turns out to be damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        if not self.path.exists():
            raise ConfigurationError(f"ledger: there is no file {self.path}")
        self._lock = lock_of(self.path)
        try:
            # Nobody replaces the file meanwhile. Where that cannot be said, nobody writes there either.
            if not patiently(self._lock.share, PATIENCE):
                raise ConfigurationError(f"ledger: {self.path} is being replaced; try again")
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                raise ConfigurationError(f"ledger: {self.path} cannot be read: {error}") from None
        self._db: sqlite3.Connection | None = None
        try:
            with self.explained():
                self._db = _connect(self.path)
                found = version(self._db, self.path)
                if 0 < found < len(MIGRATIONS):
                    raise ConfigurationError(
                        f"ledger: {self.path} was written by an older hybrid_infer (version {found}); it is "
                        f"brought up to date at the next call with HYBRID_INFER_LEDGER={self.path}"
                    )
                self.empty = found == 0
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LedgerReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()
        self._lock.release()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """As `query`, for millions of rows: errors are SQLite's own, to be met within `explained`."""
        if self.empty or self._db is None:
            return iter(())
        return self._db.execute(sql, values)

    def query(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a SELECT, as they are read. Of a new file without tables there are none."""
        with self.explained():
            yield from self.rows(sql, values)

    def count(self) -> int:
        """Calls and corrections."""
        return sum(row[0] or 0 for row in self.query("SELECT sum(calls + corrections) FROM totals"))

    def calls(self, *, since: int | None = None, until: int | None = None) -> Iterator[CallRecord]:
        """Calls in the order they began, each with its attempts.

        Args:
            since, until: nanoseconds since 1970; calls that began at or after, and before.
        """
        low, high = -(2**63) if since is None else since, 2**63 - 1 if until is None else until
        rows = self.query(
            f"SELECT {', '.join(CALL_COLUMNS)} FROM calls WHERE began_ns >= ? AND began_ns < ?"
            " ORDER BY began_ns",
            (low, high),
        )
        for part in _parts(rows):
            ids = [row[0] for row in part]
            tries, waits = self._tries(ids, late=False), self._waits(ids, late=False)
            for row in part:
                record = _dict(CALL_COLUMNS, row, _CALL_FLAGS)
                yield CallRecord(
                    **record, tries=tuple(tries.get(row[0], ())), waits=tuple(waits.get(row[0], ()))
                )

    def corrections(self) -> Iterator[Correction]:
        """All corrections, in the order in which they were made by each process."""
        rows = self.query(f"SELECT {', '.join(CORRECTION_COLUMNS)} FROM corrections ORDER BY id")
        for part in _parts(rows):
            ids = [row[1] for row in part]
            tries, waits = self._tries(ids, late=True), self._waits(ids, late=True)
            for row in part:
                record = _dict(CORRECTION_COLUMNS, row, _CORRECTION_FLAGS)
                yield Correction(
                    **record, tries=tuple(tries.get(row[0], ())), waits=tuple(waits.get(row[0], ()))
                )

    def states(self) -> Iterator[StateRecord]:
        """What was told of all machines, in the order of time."""
        columns = ", ".join(f"s.{name}" for name in STATE_COLUMNS)
        for row in self.query(
            f"SELECT {columns}, m.name FROM states s JOIN machines m ON m.id = s.machine ORDER BY at_ns"
        ):
            yield StateRecord(**_dict(STATE_COLUMNS, row, ("simulated",)), machine=row[-1])

    def _tries(self, calls: Sequence[str], *, late: bool) -> dict[str, list[AttemptRecord]]:
        """Attempts of these calls, by call; `late` ones, which came with a correction, by correction."""
        found: dict[str, list[AttemptRecord]] = {}
        marks = ", ".join("?" * len(calls))
        for row in self.query(
            f"SELECT {', '.join(ATTEMPT_COLUMNS)}, machine, correction FROM attempts"
            f" WHERE call IN ({marks}) AND (correction IS NOT NULL) = ? ORDER BY call, number",
            (*calls, late),
        ):
            record = _dict(ATTEMPT_COLUMNS, row, _ATTEMPT_FLAGS)
            billed = record.pop("billed")
            found.setdefault(row[-1] if late else row[0], []).append(
                AttemptRecord(**record, billed=None if billed is None else bool(billed), machine=row[-2])
            )
        return found

    def _waits(self, calls: Sequence[str], *, late: bool) -> dict[str, list[WaitRecord]]:
        """As `_tries`."""
        found: dict[str, list[WaitRecord]] = {}
        columns = ", ".join(f"w.{name}" for name in WAIT_COLUMNS)
        marks = ", ".join("?" * len(calls))
        for row in self.query(
            f"SELECT {columns}, m.name, correction FROM waits w JOIN machines m ON m.id = w.machine"
            f" WHERE call IN ({marks}) AND (correction IS NOT NULL) = ? ORDER BY call, number",
            (*calls, late),
        ):
            wait = WaitRecord(**_dict(WAIT_COLUMNS, row, ()), machine=row[-2])
            found.setdefault(row[-1] if late else row[0], []).append(wait)
        return found

    @contextmanager
    def explained(self) -> Generator[None]:
        """What SQLite says becomes an error of ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise ConfigurationError(f"ledger: {self.path} cannot be read: {error}") from None


def _connect(path: Path) -> sqlite3.Connection:
    where = f"{path.as_uri()}?mode=ro"
    db = sqlite3.connect(where, uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        db.execute("BEGIN")
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        db.close()
        # In a folder that cannot be written to: no side files can be made there, and none are needed unless
        # somebody writes.
        if path.with_name(f"{path.name}-wal").exists():
            raise
        db = sqlite3.connect(f"{where}&immutable=1", uri=True, isolation_level=None)
    return db


def _parts(rows: Iterable[Any]) -> Iterator[list[Any]]:
    part: list[Any] = []
    for row in rows:
        part.append(row)
        if len(part) == _AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _dict(columns: Sequence[str], row: Sequence[Any], flags: Sequence[str]) -> dict[str, Any]:
    record = dict(zip(columns, row, strict=False))
    for flag in flags:
        record[flag] = bool(record[flag])
    return record
