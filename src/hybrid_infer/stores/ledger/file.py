"""A ledger's file, open for writing: made, migrated, written to, and replaced when it is full."""

from __future__ import annotations

import glob
import os
import random
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias, TypeVar

from hybrid_infer.calls.machines import StateRecord
from hybrid_infer.calls.records import CallRecord, Correction
from hybrid_infer.calls.rows import CallRows
from hybrid_infer.stores.ledger.batch import STATEMENTS, Batch, Numbers, Record, unknown_ids
from hybrid_infer.stores.ledger.lock import FileLock
from hybrid_infer.stores.ledger.schema import MIGRATIONS, migrate, version

T = TypeVar("T")

Loss: TypeAlias = tuple[str, int, int, str]
"""Process, time in nanoseconds since 1970, number of records and reason: a row of `losses`."""

PATIENCE = 5.0
"""Seconds to wait for other processes that write."""

_ALONE = 0.5
"""Seconds to wait until no other process has the file open. Those that write let go at once, too."""
_TRY_AGAIN = 5.0
"""Seconds until a file that could not be replaced is tried again; it grows meanwhile."""

_MEASURE_EVERY = 500
"""Records between two looks at the size of the file."""

_BUSY = (5, 6)
"""SQLITE_BUSY and SQLITE_LOCKED."""


def lock_of(path: Path) -> FileLock:
    """The lock that everybody who has the file at `path` open shares."""
    return FileLock(path.with_name(f"{path.name}.lock"))


def full_files(path: Path) -> list[Path]:
    """The files that were replaced by the one at `path`, the oldest first."""
    name = re.compile(rf"{re.escape(path.stem)}-(\d{{8}}T\d{{6}}Z)(?:-(\d+))?{re.escape(_suffix(path))}")
    found: list[tuple[str, int, Path]] = []
    for file in path.parent.glob(f"{glob.escape(path.stem)}-*"):
        if same := name.fullmatch(file.name):
            found.append((same[1], int(same[2] or 0), file))
    return [file for _, _, file in sorted(found)]


def _suffix(path: Path) -> str:
    return path.suffix or ".sqlite"


