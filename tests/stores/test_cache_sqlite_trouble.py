"""A cache whose file cannot be used: one warning, no answers, and calls go on."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hybrid_infer.stores.cache_sqlite.schema import APPLICATION_ID, VERSION
from hybrid_infer.stores.cache_sqlite.shared import SharedCache
from hybrid_infer.stores.cache_sqlite.store import SqliteCache
from stores.cache_samples import NOON, TESTS, entry, fill, key, runtime, warnings
from stores.test_cache_sqlite import keys_in

pytestmark = pytest.mark.real_time

PAUSE = 0.3
ANSWERS = {key(number): entry(bytes(3000)) for number in range(200)}

Open = Callable[..., SqliteCache]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


@pytest.fixture
def cache(colour: str, path: Path) -> Iterator[Open]:
    """A client's cache, that tries again soon."""
    made: list[SharedCache] = []

    def make(place: Path = path) -> SqliteCache:
        made.append(SharedCache(place, pause=PAUSE))
        return SqliteCache(made[-1], runtime(colour), keep_stale=0.0)

    yield make
    for shared in made:
        shared.close(timeout=10)


async def tried(store: SqliteCache) -> None:
    """Ask and put; it is in vain, and takes no time that a call would notice."""
    began = time.monotonic()
    for number in range(20):
        assert await store.get(key(1000)) is None
        await store.put(key(number), entry())
    assert time.monotonic() - began < 0.3
    await store.aclose()


async def works(store: SqliteCache) -> None:
    await store.put(key(7), entry(b"new", stored=NOON + 1))
    store._shared.close(timeout=10)  # as its end, but until all is written, however busy the disk
    found = await store.get(key(7))
    assert found is not None
    assert found.value == b"new"


def spoil(path: Path, *, skip: int) -> None:
    """Write noise over a file, from a place on."""
    noise = os.urandom(path.stat().st_size - skip)
    with path.open("r+b") as file:
        file.seek(skip)
        file.write(noise)


@pytest.mark.parametrize("first", ["get", "put"])
@pytest.mark.parametrize("kept", [100, 16_384, 150_000])
async def test_a_damaged_cache_is_emptied_with_one_warning_and_used_again(
    cache: Open, path: Path, caplog: pytest.LogCaptureFixture, kept: int, first: str
) -> None:
    fill(path, ANSWERS)
    spoil(path, skip=kept)
    store = cache()
    for number in range(200):
        if first == "get":
            assert await store.get(key(number)) in (None, ANSWERS[key(number)])
        else:
            await store.put(key(number), entry(stored=NOON + 1))
    await store.aclose()
    await works(store)
    assert warnings(caplog) == [f"the cache {path} was damaged, and has been emptied"]
    keys_in(path)  # and is whole


