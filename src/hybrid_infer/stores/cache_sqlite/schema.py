"""What stands in a cache's file.

- entries: a small row for each answer; `used` is when it was last read or written, to within a minute.
- records: the answers themselves, as `cache_record` packs them. They stand apart, so that noting a use, or
  adding everything up, does not move them.

Times are seconds since 1970. The answers are in the file as they came, and so are readable to whoever may
read it; of the question there is only a digest, the key.
"""

from __future__ import annotations

import sqlite3

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.stores.sqlite_version import version_of

APPLICATION_ID = 0x48494341
"""Tells a cache from other SQLite files ("HICA")."""

VERSION = 1
"""The version of the tables below. A file of an older one is emptied: it is a cache."""

PAGE = 16_384
"""Bytes of a page. In smaller ones an answer of some kilobytes leaves as much room empty as it takes."""

_TABLES = (
    """CREATE TABLE entries (
      id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,
      stored REAL NOT NULL, expires REAL, used REAL NOT NULL, size INTEGER NOT NULL,
      target TEXT NOT NULL, operation TEXT NOT NULL, saved_nano INTEGER
    )""",
    "CREATE INDEX entries_by_use ON entries (used)",
    "CREATE INDEX entries_that_expire ON entries (expires) WHERE expires IS NOT NULL",
    "CREATE TABLE records (id INTEGER PRIMARY KEY, record BLOB NOT NULL)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)


class UnusableCacheError(ConfigurationError):
    """The file is no cache, or one of a newer hybrid_infer. It is left as it is."""


class DamagedCacheError(Exception):
    """An answer in the file is not what was stored. Never leaves the store."""


def create(db: sqlite3.Connection) -> None:
    """Make the tables, in a database that is empty."""
    for statement in _TABLES:
        db.execute(statement)


def version(db: sqlite3.Connection, path: object) -> int:
    """The version of an open file; 0 for one that is new and empty.

    Raises:
        UnusableCacheError: it is something else, or newer than this package.
    """
    return version_of(
        db, path, called="cache", application=APPLICATION_ID, latest=VERSION, error=UnusableCacheError
    )
