"""Whose an SQLite file is, and of which version: the same question for all our files."""

from __future__ import annotations

import sqlite3

from hybrid_infer.errors import ConfigurationError


def version_of(
    db: sqlite3.Connection,
    path: object,
    *,
    called: str,
    application: int,
    latest: int,
    error: type[ConfigurationError] = ConfigurationError,
) -> int:
    """The version of an open file; 0 for one that is new and empty.

    Args:
        called: what it should be, for the message.
        application: the number that marks such files (SQLite's ``PRAGMA application_id``).
        latest: the version this package writes.

    Raises:
        ConfigurationError: of the class `error`; it is something else, or newer than this package.
    """
    # At one moment: somebody may be making the tables right now.
    begun = db.in_transaction
    if not begun:
        db.execute("BEGIN")
    try:
        marked: int = db.execute("PRAGMA application_id").fetchone()[0]
        found: int = db.execute("PRAGMA user_version").fetchone()[0]
        tables: int = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    finally:
        if not begun and db.in_transaction:  # a file that is no database ends it
            db.execute("ROLLBACK")
    if marked != application and (marked or found or tables):
        raise error(f"{called}: {path} is an SQLite file of something else; name another file")
    if found > latest:
        raise error(
            f"{called}: {path} has version {found}, and this hybrid_infer knows versions up to {latest}: "
            "upgrade hybrid_infer, or name another file"
        )
    return found
