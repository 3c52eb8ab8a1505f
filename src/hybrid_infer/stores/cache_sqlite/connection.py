"""How the file is opened, and what its errors mean."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hybrid_infer.stores.cache_sqlite.schema import DamagedCacheError

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that who writes waits for others who write. Who reads never waits."""

_BUSY = (5, 6)
"""SQLITE_BUSY and SQLITE_LOCKED."""
_DAMAGED = (11,)
"""SQLITE_CORRUPT."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the file that is there; it is not made.

    Raises:
        sqlite3.Error: there is none, or it cannot be opened.
    """
    return sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
    )


def make(path: Path) -> None:
    """Make the file, empty, unless there is one.

    Nobody else may read it, and SQLite gives its side files the same mode. One that is there must not be
    opened here: closing it would end the locks of all its connections in this process.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass


def identity(path: Path) -> tuple[int, int] | None:
    """Which file has that name now; None where none has."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def busy(error: Exception) -> bool:
    """Whether somebody else has the file, and it may be tried again."""
    return _code(error) in _BUSY


def damaged(error: Exception) -> bool:
    """Whether a file that is a cache holds what nobody wrote there."""
    return isinstance(error, DamagedCacheError) or _code(error) in _DAMAGED


def _code(error: Exception) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def retrying(work: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Do it as soon as other processes let us.

    SQLite's own waiting is not enough: some steps, such as the change to WAL, do not wait at all, and its
    waits grow to 100 ms, in which others always come first.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not busy(error) or time.monotonic() >= end:
                raise
        time.sleep(random.uniform(0.001, 0.005))
