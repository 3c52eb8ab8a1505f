"""What the command line does with a cache's file, while others use it."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.stores.cache_sqlite.connection import connect, retrying
from hybrid_infer.stores.cache_sqlite.file import CacheFile
from hybrid_infer.stores.cache_sqlite.schema import VERSION, version
from hybrid_infer.stores.cache_summary import Group, Summary, largest_first

_GROUPS = """
SELECT operation, target, count(*), sum(size), coalesce(sum(saved_nano), 0), sum(saved_nano IS NULL)
FROM entries GROUP BY operation, target
"""
_TIMES = "SELECT min(stored), max(stored), coalesce(sum(expires <= ?), 0) FROM entries"


def summarise(path: Path, *, now: float) -> Summary:
    """What is in the file.

    Args:
        now: seconds since 1970.

    Raises:
        ConfigurationError: there is no such file, it is no cache, or it cannot be read.
    """
    with _explained(path):
        db = _open(path)
        try:
            groups: list[Group] = []
            oldest, newest, expired = None, None, 0
            if version(db, path) == VERSION:
                db.execute("BEGIN")  # all at one moment
                groups = [
                    Group(
                        operation=operation,
                        target=target,
                        entries=entries,
                        bytes=size,
                        saved_nano=saved,
                        saved_unknown=unknown,
                    )
                    for operation, target, entries, size, saved, unknown in db.execute(_GROUPS)
                ]
                oldest, newest, expired = db.execute(_TIMES, (now,)).fetchone()
                db.execute("COMMIT")
            return Summary(
                groups=largest_first(groups),
                oldest=oldest,
                newest=newest,
                expired=expired,
                file_bytes=_bytes(path),
            )
        finally:
            db.close()


def prune(path: Path, *, max_bytes: int, gone: float) -> tuple[int, int]:
    """Remove what expired before `gone`, and what is beyond the bound.

    Returns:
        how many entries that were, and how many bytes smaller the file is.

    Raises:
        ConfigurationError: see `summarise`; or others keep the file busy.
    """
    with _explained(path):
        _open(path).close()
        before = _bytes(path)
        file = CacheFile(path)
        try:
            removed = file.prune(max_bytes=max_bytes, gone=gone)
        finally:
            file.close()
        return removed, max(0, before - _bytes(path))


def clear(path: Path) -> None:
    """Remove everything. What was removed does not stay behind in the file.

    A cache that is damaged is mended by it.

    Raises:
        ConfigurationError: see `prune`.
    """
    with _explained(path):
        db = _open(path)
        try:
            version(db, path)
        except sqlite3.DatabaseError:
            pass  # damaged; whether it is ours is asked again below
        finally:
            db.close()
        CacheFile(path).empty()


def _open(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise ConfigurationError(f"cache: there is no file {path}; it is made at the first answer to keep")
    db = connect(path)
    try:
        retrying(lambda: db.execute("PRAGMA user_version"))
    except BaseException:
        db.close()
        raise
    return db


def _bytes(path: Path) -> int:
    """Of the file and its log."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


@contextmanager
def _explained(path: Path) -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise ConfigurationError(
            f"cache: {path} cannot be used: {error}. If no process uses it, it may be removed"
        ) from None
