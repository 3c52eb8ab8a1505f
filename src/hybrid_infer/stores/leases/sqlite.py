"""Leases in a file, for all processes of one machine.

Each operation opens the file, does one transaction and closes it: nothing is open in between that a fork
could inherit or a killed process could leave locked. An operation takes some milliseconds, without
waiting: where another process writes, the caller's runtime waits a little, and tries again.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.runtime.base import Runtime, new_guard
from hybrid_infer.stores.leases.base import (
    KEPT_STARTS,
    Lease,
    LeasesUnavailableError,
    Note,
    lease_of,
    lease_text,
    note_of,
    note_text,
)
from hybrid_infer.stores.sqlite_version import version_of

T = TypeVar("T")

APPLICATION_ID = 0x48494C45
"""Tells leases from other SQLite files ("HILE")."""

VERSION = 1
"""The version of the tables below."""

PATIENCE = 5.0
"""Seconds that an operation waits for other processes."""

_TABLES = (
    """CREATE TABLE leases (
      id TEXT PRIMARY KEY, machine TEXT NOT NULL, expires REAL NOT NULL, lease TEXT NOT NULL
    )""",
    "CREATE TABLE notes (machine TEXT PRIMARY KEY, note TEXT NOT NULL)",
    "CREATE TABLE roles (role TEXT PRIMARY KEY, holder TEXT NOT NULL, until REAL NOT NULL)",
    "CREATE TABLE journals (entry TEXT PRIMARY KEY, text TEXT NOT NULL)",
    "CREATE TABLE starts (id INTEGER PRIMARY KEY, machine TEXT NOT NULL, seconds REAL NOT NULL)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)

_BUSY = (5, 6)
"""SQLITE_BUSY and SQLITE_LOCKED."""
_BROKEN = (11, 26)
"""SQLITE_CORRUPT and SQLITE_NOTADB."""
_CLOSED = (8, 14)
"""SQLITE_READONLY and SQLITE_CANTOPEN."""

_one_at_a_time = new_guard()
"""Held for each transaction. A fork waits for it: SQLite in a child would take its parent's locks for its
own."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_one_at_a_time.acquire, after_in_parent=_one_at_a_time.release)