class LedgerFile:
    """Opened at the first batch. Everything raises `sqlite3.Error`, `OSError` or `UnreadableLedgerError`; the
    file is closed then, and the next batch opens it anew.

    Args:
        max_bytes: a file that has become larger is renamed, and a new one begun.
        lock: see `lock_of`.
        patience: seconds to wait for other processes that write.
    """

    def __init__(self, path: Path, max_bytes: int, lock: FileLock, *, patience: float = PATIENCE) -> None:
        self._path = path
        self._patience = patience
        self._max_bytes = max_bytes
        self._lock = lock
        self._db: sqlite3.Connection | None = None
        self._numbers = Numbers()
        self._salt = b""
        self._replace_after = 0.0
        self._unmeasured = 0

    def write(self, records: Sequence[Record], *, losses: Iterable[Loss] = (), new_only: bool = False) -> int:
        """All of them, or none.

        Args:
            losses: what could not be written before.
            new_only: leave out those that the file holds already.

        Returns:
            how many were written.
        """
        try:
            db = self._open()
            _retrying(lambda: db.execute("BEGIN IMMEDIATE"), self._patience)
            if new_only:
                records = _new(db, records)
            batch = Batch(db, self._numbers, self._salt)
            batch.add(records)
            batch.write()
            for loss in losses:
                db.execute("INSERT OR IGNORE INTO losses VALUES (?, ?, ?, ?)", loss)
            self._unmeasured += len(records)
            measure = self._unmeasured >= _MEASURE_EVERY
            full = measure and _bytes(db) > self._max_bytes
            db.execute("COMMIT")
            self._unmeasured = 0 if measure else self._unmeasured
        except BaseException:
            self.close()
            raise
        if full and time.monotonic() >= self._replace_after:
            self._replace()
        return len(records)

    def close(self) -> None:
        """Let go of the file. What was not committed is rolled back."""
        db, self._db = self._db, None
        self._numbers.forget()
        try:
            if db is not None:
                db.close()
        finally:
            self._lock.release()

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            if not patiently(self._lock.share, self._patience):
                raise TimeoutError(f"{self._lock.path} is held by another process")
            self._db = self._connect()
            self._unmeasured = _MEASURE_EVERY
            _retrying(self._prepare, self._patience)
        return self._db

    def _connect(self) -> sqlite3.Connection:
        # Made here, so that nobody else can read it; SQLite gives its side files the same mode. One that is
        # there must not be opened: closing it would end the locks of all its connections in this process.
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass
        return sqlite3.connect(self._path, timeout=0, isolation_level=None, cached_statements=STATEMENTS)

    def _prepare(self) -> None:
        db = self._db
        assert db is not None  # noqa: S101 - opened above
        version(db, self._path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        if version(db, self._path) < len(MIGRATIONS):
            db.execute("BEGIN IMMEDIATE")
            try:
                migrate(db, self._path, self._salt_of_old() or secrets.token_bytes(16))
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
        self._salt = bytes(db.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()[0])

    def _salt_of_old(self) -> bytes | None:
        """That of the file before, so that tags can be grouped over both."""
        for file in reversed(full_files(self._path)):
            try:
                old = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
            except sqlite3.Error:
                continue
            try:
                return bytes(old.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()[0])
            except (sqlite3.Error, TypeError):
                continue
            finally:
                old.close()
        return None

    def _replace(self) -> None:
        """Rename the file, if nobody else has it open. All who find it full try, and the first does it."""
        self.close()
        try:
            done = patiently(self._lock.take, _ALONE) and self._rename()
        except (sqlite3.Error, OSError):
            done = False
        finally:
            self._lock.release()
        if not done:
            self._replace_after = time.monotonic() + _TRY_AGAIN

    def _rename(self) -> bool:
        """False if the file is full still."""
        db = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            if _bytes(db) <= self._max_bytes:
                return True
            # Puts everything into the one file; refused while anybody else has it open.
            if db.execute("PRAGMA journal_mode = DELETE").fetchone()[0] != "delete":
                return False
        finally:
            db.close()
        self._path.rename(self._new_name())
        return True

    def _new_name(self) -> Path:
        stem = f"{self._path.stem}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        number = 0
        while True:
            name = self._path.with_name(f"{stem}{f'-{number}' if number else ''}{_suffix(self._path)}")
            if not name.exists():
                return name
            number += 1


def _new(db: sqlite3.Connection, records: Sequence[Record]) -> list[Record]:
    """Those that the file does not hold. The ids of calls and corrections are never the same; states may be
    written again."""
    calls = [record.id for record in records if isinstance(record, CallRecord | CallRows)]
    corrections = [record.id for record in records if isinstance(record, Correction)]
    new = unknown_ids(db, "call_rows", calls) | unknown_ids(db, "corrections", corrections)
    return [record for record in records if isinstance(record, StateRecord) or record.id in new]


def _bytes(db: sqlite3.Connection) -> int:
    pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * size)


def patiently(ask: Callable[[], bool], seconds: float) -> bool:
    """Ask until it is granted, `seconds` long. Not all processes at the same moments."""
    end = time.monotonic() + seconds
    while not ask():
        if time.monotonic() >= end:
            return False
        time.sleep(random.uniform(0.001, 0.005))
    return True


def _retrying(work: Callable[[], T], seconds: float) -> T:
    """Do it as soon as other processes let us.

    SQLite's own waiting is not enough: some steps, such as the change to WAL, do not wait at all, and its
    waits grow to 100 ms, in which others always come first.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _BUSY or time.monotonic() >= end:
                raise
        time.sleep(random.uniform(0.001, 0.005))
