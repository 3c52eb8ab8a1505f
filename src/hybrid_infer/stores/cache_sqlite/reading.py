"""The connection that answers are read through."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hybrid_infer.calls.cached import Entry
from hybrid_infer.stores.cache_record import unpack
from hybrid_infer.stores.cache_sqlite.connection import connect, identity
from hybrid_infer.stores.cache_sqlite.schema import VERSION, DamagedCacheError, version

_FIND = "SELECT record, used FROM entries JOIN records USING (id) WHERE key = ?"

LOOK_EVERY = 1.0
"""Seconds between two looks whether the file that is open is still the one of that name."""


class CacheReader:
    """Opened at the first read, if there is a file then. Waits for nobody: readers of a WAL file need not.

    Not to be used by two threads at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._looked = 0.0

    def get(self, key: bytes, now: float) -> tuple[Entry, float] | None:
        """The entry, and when it was last used; None where there is none.

        Args:
            now: monotonic seconds.

        Raises:
            DamagedCacheError: what stands there is not what was stored under this key.
            sqlite3.Error, OSError: the file cannot be read.
            UnusableCacheError: it is no cache.
        """
        if now - self._looked >= LOOK_EVERY:
            self._look(now)
        if self._db is None and not self._open():
            return None
        assert self._db is not None  # noqa: S101 - opened above
        row = self._db.execute(_FIND, (key,)).fetchone()
        if row is None:
            return None
        entry = unpack(key, row[0])
        if entry is None:
            raise DamagedCacheError("an answer is not what was stored")
        return entry, row[1]

    @property
    def open(self) -> bool:
        return self._db is not None

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _look(self, now: float) -> None:
        self._looked = now
        if self._db is not None and identity(self._path) != self._file:
            self.close()

    def _open(self) -> bool:
        """False where there is nothing to read yet."""
        self._file = identity(self._path)
        if self._file is None:
            return False
        db = connect(self._path)
        try:
            db.execute("PRAGMA query_only = ON")
            ready = version(db, self._path) == VERSION
        except BaseException:
            db.close()
            raise
        if ready:
            self._db = db
        else:  # new, or an old one: who writes next makes it ours
            db.close()
        return ready
