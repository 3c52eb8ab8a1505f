"""Many processes write to one ledger, and some of them are killed."""

from __future__ import annotations

import os
import sqlite3
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from hybrid_infer.stores.ledger.file import full_files
from hybrid_infer.stores.ledger.reader import ledger_files
from hybrid_infer.stores.ledger.writer import Ledger
from stores.ledger_samples import python, simple
from stores.ledger_workers import noted, put_for_ever, put_some

pytestmark = pytest.mark.real_time

PROCESSES = 4
MOST_LOST_NS = 250_000_000


def sound(path: Path) -> list[str]:
    """The ids of all calls in a file that is whole, and whose sums are those of its rows."""
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        ids = [row[0] for row in db.execute("SELECT id FROM calls")]
        calls, attempts = db.execute("SELECT sum(calls), sum(attempts) FROM totals").fetchone()
        assert (calls or 0) == len(ids)
        assert (attempts or 0) == db.execute("SELECT count(*) FROM attempts").fetchone()[0]
        return ids
    finally:
        db.close()


def test_killed_processes_lose_a_quarter_of_a_second_at_most(tmp_path: Path) -> None:
    """In each round four processes write and are killed at once; nothing in the file is damaged."""
    path = tmp_path / "l.sqlite"
    spawn = get_context("spawn")
    for turn in range(3):
        diaries = [tmp_path / f"{turn}-{number}" for number in range(PROCESSES)]
        workers = [
            spawn.Process(target=put_for_ever, args=(str(path), str(diary)), daemon=True) for diary in diaries
        ]
        for worker in workers:
            worker.start()
        end = time.monotonic() + 30
        while not all(diary.exists() and len(noted(diary)) > 100 for diary in diaries):
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(0.2 + 0.07 * turn)
        killed = time.monotonic_ns()
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()
        kept = set(sound(path))
        for diary in diaries:
            lost = [at for name, at in noted(diary) if name not in kept]
            assert all(killed - at < MOST_LOST_NS for at in lost)


def test_processes_that_begin_a_ledger_together_all_get_into_it(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        lives = [pool.submit(put_some, str(path), 200, 2**30) for _ in range(PROCESSES)]
        ids = [name for life in lives for name in life.result(timeout=50)]
    assert sorted(sound(path)) == sorted(ids)


def test_a_full_file_is_replaced_once_and_nothing_is_lost(tmp_path: Path) -> None:
    """Each process finds it full; tags can still be compared, and no side files stay behind. Where the last
    batch filled a file, the next one is not there yet."""
    path = tmp_path / "l.sqlite"
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        lives = [pool.submit(put_some, str(path), 2000, 400_000) for _ in range(PROCESSES)]
        ids = [name for life in lives for name in life.result(timeout=50)]
    files = ledger_files(path)
    assert 2 <= len(files) <= 20
    found = [sound(file) for file in files]
    assert sorted(name for names in found for name in names) == sorted(ids)
    assert all(len(names) > 100 for names in found if names is not found[-1])
    salts = set[bytes]()
    for file in files:
        db = sqlite3.connect(file)
        salts.add(db.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()[0])
        db.close()
    assert len(salts) == 1
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in files} | {"l.sqlite.lock"}


def test_a_full_file_that_somebody_has_open_stays_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger = Ledger(path, max_bytes=1)
    ledger.put(simple())
    ledger.close(timeout=20)
    assert len(full_files(path)) == 1
    other = Ledger(path, max_bytes=2**30)
    other.put(simple())
    other.close(timeout=20)
    somebody = sqlite3.connect(path)
    somebody.execute("SELECT count(*) FROM calls").fetchone()
    ledger.put(simple())
    ledger.close(timeout=20)
    assert len(full_files(path)) == 1
    assert len(sound(path)) == 2
    somebody.close()


FORK = """
import os, sys, time
from hybrid_infer.stores.ledger.writer import open_ledger
from stores.ledger_samples import simple

ledger = open_ledger(sys.argv[1])

def put(seconds):
    end, made = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        ledger.put(simple())
        made += 1
        time.sleep(0.0005)
    return made

made = put(0.3)
children = []
for _ in range(4):
    ledger.put(simple())
    made += 1
    child = os.fork()
    if child == 0:
        print(put(0.6), flush=True)
        os._exit(0 if ledger.close(20) else 1)
    children.append(child)
    made += put(0.1)
for child in children:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert ledger.close(20)
print(made)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_parent_and_children_of_forks_write_on(tmp_path: Path) -> None:
    """What waited in the parent is written once, by the parent."""
    path = tmp_path / "l.sqlite"
    made = [int(line) for line in python(FORK, str(path)).split()]
    by_process: dict[str, int] = {}
    for name in sound(path):
        by_process[name[:22]] = by_process.get(name[:22], 0) + 1
    assert sorted(by_process.values()) == sorted(made)
    assert by_process[min(by_process)] == made[-1]


FULL_DISK = """
import logging, resource, sys
from hybrid_infer.stores.ledger.writer import open_ledger
from stores.ledger_samples import simple

logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
ledger = open_ledger(sys.argv[1])
for _ in range(5000):
    ledger.put(simple())
assert not ledger.close(20)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
def test_a_full_disk_is_one_warning_and_leaves_a_whole_file(tmp_path: Path) -> None:
    said = python(FULL_DISK, str(tmp_path / "l.sqlite"))
    assert said.startswith("WARNING the ledger ")
    assert said.count("\n") == 1
    sound(tmp_path / "l.sqlite")
