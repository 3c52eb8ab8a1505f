"""Files of older versions become current ones; newer ones and other people's are left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.stores.ledger.reader import LedgerReader, ledger_files
from hybrid_infer.stores.ledger.schema import MIGRATIONS, SUMS, UnreadableLedgerError, migrate, version
from stores.ledger_samples import simple, write

STEPS = (
    *MIGRATIONS,
    "ALTER TABLE call_rows ADD COLUMN region TEXT;\nUPDATE call_rows SET region = 'eu'",
    "CREATE TABLE more (id INTEGER PRIMARY KEY)",
)
"""As the list may look two versions later."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "l.sqlite"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(path, isolation_level=None)
    yield db
    db.close()


def tables(db: sqlite3.Connection) -> set[str]:
    return {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    path.touch()
    write(path, [simple()])
    with LedgerReader(path) as reader:
        assert len(list(reader.calls())) == 1


def test_a_file_of_an_older_version_keeps_its_rows(path: Path, db: sqlite3.Connection) -> None:
    write(path, [record := simple()])
    assert version(db, path, latest=3) == 1
    db.execute("BEGIN IMMEDIATE")
    migrate(db, path, b"other salt", steps=STEPS)
    db.execute("COMMIT")
    assert version(db, path, latest=3) == 3
    assert db.execute("SELECT id, region FROM call_rows").fetchall() == [(record.id, "eu")]
    assert "more" in tables(db)
    assert db.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()[0] != b"other salt"


def test_a_step_that_fails_changes_nothing(path: Path, db: sqlite3.Connection) -> None:
    write(path, [simple()])
    before = tables(db)
    db.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, path, b"", steps=(*STEPS, "CREATE TABLE last (x);\nNONSENSE"))
    db.execute("ROLLBACK")
    assert (tables(db), version(db, path)) == (before, 1)


def test_a_migration_done_by_another_process_is_not_done_again(path: Path, db: sqlite3.Connection) -> None:
    for _ in range(2):
        db.execute("BEGIN IMMEDIATE")
        migrate(db, path, b"salt", steps=STEPS)
        db.execute("COMMIT")
    assert version(db, path, latest=3) == 3


def _make(path: Path, db: sqlite3.Connection, steps: Iterator[int]) -> None:
    """Make the ledger at the last of the steps."""
    if next(steps, None) == 0:
        db.execute("BEGIN IMMEDIATE")
        migrate(db, path, b"salt")
        db.execute("COMMIT")


def test_a_file_that_is_being_made_is_a_new_one_or_a_ledger(tmp_path: Path) -> None:
    """Whenever another process makes it while the version is read: between any two steps of SQLite."""
    found = set[int]()
    for step in range(1, 80):
        path = tmp_path / f"{step}.sqlite"
        db, other = (sqlite3.connect(path, isolation_level=None) for _ in range(2))
        db.execute("PRAGMA journal_mode = WAL")
        db.set_progress_handler(partial(_make, path, other, iter(range(step - 1, -1, -1))), 1)
        found.add(version(db, path))
        db.close()
        other.close()
    assert found == {0, 1}


def test_a_newer_file_is_one_clear_error(path: Path, db: sqlite3.Connection) -> None:
    write(path, [])
    db.execute("PRAGMA user_version = 99")
    with pytest.raises(UnreadableLedgerError, match=r"has version 99, .* up to 1: upgrade hybrid_infer"):
        LedgerReader(path)
    with pytest.raises(UnreadableLedgerError, match="version 99"):
        write(path, [simple()])


def test_an_older_file_is_not_changed_by_reading(path: Path, db: sqlite3.Connection) -> None:
    """There is none yet that is older and has rows; an empty one shows nothing."""
    path.touch()
    with LedgerReader(path) as reader:
        assert (list(reader.calls()), list(reader.corrections()), reader.count()) == ([], [], 0)
    assert tables(db) == set()


def test_a_file_of_something_else_is_refused(path: Path, db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE notes (text)")
    for use in (lambda: LedgerReader(path), lambda: write(path, [simple()])):
        with pytest.raises(UnreadableLedgerError, match="an SQLite file of something else"):
            use()
    assert tables(db) == {"notes"}


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("not a database at all\n" * 100)
    with pytest.raises(ConfigurationError, match=r"l\.sqlite cannot be read: file is not a database"):
        LedgerReader(path)


def test_a_file_that_is_missing_is_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no file .*l\.sqlite"):
        LedgerReader(path)
    with pytest.raises(ConfigurationError, match=r"made at the first call with HYBRID_INFER_LEDGER="):
        ledger_files(path)
    assert not path.exists()


def test_a_damaged_file_is_an_error_of_ours_when_it_is_read(path: Path) -> None:
    write(path, [simple() for _ in range(3000)])
    content = bytearray(path.read_bytes())
    for page in range(60, len(content) // 4096, 2):
        content[page * 4096 : page * 4096 + 2000] = b"\xff" * 2000
    path.write_bytes(content)
    with LedgerReader(path) as reader, pytest.raises(ConfigurationError, match="cannot be read: "):
        list(reader.calls())


def test_every_sum_has_its_column(path: Path, db: sqlite3.Connection) -> None:
    write(path, [])
    columns = {row[1] for row in db.execute("PRAGMA table_info(totals)")}
    assert set(SUMS) < columns