async def test_a_cache_that_was_cut_short_is_emptied(
    cache: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(path, ANSWERS)
    with path.open("r+b") as file:
        file.truncate(100_000)
    store = cache()
    assert await store.get(key(3)) is None
    await store.aclose()
    await works(store)
    assert warnings(caplog) == [f"the cache {path} was damaged, and has been emptied"]


async def test_an_answer_that_was_changed_in_the_file_is_never_given(
    cache: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite itself notices nothing of it."""
    fill(path, {key(1): entry(b"the cat sat"), key(2): entry(b"on the mat")})
    whole = path.read_bytes()
    assert whole.count(b"the cat sat") == 1
    path.write_bytes(whole.replace(b"the cat sat", b"the dog sat"))
    store = cache()
    assert await store.get(key(1)) is None
    await store.aclose()
    await works(store)
    assert warnings(caplog) == [f"the cache {path} was damaged, and has been emptied"]


async def test_answers_that_changed_places_are_never_given(cache: Open, path: Path) -> None:
    fill(path, {key(1): entry(b"one"), key(2): entry(b"two")})
    db = sqlite3.connect(path)
    db.execute("UPDATE entries SET id = 3 - id WHERE id = -1 OR key = ?", (key(3),))
    db.execute("UPDATE records SET id = id + 10")
    db.execute("UPDATE records SET id = 13 - id")
    db.commit()
    db.close()
    assert await cache().get(key(1)) is None


async def test_a_cache_is_emptied_while_another_client_uses_it(
    cache: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(path, ANSWERS)
    one, two = cache(), cache()
    assert await two.get(key(1)) is not None
    spoil(path, skip=16_384)
    await one.put(key(1), entry())
    await one.aclose()
    await works(one)
    await works(two)
    assert 1 <= len(warnings(caplog)) <= 2  # one for each of them


@pytest.mark.parametrize("content", [b"My holiday\n" * 2000, b"SQLite format 3\0" + bytes(20_000)])
async def test_a_file_that_is_something_else_is_left_as_it_is(
    cache: Open, path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path.write_bytes(content)
    store = cache()
    await tried(store)
    await tried(store)
    assert path.read_bytes() == content
    [warning] = warnings(caplog)
    assert warning.startswith(f"the cache {path} cannot be used (")
    path.unlink()
    time.sleep(PAUSE)
    await works(store)


async def test_a_database_of_something_else_is_left_as_it_is(
    cache: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE entries (precious)")
    db.execute("INSERT INTO entries VALUES (1)")
    db.commit()
    db.close()
    before = path.read_bytes()
    await tried(cache())
    assert path.read_bytes() == before
    [warning] = warnings(caplog)
    assert "is an SQLite file of something else; name another file" in warning


async def test_a_cache_of_a_newer_version_is_left_as_it_is(
    cache: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(path, ANSWERS)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    await tried(cache())
    [warning] = warnings(caplog)
    assert "upgrade hybrid_infer" in warning
    assert len(keys_in(path)) == 200


async def test_a_cache_of_an_older_version_is_begun_anew(
    cache: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE old (key)")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.close()
    store = cache()
    assert await store.get(key(1)) is None
    await works(store)
    assert warnings(caplog) == []


async def test_a_folder_in_the_place_of_the_file_is_one_warning(
    cache: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir()
    store = cache()
    for _ in range(3):
        await tried(store)
        time.sleep(PAUSE)
    assert len(warnings(caplog)) == 1


async def test_a_cache_that_somebody_else_has_locked_is_one_warning_and_used_afterwards(
    cache: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who holds it writes nothing: an exclusive lock, and readers and writers are shut out."""
    caplog.set_level(logging.INFO, "hybrid_infer")
    fill(path, ANSWERS)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("BEGIN IMMEDIATE")
    db.execute("DELETE FROM entries WHERE id = 1")
    db.execute("COMMIT")
    store = cache()
    end = time.monotonic() + 10
    while not warnings(caplog):
        began = time.monotonic()
        assert await store.get(key(2000)) is None
        await store.put(key(3000), entry())
        assert time.monotonic() - began < 0.2
        assert time.monotonic() < end
        time.sleep(0.05)
    store._shared.close(timeout=10)
    assert [text.partition(" (")[0] for text in warnings(caplog)] == [f"the cache {path} cannot be used"]
    db.close()
    time.sleep(PAUSE)
    await works(store)
    assert [record.getMessage() for record in caplog.records][-1] == f"the cache {path} is used again"


WITHOUT_RIGHTS = """
import asyncio, logging, os, sys
from pathlib import Path
from hybrid_infer.runtime.step import step
from stores.cache_samples import entry, key, runtime
from hybrid_infer.stores.cache_sqlite.store import sqlite_cache

logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
{before}
store = sqlite_cache(sys.argv[1], runtime("sync"))
for turn in range(3):
    for number in range(300):
        step(store.put(key(number), entry(bytes(3000))))
        step(store.get(key(number + 1000)))
    store._shared.close(timeout=20)
"""


def alone(path: Path, before: str) -> str:
    """What another process prints that uses the cache after `before`."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS.format(before=before), str(path)],
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'src'}"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
def test_a_full_disk_is_one_warning_and_leaves_a_whole_file(path: Path) -> None:
    said = alone(path, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))")
    assert said.startswith(f"WARNING the cache {path} cannot be used (")
    assert said.count("\n") == 1
    keys_in(path)


@pytest.mark.skipif(os.name == "nt", reason="needs modes of POSIX")
@pytest.mark.parametrize("there", [True, False])
def test_a_folder_where_nothing_may_be_written_is_one_warning(path: Path, there: bool) -> None:
    if there:
        fill(path, ANSWERS)
    path.parent.chmod(0o500)
    nobody = "os.getuid() or os.setuid(65534)"  # root may write anywhere
    try:
        said = alone(path, nobody)
    finally:
        path.parent.chmod(0o700)
    assert said.startswith(f"WARNING the cache {path} cannot be used (")
    assert said.count("\n") == 1
    assert path.exists() is there
