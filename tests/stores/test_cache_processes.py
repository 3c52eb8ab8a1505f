"""Many processes use one cache in a file; some of them are killed, and some are forked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stores.cache_samples import TESTS
from stores.test_cache_sqlite import keys_in

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
]


def python(code: str, path: Path) -> str:
    """What a process of its own prints, in which nothing runs but this."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'src'}"},
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


KILLED = """
import os, random, signal, sqlite3, sys, time
from pathlib import Path
from hybrid_infer.runtime.step import step
from hybrid_infer.stores.cache_record import unpack
from hybrid_infer.stores.cache_sqlite import shared
from hybrid_infer.stores.cache_sqlite.store import sqlite_cache
from stores.cache_samples import entry, fill, key, proven, proves, runtime

path, chance = Path(sys.argv[1]), random.Random(1)
names = [key(number) for number in range(200)]
shared.EVERY = 0.001  # as many transactions as there can be, to be killed in
cache = sqlite_cache(path, runtime("sync"), max_bytes=600_000)

def live(seed, wrong):
    # Half of them through the store, half of them a transaction at a time.
    mine, turn, seen = random.Random(seed), 0, 0
    while True:
        turn += 1
        name = names[mine.randrange(200)]
        value = proven(name, turn, mine.randrange(6000))
        if seed % 2:
            step(cache.put(name, entry(value, stored=float(turn))))
            time.sleep(0.0003)
        else:
            fill(path, {name: entry(value, stored=float(turn))}, max_bytes=600_000)
        asked = names[mine.randrange(200)]
        found = step(cache.get(asked))
        if found is not None and not proves(asked, found.value):
            os.write(wrong, b"w")
        elif found is not None:
            os.write(wrong, b".")

def sound():
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            return 0  # killed while it was made
        rows = db.execute("SELECT key, record, size FROM entries LEFT JOIN records USING (id)").fetchall()
        assert db.execute("SELECT count(*) FROM records").fetchone() == (len(rows),)
    finally:
        db.close()
    for name, record, size in rows:
        kept = unpack(name, record)
        assert kept is not None and proves(name, kept.value) and len(kept.value) == size
    return len(rows)

kept, right = 0, 0
for turn in range(50):
    if turn % 10 == 0:  # nobody uses it: begin with no file, to be killed while it is made
        for file in path.parent.iterdir():
            file.unlink()
    hear, tell = os.pipe()
    os.set_blocking(hear, False)
    os.set_blocking(tell, False)
    children = []
    for seed in range(4):
        child = os.fork()
        if child == 0:
            try:
                live(turn * 4 + seed, tell)
            except BlockingIOError:
                time.sleep(10)
            finally:
                os._exit(1)
        children.append(child)
    time.sleep(chance.uniform(0.01, 0.16))
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        pid, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    os.close(tell)
    said = b""
    while piece := os.read(hear, 65536):
        said += piece
    os.close(hear)
    assert b"w" not in said
    right += len(said)
    if path.exists() and path.stat().st_size:
        kept += sound()
print(kept, right)
"""


def test_fifty_times_four_processes_are_killed_and_no_answer_is_wrong(tmp_path: Path) -> None:
    """The file is whole after each time, and every answer in it is the one to its key."""
    kept, right = map(int, python(KILLED, tmp_path / "answers.sqlite").split())
    assert kept > 300
    assert right > 200


FORKED = """
import logging, os, sys, threading, time, warnings
from hybrid_infer.runtime.step import step
from hybrid_infer.stores.cache_sqlite.store import sqlite_cache
from stores.cache_samples import entry, key, proven, proves, runtime

warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which are the point here
logging.basicConfig(stream=sys.stderr)
cache = sqlite_cache(sys.argv[1], runtime("sync"))
end = time.monotonic() + 2.5

def live(first, until):
    turn, wrong = 0, 0
    while time.monotonic() < until:
        turn += 1
        name = key(first + turn % 50)
        step(cache.put(name, entry(proven(name, turn), stored=float(turn))))
        found = step(cache.get(key(turn % 300)))
        wrong += found is not None and not proves(key(turn % 300), found.value)
        time.sleep(0.001)
    return wrong

results = []
thread = threading.Thread(target=lambda: results.append(live(0, end)))
thread.start()
children = []
for number in range(1, 6):
    live(250, time.monotonic() + 0.1)
    child = os.fork()
    if child == 0:
        wrong = live(number * 50, time.monotonic() + 0.5)
        cache._shared.close(20)
        os._exit(2 if wrong else 0 if step(cache.get(key(number * 50 + 1))) else 3)
    children.append(child)
for child in children:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
thread.join()
cache._shared.close(20)
assert results == [0]
assert all(step(cache.get(key(number))) for number in range(300))
"""


def test_parent_and_children_of_forks_go_on(tmp_path: Path) -> None:
    """Each opens the file for itself; what all of them put is found in the end."""
    path = tmp_path / "answers.sqlite"
    assert python(FORKED, path) == ""
    assert len(keys_in(path)) == 300


LEFT = """
import multiprocessing, sys
from hybrid_infer.runtime.step import step
from hybrid_infer.stores.cache_sqlite.store import sqlite_cache
from stores.cache_samples import entry, key, runtime

def put(number):
    step(sqlite_cache(sys.argv[1], runtime("sync")).put(key(number), entry()))

if __name__ == "__main__":
    worker = multiprocessing.get_context("fork").Process(target=put, args=(1,))
    worker.start()
    worker.join()
    put(2)
"""


def test_what_was_put_last_is_written_when_a_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    python(LEFT, path)
    assert len(keys_in(path)) == 2
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
