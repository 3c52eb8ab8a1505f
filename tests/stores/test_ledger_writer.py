"""The ledger writes in the background: soon, without holding anybody up, and whatever becomes of the file."""

from __future__ import annotations

import gc
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

from hybrid_infer.calls.records import CallRecord, call_record
from hybrid_infer.stores.ledger.schema import APPLICATION_ID
from hybrid_infer.stores.ledger.writer import Ledger, open_ledger
from stores.ledger_samples import COST, WALL, attempt, ended, python, rate, simple, target, write

pytestmark = pytest.mark.real_time


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "l.sqlite"


@pytest.fixture
def make(path: Path) -> Iterator[Callable[..., Ledger]]:
    """Makes ledgers in a folder that is there, unless the test took it away."""
    path.parent.mkdir()
    made: list[Ledger] = []

    def make(**options: Any) -> Ledger:
        made.append(Ledger(path, **{"pause": 0.05, **options}))
        return made[-1]

    yield make
    for ledger in made:
        ledger.close(timeout=5)


def rows(path: Path, sql: str = "SELECT id FROM calls ORDER BY id") -> list[Any]:
    db = sqlite3.connect(path)
    try:
        return [row[0] if len(row) == 1 else row for row in db.execute(sql)]
    finally:
        db.close()


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_put_is_in_the_file_without_being_asked_for(make: Callable[..., Ledger], path: Path) -> None:
    record = simple()
    make().put(record)
    eventually(lambda: path.exists() and rows(path, "SELECT name FROM sqlite_master") != [])
    eventually(lambda: rows(path) == [record.id])


def test_close_writes_everything_and_the_next_record_opens_the_file_again(
    make: Callable[..., Ledger], path: Path
) -> None:
    ledger = make()
    records = [simple() for _ in range(3000)]
    for record in records:
        ledger.put(record)
    assert ledger.close(timeout=20)
    assert rows(path) == [record.id for record in records]
    assert sorted(file.name for file in path.parent.iterdir()) == ["l.sqlite", "l.sqlite.lock"]
    ledger.put(later := simple())
    assert ledger.close(timeout=20)
    assert rows(path)[-1] == later.id


def test_closing_what_was_never_used_touches_nothing(make: Callable[..., Ledger], path: Path) -> None:
    assert make().close()
    assert list(path.parent.iterdir()) == []


def test_nobody_else_can_read_the_file(make: Callable[..., Ledger], path: Path) -> None:
    ledger = make()
    ledger.put(simple())
    ledger.close(timeout=20)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_all_clients_of_a_process_share_one_ledger(path: Path) -> None:
    assert open_ledger(path) is open_ledger(str(path))
    assert open_ledger(path.with_name("other")) is not open_ledger(path)
    assert not path.parent.exists()


def test_a_finaliser_may_put(make: Callable[..., Ledger], path: Path) -> None:
    """Also one that runs in the middle of a put: a collection may begin anywhere."""
    ledger = make()

    class Dropped:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            ledger.put(simple())

    before = gc.get_threshold()
    gc.set_threshold(20)
    try:
        for _ in range(500):
            Dropped()
            ledger.put(simple())
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert ledger.close(timeout=20)
    assert len(rows(path)) == 1000


def test_records_of_many_threads_all_arrive(make: Callable[..., Ledger], path: Path) -> None:
    ledger = make()

    def work() -> None:
        for _ in range(500):
            ledger.put(simple())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.close(timeout=20)
    assert len(rows(path)) == 4000


