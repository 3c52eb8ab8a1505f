"""The connection that answers are written through: made, filled, kept within its bound, and mended."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from hybrid_infer.calls.cached import Entry
from hybrid_infer.stores.cache_record import head_of, pack
from hybrid_infer.stores.cache_sqlite.connection import PATIENCE, connect, identity, make, retrying
from hybrid_infer.stores.cache_sqlite.schema import APPLICATION_ID, PAGE, VERSION, create, version

Change: TypeAlias = tuple[bytes, Entry | None]
"""A key with what is stored under it from now on; None where nothing is."""

_Written: TypeAlias = tuple[bytes, Entry | None, bytes | None]
"""A change with its record."""

_ROW = 400
"""Bytes that an entry takes in the file beyond its answer and what that leaves empty, at most."""

_BATCH = 4 * 2**20
"""Bytes of one transaction, or a sixteenth of the bound where that is less."""
_AT_ONCE = 200
"""Entries that are removed, at most, before it is asked whether that is enough."""
_MOST_GONE = 1000
"""Expired entries that a transaction removes besides its own work."""
_SPLITS = 4 * PAGE
"""Bytes that indexes may grow by with it."""
_SLACK = 20
"""Where there is no more room, a twentieth of it is made at once, or as much as a batch takes."""


def room_for(size: int) -> int:
    """Bytes that an answer of this size takes in the file, at most."""
    return _ROW + (size * 4 // 3 if size < PAGE // 4 else (size // PAGE + 1) * PAGE)


class CacheFile:
    """Opened at the first write, and made then if need be. Not to be used by two threads at a time.

    Everything raises `sqlite3.Error`, `OSError` or `UnusableCacheError`; the file is closed then, and the
    next write opens it anew. A process that is killed leaves whole transactions.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def write(
        self,
        changes: Iterable[Change],
        used: Mapping[bytes, float],
        *,
        max_bytes: int,
        now: float,
        keep_stale: float,
    ) -> None:
        """Write all changes, in transactions of a bounded size.

        An entry that was stored later than the one at hand stays. What expired more than `keep_stale` seconds
        ago is removed in passing.

        Args:
            used: keys that were read, and when.
            max_bytes: the size of the file that is not exceeded: the entries not used for longest go first.
        """
        try:
            if used:
                db = self._begin()  # first, lest they are taken for old below
                db.executemany(
                    "UPDATE entries SET used = max(used, ?) WHERE key = ?",
                    [(moment, key) for key, moment in used.items()],
                )
                db.execute("COMMIT")
            most = min(_BATCH, max_bytes // 16)
            for chunk in _chunks(changes, most):
                db = self._begin()
                wanted = sum(room_for(len(record or b"")) for _, _, record in chunk)
                _make_room(db, wanted + _SPLITS, max_bytes, most)
                for key, entry, record in chunk:
                    if entry is None or record is None:
                        _remove_key(db, key)
                    else:
                        _store(db, key, entry, record, now)
                _remove_gone(db, now - keep_stale, _MOST_GONE)
                db.execute("COMMIT")
        except BaseException:
            self.close()
            raise

    def prune(self, *, max_bytes: int, gone: float) -> int:
        """Remove what expired before `gone`, and what is beyond the bound; how many entries that were.

        What became free is given back to the system.
        """
        try:
            removed = 0
            while True:
                db = self._begin()
                count = _remove_gone(db, gone, _MOST_GONE) or _make_room(db, 0, max_bytes, 0, most=_MOST_GONE)
                db.execute("COMMIT")
                removed += count
                if not count:
                    break
            try:
                retrying(lambda: db.execute("VACUUM"))
            except sqlite3.OperationalError:
                pass  # others are writing, or there is no room for a copy: what is free is used again
            _shorten_log(db)
            return removed
        except BaseException:
            self.close()
            raise

    def empty(self) -> None:
        """Remove everything from a file of ours, also from one that is damaged, and leave it short.

        It is one transaction, so that other processes may go on: it is not safe to remove or to replace a
        file that somebody has open.
        """
        self.close()
        make(self._path)
        db = connect(self._path)
        fresh = sqlite3.connect(":memory:", isolation_level=None)
        try:
            # As sqlite3 recommends it for files whose header does not fit the rest of them.
            db.execute("PRAGMA writable_schema = ON")
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                version(db, self._path)
            retrying(lambda: db.execute("PRAGMA journal_mode = WAL"))
            fresh.execute(f"PRAGMA page_size = {PAGE}")
            create(fresh)
            end = time.monotonic() + PATIENCE

            def give_up(status: int, remaining: int, total: int) -> None:
                if time.monotonic() >= end:
                    raise TimeoutError("the file is in use elsewhere")

            fresh.backup(db, progress=give_up, sleep=0.005)
            _shorten_log(db)
        finally:
            fresh.close()
            db.close()

    def close(self) -> None:
        """Let go of the file. What was not committed is rolled back."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _begin(self) -> sqlite3.Connection:
        """In a transaction, with the file of that name."""
        if self._db is not None and identity(self._path) != self._file:
            self.close()
        if self._db is None:
            make(self._path)
            self._file = identity(self._path)
            self._db = connect(self._path)
            retrying(self._prepare)
        db = self._db
        retrying(lambda: db.execute("BEGIN IMMEDIATE"))
        return db

    def _prepare(self) -> None:
        db = self._db
        assert db is not None  # noqa: S101 - opened above
        if version(db, self._path) == 0:
            db.execute(f"PRAGMA page_size = {PAGE}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA wal_autocheckpoint = {_BATCH // PAGE}")
        # Nothing is synced but at a checkpoint: what a power failure takes is the newest answers.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = OFF")
        db.execute(f"PRAGMA journal_size_limit = {_BATCH}")
        if version(db, self._path) == VERSION:
            return
        db.execute("BEGIN IMMEDIATE")
        try:
            if version(db, self._path) != VERSION:
                for name in _names(db):
                    db.execute(f'DROP TABLE "{name}"')
                create(db)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def _names(db: sqlite3.Connection) -> list[str]:
    rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [name for (name,) in rows]


def _chunks(changes: Iterable[Change], most: int) -> Iterator[Sequence[_Written]]:
    """Changes with their records, `most` bytes at a time. What no record can be made of is left out."""
    chunk: list[_Written] = []
    size = 0
    for key, entry in changes:
        try:
            record = None if entry is None else pack(key, entry)
        except ValueError:
            continue
        room = room_for(len(record or b""))
        if chunk and size + room > most:
            yield chunk
            chunk, size = [], 0
        chunk.append((key, entry, record))
        size += room
    if chunk:
        yield chunk


def _store(db: sqlite3.Connection, key: bytes, entry: Entry, record: bytes, now: float) -> None:
    head = head_of(record)
    assert head is not None  # noqa: S101 - the record is of our own making
    known = db.execute("SELECT id, stored FROM entries WHERE key = ?", (key,)).fetchone()
    fields = (
        *(entry.stored, entry.expires, now, len(entry.value)),
        *(head.target, head.operation, entry.saved_nano),
    )
    if known is None:
        new = db.execute(
            "INSERT INTO entries (key, stored, expires, used, size, target, operation, saved_nano) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (key, *fields),
        )
        db.execute("INSERT INTO records (id, record) VALUES (?, ?)", (new.lastrowid, record))
    elif known[1] <= entry.stored:
        db.execute(
            "UPDATE entries SET stored = ?, expires = ?, used = ?, size = ?, target = ?, operation = ?, "
            "saved_nano = ? WHERE id = ?",
            (*fields, known[0]),
        )
        db.execute("UPDATE records SET record = ? WHERE id = ?", (record, known[0]))


def _remove_key(db: sqlite3.Connection, key: bytes) -> None:
    known = db.execute("SELECT id FROM entries WHERE key = ?", (key,)).fetchall()
    _remove(db, known)


def _remove_gone(db: sqlite3.Connection, before: float, most: int) -> int:
    """Remove entries that expired before that moment; how many."""
    return _remove(
        db, db.execute("SELECT id FROM entries WHERE expires < ? LIMIT ?", (before, most)).fetchall()
    )


def _make_room(db: sqlite3.Connection, wanted: int, max_bytes: int, slack: int, *, most: int = 10**9) -> int:
    """Remove what was not used for longest, until there is room; how many entries, `most` about."""
    over = _used_bytes(db) + wanted - max_bytes
    if over <= 0:
        return 0
    goal = max(0, max_bytes - wanted - min(slack, max_bytes // _SLACK))
    removed = 0
    while removed < most and (over := _used_bytes(db) - goal) > 0:
        oldest: list[tuple[int]] = []
        for number, size in db.execute("SELECT id, size FROM entries ORDER BY used LIMIT ?", (_AT_ONCE,)):
            oldest.append((number,))
            over -= room_for(size)  # rather too few: it is asked again
            if over <= 0:
                break
        if not oldest:
            break
        removed += _remove(db, oldest)
    return removed


def _remove(db: sqlite3.Connection, ids: Sequence[tuple[int]]) -> int:
    if ids:
        db.executemany("DELETE FROM entries WHERE id = ?", ids)
        db.executemany("DELETE FROM records WHERE id = ?", ids)
    return len(ids)


def _used_bytes(db: sqlite3.Connection) -> int:
    """Of the file, without what is free in it."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _shorten_log(db: sqlite3.Connection) -> None:
    """Put the log into the file, as far as nobody reads it; what is left is done by who closes last."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