class SqliteLeases:
    """Fits `LeaseStore`. The file is made at the first operation; nobody else may read it.

    Args:
        path: on a disk of this machine: SQLite's locks do not hold on network file systems.
        patience: seconds that an operation waits for other processes.
    """

    def __init__(self, path: str | os.PathLike[str], runtime: Runtime, *, patience: float = PATIENCE) -> None:
        self.path = Path(path).expanduser().absolute()
        self._runtime = runtime
        self._patience = patience

    async def put(self, lease: Lease, *, renewing: bool = False) -> Lease | None:
        """See `LeaseStore.put`."""

        def work(db: sqlite3.Connection) -> Lease | None:
            row = db.execute("SELECT lease FROM leases WHERE id = ?", (lease.id,)).fetchone()
            if row is not None or not renewing:
                db.execute(
                    "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)",
                    (lease.id, lease.machine, lease.expires, lease_text(lease)),
                )
            return None if row is None else lease_of(row[0])

        return await self._do(work)

    async def drop(self, lease_id: str, *, expired_at: float | None = None) -> bool:
        """See `LeaseStore.drop`."""

        def work(db: sqlite3.Connection) -> bool:
            statement = "DELETE FROM leases WHERE id = ? AND (? IS NULL OR expires <= ?)"
            return db.execute(statement, (lease_id, expired_at, expired_at)).rowcount > 0

        return await self._do(work)

    async def leases(self, machine: str | None = None) -> tuple[Lease, ...]:
        """See `LeaseStore.leases`."""

        def work(db: sqlite3.Connection) -> tuple[Lease, ...]:
            statement = "SELECT lease FROM leases WHERE ? IS NULL OR machine = ? ORDER BY rowid"
            return tuple(lease_of(text) for (text,) in db.execute(statement, (machine, machine)))

        return await self._do(work)

    async def note(self, machine: str) -> Note | None:
        """See `LeaseStore.note`."""
        return note_of(await self._do(lambda db: _value(db, "notes", machine)))

    async def noted(self) -> tuple[str, ...]:
        """See `LeaseStore.noted`."""
        return await self._do(lambda db: tuple(name for (name,) in db.execute("SELECT machine FROM notes")))

    async def set_note(self, machine: str, note: Note | None, *, if_was: Note | None) -> bool:
        """See `LeaseStore.set_note`."""
        return await self._do(lambda db: _replace(db, "notes", machine, note_text(if_was), note_text(note)))

    async def claim(self, role: str, holder: str, seconds: float, now: float) -> bool:
        """See `LeaseStore.claim`."""

        def work(db: sqlite3.Connection) -> bool:
            row = db.execute("SELECT holder, until FROM roles WHERE role = ?", (role,)).fetchone()
            if row is not None and row[0] != holder and now < row[1]:
                return False
            db.execute("INSERT OR REPLACE INTO roles VALUES (?, ?, ?)", (role, holder, now + seconds))
            return True

        return await self._do(work)

    async def resign(self, role: str, holder: str) -> None:
        """See `LeaseStore.resign`."""
        await self._do(
            lambda db: db.execute("DELETE FROM roles WHERE role = ? AND holder = ?", (role, holder)).rowcount
        )

    async def journal(self, entry: str) -> str | None:
        """See `LeaseStore.journal`."""
        return await self._do(lambda db: _value(db, "journals", entry)) or None

    async def set_journal(self, entry: str, text: str | None, *, if_was: str | None) -> bool:
        """See `LeaseStore.set_journal`. No text is the same as an empty one."""
        return await self._do(lambda db: _replace(db, "journals", entry, if_was or "", text or ""))

    async def starts(self, machine: str) -> tuple[float, ...]:
        """See `LeaseStore.starts`."""
        statement = "SELECT seconds FROM starts WHERE machine = ? ORDER BY id"
        return await self._do(lambda db: tuple(value for (value,) in db.execute(statement, (machine,))))

    async def add_start(self, machine: str, seconds: float) -> None:
        """See `LeaseStore.add_start`."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO starts (machine, seconds) VALUES (?, ?)", (machine, seconds))
            db.execute(
                "DELETE FROM starts WHERE machine = ? AND id NOT IN "
                "(SELECT id FROM starts WHERE machine = ? ORDER BY id DESC LIMIT ?)",
                (machine, machine, KEPT_STARTS),
            )

        await self._do(work)

    async def aclose(self) -> None:
        """Nothing: nothing is open between operations."""

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """One transaction, as soon as other processes let us."""
        until = self._runtime.now() + self._patience
        while True:
            try:
                with _one_at_a_time:
                    return self._transaction(work)
            except sqlite3.Error as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if code in _BROKEN:
                    raise ConfigurationError(
                        f"leases: {self.path} is damaged or no SQLite file ({error}); move it away, "
                        "and look at the providers for machines that are up"
                    ) from error
                if code in _CLOSED:
                    raise ConfigurationError(f"leases: {self.path} cannot be opened ({error})") from error
                if code not in _BUSY:
                    raise LeasesUnavailableError(f"{self.path}, which keeps them: {error}") from error
                if self._runtime.now() >= until:
                    raise LeasesUnavailableError(
                        f"{self.path}, which keeps them, is held by another process"
                    ) from error
            except OSError as error:
                raise ConfigurationError(f"leases: {self.path} cannot be made ({error})") from error
            await self._runtime.sleep(random.uniform(0.001, 0.01))

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        _make(self.path)
        address = f"{self.path.as_uri()}?mode=rw"
        db = sqlite3.connect(address, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            if not _known(db, self.path):
                db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # a note must outlive the machine we run on
            db.execute("BEGIN IMMEDIATE")
            if not _known(db, self.path):
                for statement in _TABLES:
                    db.execute(statement)
            result = work(db)
            db.execute("COMMIT")
            return result
        finally:
            db.close()  # rolls back what was not committed

    def __repr__(self) -> str:
        return f"<SqliteLeases {self.path}>"


def _make(path: Path) -> None:
    """Make the file, empty, unless there is one. One that is there must not be opened here: closing it would
    end the locks of all its connections in this process."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass


def _known(db: sqlite3.Connection, path: Path) -> bool:
    """Whether the file holds our tables; False for one that is new and empty.

    Raises:
        ConfigurationError: it is something else, or newer than this package.
    """
    return version_of(db, path, called="leases", application=APPLICATION_ID, latest=VERSION) > 0


_SELECT = {
    "notes": "SELECT note FROM notes WHERE machine = ?",
    "journals": "SELECT text FROM journals WHERE entry = ?",
}
_INSERT = {
    "notes": "INSERT OR REPLACE INTO notes VALUES (?, ?)",
    "journals": "INSERT OR REPLACE INTO journals VALUES (?, ?)",
}
_DELETE = {
    "notes": "DELETE FROM notes WHERE machine = ?",
    "journals": "DELETE FROM journals WHERE entry = ?",
}


def _value(db: sqlite3.Connection, table: str, name: str) -> str:
    row = db.execute(_SELECT[table], (name,)).fetchone()
    return "" if row is None else row[0]


def _replace(db: sqlite3.Connection, table: str, name: str, was: str, text: str) -> bool:
    """Write a value, or remove it where it is empty, if it still is `was`."""
    if _value(db, table, name) != was:
        return False
    if text:
        db.execute(_INSERT[table], (name, text))
    else:
        db.execute(_DELETE[table], (name,))
    return True