def test_one_record_that_cannot_be_written_takes_no_other_with_it(
    make: Callable[..., Ledger], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = make()
    good = [simple(), simple()]
    for record in (good[0], simple(model="\ud800"), simple(latency_ns=2**70), good[0], good[1]):
        ledger.put(record)
    assert ledger.close(timeout=20)
    assert rows(path) == [record.id for record in good]
    assert rows(path, "SELECT calls FROM totals") == [2]
    assert rows(path, "SELECT sum(records) FROM losses") == [3]
    assert len(caplog.records) == 1


def test_a_record_may_be_made_when_it_is_written(
    make: Callable[..., Ledger], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it is made from is let go of then; what fails is counted."""

    class Body:
        """Can be watched."""

    def broken() -> CallRecord:
        raise LookupError

    ledger, body = make(), Body()
    call = ended(attempt(target()), body={"messages": body})
    watched = ref(body)
    lazy = partial(call_record, call, None, COST, outcome="success", now=102.0, wall=WALL, rate=rate)
    ledger.put(lazy)
    ledger.put(broken)
    del call, lazy, body
    assert ledger.close(timeout=20)
    assert len(rows(path)) == 1
    assert rows(path, "SELECT records FROM losses") == [1]
    assert "LookupError" in caplog.text
    eventually(lambda: watched() is None)


def nowhere(path: Path) -> None:
    path.parent.rmdir()


def in_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


def read_only(path: Path) -> None:
    path.parent.chmod(0o500)
    if os.access(path.parent, os.W_OK):
        pytest.skip("this user may write everywhere")


def corrupt(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"nonsense" * 1000)


def mend(path: Path) -> None:
    """Make room for a good file."""
    if path.parent.is_dir():
        path.parent.chmod(0o700)
        path.unlink(missing_ok=True)
    else:
        path.parent.unlink(missing_ok=True)
        path.parent.mkdir()


@pytest.mark.parametrize("spoil", [nowhere, in_a_file, read_only, corrupt])
def test_a_file_that_cannot_be_written_is_one_warning_and_what_waits_is_written_later(
    make: Callable[..., Ledger], path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    """What is more than may wait is counted, and the count stands in the file afterwards."""
    caplog.set_level(logging.INFO, "hybrid_infer")
    spoil(path)
    ledger = make(most_waiting=10)
    ledger.put(simple())
    eventually(lambda: bool(caplog.records))
    for _ in range(50):
        ledger.put(simple())
    assert not ledger.close(timeout=5)
    time.sleep(0.3)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text
    mend(path)
    eventually(lambda: ledger.close(timeout=5))
    written, lost = len(rows(path)), rows(path, "SELECT sum(records) FROM losses")[0]
    assert written + lost == 51
    assert lost >= 51 - 10 - 10 - 1
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_ledger_that_is_locked_for_long_holds_nobody_up(
    make: Callable[..., Ledger], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = make(patience=0.3)
    ledger.put(first := simple())
    assert ledger.close(timeout=20)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    second = simple()
    before = time.perf_counter()
    ledger.put(second)
    assert time.perf_counter() - before < 0.1
    eventually(lambda: "locked" in caplog.text)
    other.execute("COMMIT")
    other.close()
    eventually(lambda: ledger.close(timeout=5))
    assert rows(path) == [first.id, second.id]


def of_a_newer_version(path: Path) -> None:
    write(path, [])
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


def of_something_else(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE notes (text)")
    db.close()


@pytest.mark.parametrize("spoil", [of_a_newer_version, of_something_else])
def test_a_file_that_is_not_ours_to_write_stays_as_it_is(
    make: Callable[..., Ledger], path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    """One warning, and then the ledger is off."""
    ledger = make()
    spoil(path)
    before = path.read_bytes()
    for _ in range(3):
        ledger.put(simple())
        assert not ledger.close(timeout=5) or len(caplog.records) == 1
    assert path.read_bytes() == before
    assert len(caplog.records) == 1


def test_a_new_file_says_what_it_is(make: Callable[..., Ledger], path: Path) -> None:
    ledger = make()
    ledger.put(simple())
    ledger.close(timeout=20)
    assert rows(path, "PRAGMA application_id") == [APPLICATION_ID]
    assert rows(path, "PRAGMA journal_mode") == ["wal"]


def test_the_end_of_the_process_writes_what_waits(tmp_path: Path) -> None:
    code = """
import sys
from hybrid_infer.stores.ledger.writer import open_ledger
from stores.ledger_samples import simple
for _ in range(100):
    open_ledger(sys.argv[1]).put(simple())
"""
    python(code, str(tmp_path / "l.sqlite"))
    assert len(rows(tmp_path / "l.sqlite")) == 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_workers_of_multiprocessing_write_what_waits(tmp_path: Path) -> None:
    """They end without the functions that are registered with `atexit`."""
    code = """
import sys
from multiprocessing import get_context
from hybrid_infer.stores.ledger.writer import open_ledger
from stores.ledger_samples import simple

def work():
    for _ in range(100):
        open_ledger(sys.argv[1]).put(simple())

work()
workers = [get_context("fork").Process(target=work) for _ in range(3)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
"""
    python(code, str(tmp_path / "l.sqlite"))
    assert len(rows(tmp_path / "l.sqlite")) == 400
