"""The cache in a file, as one process sees it."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_infer.calls.cached import Entry
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.step import step
from hybrid_infer.stores.cache_sqlite.file import CacheFile
from hybrid_infer.stores.cache_sqlite.reading import CacheReader
from hybrid_infer.stores.cache_sqlite.store import SqliteCache, sqlite_cache
from stores.cache_samples import NOON, entry, fill, key, proven, proves, runtime

pytestmark = pytest.mark.real_time

Open = Callable[..., SqliteCache]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


@pytest.fixture
def cache(colour: str, path: Path) -> Iterator[Open]:
    """Makes clients' caches at `path`."""

    def make(**options: int) -> SqliteCache:
        return sqlite_cache(path, runtime(colour), **options)

    yield make
    if path.parent.exists():
        make()._shared.close(timeout=10)


def stored_now(value: bytes = b"answer", *, lasts: float | None = None) -> Entry:
    now = time.time()
    return entry(value, stored=now, expires=None if lasts is None else now + lasts)


def keys_in(path: Path) -> set[bytes]:
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert (
            db.execute("SELECT count(*) FROM entries").fetchone()
            == db.execute("SELECT count(*) FROM entries JOIN records USING (id)").fetchone()
        )
        return {name for (name,) in db.execute("SELECT key FROM entries")}
    finally:
        db.close()


async def test_what_was_put_is_found_at_once_and_after_it_was_written(cache: Open, path: Path) -> None:
    store, kept = cache(), stored_now()
    assert await store.get(key(1)) is None
    await store.put(key(1), kept)
    assert await store.get(key(1)) == kept
    await store.aclose()
    assert keys_in(path) == {key(1)}
    assert await store.get(key(1)) == kept
    assert await store.get(key(2)) is None


async def test_what_was_removed_is_gone_at_once_and_from_the_file(cache: Open, path: Path) -> None:
    store = cache()
    await store.put(key(1), stored_now())
    await store.put(key(2), stored_now())
    await store.aclose()
    await store.remove(key(1))
    assert await store.get(key(1)) is None
    await store.remove(key(3))
    await store.aclose()
    assert await store.get(key(1)) is None
    assert keys_in(path) == {key(2)}


async def test_a_later_answer_takes_the_place_of_an_earlier_one_and_never_the_other_way_round(
    cache: Open, path: Path
) -> None:
    """Also where it was written by another process, and this one writes late."""
    store = cache()
    fill(path, {key(1): entry(b"old"), key(2): entry(b"new", stored=NOON + 10)})
    await store.put(key(1), entry(b"newer and longer", stored=NOON + 5))
    await store.put(key(2), entry(b"old", stored=NOON + 5))
    await store.aclose()
    found = [await store.get(key(number)) for number in (1, 2)]
    assert [one and one.value for one in found] == [b"newer and longer", b"new"]


async def test_an_answer_past_its_time_is_found_for_as_long_as_stale_ones_are_kept(cache: Open) -> None:
    patient, store = cache(keep_stale=60), cache()
    past = entry(stored=time.time() - 100, expires=time.time() - 50)
    await store.put(key(1), past)
    for _ in ("waiting", "written"):
        assert await patient.get(key(1)) == past
        assert await store.get(key(1)) is None
        await store.aclose()


async def test_answers_long_past_their_time_leave_the_file_by_themselves(cache: Open, path: Path) -> None:
    now = time.time()
    fill(path, {key(1): entry(expires=now - 100), key(2): entry(expires=now + 100), key(3): entry()})
    store = cache()
    await store.put(key(4), stored_now())
    await store.aclose()
    assert keys_in(path) == {key(2), key(3), key(4)}


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
async def test_nobody_else_may_read_the_file_and_those_beside_it(cache: Open, path: Path) -> None:
    before = os.umask(0)
    try:
        store = sqlite_cache(path.parent / "new" / "folder" / "a.sqlite", runtime("sync"))
        step(store.put(key(1), stored_now()))
        folder, until = store._shared.path.parent, time.monotonic() + 10
        while not (found := list(folder.glob("*-shm"))):
            assert time.monotonic() < until
            time.sleep(0.001)
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    finally:
        os.umask(before)
        store._shared.close(timeout=10)
    assert files == dict.fromkeys(("a.sqlite", "a.sqlite-wal", "a.sqlite-shm"), 0o600)
    assert found
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@settings(max_examples=30)
@given(st.dictionaries(st.integers(0, 20), st.binary(max_size=40_000), min_size=1, max_size=6))
def test_values_of_any_bytes_come_back_as_they_were(values: dict[int, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.sqlite"
        fill(path, {key(number): entry(value) for number, value in values.items()})
        reader = CacheReader(path)
        for number, value in values.items():
            found = reader.get(key(number), 0.0)
            assert found is not None
            assert found[0] == entry(value)
        reader.close()


@pytest.mark.parametrize("size", [300, 2_000, 9_000, 60_000])
def test_the_file_does_not_exceed_its_bound_and_is_used_well(path: Path, size: int) -> None:
    bound = 2_000_000
    batch = max(5, 20_000 // size)
    file = CacheFile(path)
    for number in range(0, 2 * bound // size, batch):
        some = {key(n): entry(os.urandom(size)) for n in range(number, number + batch)}
        file.write(some.items(), {}, max_bytes=bound, now=NOON + number, keep_stale=0.0)
        assert path.stat().st_size <= bound
    file.close()
    assert len(keys_in(path)) * size > bound * 0.4


def test_what_was_not_used_for_longest_goes_first(path: Path) -> None:
    size, bound = 10_000, 1_000_000
    file = CacheFile(path)
    for number in range(300):
        used = {key(n): NOON + number for n in (1, 2)}
        change = (key(number), entry(bytes(size)))
        file.write([change], used, max_bytes=bound, now=NOON + number, keep_stale=0.0)
    file.close()
    left = keys_in(path)
    assert {key(1), key(2)} < left
    newest = {key(number) for number in range(300 - len(left) + 2, 300)}
    assert left == newest | {key(1), key(2)}


async def test_an_answer_that_is_read_counts_as_used(cache: Open, path: Path) -> None:
    fill(path, {key(number): entry() for number in range(3)})
    store = cache()
    assert await store.get(key(1)) is not None
    await store.aclose()
    db = sqlite3.connect(path)
    used = dict(db.execute("SELECT key, used FROM entries").fetchall())
    db.close()
    assert used[key(0)] == used[key(2)] == NOON
    assert used[key(1)] == pytest.approx(time.time(), abs=30)


async def test_an_answer_too_large_for_the_bound_is_not_kept(cache: Open, path: Path) -> None:
    store = cache(max_bytes=1_000_000)
    await store.put(key(1), stored_now(bytes(300_000)))
    await store.put(key(2), stored_now(bytes(200_000)))
    await store.aclose()
    assert keys_in(path) == {key(2)}


async def test_answers_that_come_faster_than_they_can_be_written_are_not_kept(cache: Open) -> None:
    """Nothing waits for them, and memory is bounded."""
    store = cache(max_bytes=2**40)
    large = stored_now(bytes(10_000_000))
    for number in range(10):
        await store.put(key(number), large)
    found = [await store.get(key(number)) for number in range(10)]
    assert found[0] == large
    assert found[9] is None


async def test_a_number_that_cannot_be_kept_costs_only_its_own_answer(cache: Open, path: Path) -> None:
    store = cache()
    await store.put(key(1), entry(saved_nano=2**70))
    await store.put(key(2), entry(saved_nano=None))
    await store.aclose()
    assert keys_in(path) == {key(2)}


async def test_a_file_that_was_removed_is_begun_anew(cache: Open, path: Path) -> None:
    store = cache()
    await store.put(key(1), stored_now())
    await store.aclose()
    assert await store.get(key(1)) is not None
    path.unlink()
    time.sleep(1.1)
    assert await store.get(key(1)) is None
    await store.put(key(2), stored_now())
    await store.aclose()
    assert keys_in(path) == {key(2)}


async def test_without_a_first_answer_there_is_no_file(cache: Open, path: Path) -> None:
    store = cache()
    assert await store.get(key(1)) is None
    await store.aclose()
    assert not path.exists()


def test_many_threads_read_and_write_and_every_answer_is_the_right_one(path: Path) -> None:
    """Sixteen threads, three hundred keys, and a bound that not all answers fit into."""
    store = sqlite_cache(path, runtime("sync"), max_bytes=1_000_000)
    wrong, found, end = list[bytes](), list[int](), time.monotonic() + 1.5

    def live(seed: int) -> None:
        turn = 0
        while time.monotonic() < end:
            turn += 1
            name = key((seed * 31 + turn * 11) % 300)
            if (seed + turn) % 3 == 0:
                step(store.put(name, stored_now(proven(name, turn, 5000))))
            elif (kept := step(store.get(name))) is not None:
                found.append(seed)
                if not proves(name, kept.value):
                    wrong.append(kept.value)
            if turn % 500 == 0:
                step(store.aclose())

    threads = [threading.Thread(target=live, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    store._shared.close(timeout=10)
    assert wrong == []
    assert len(found) > 500
    assert 20 < len(keys_in(path)) < 300
    assert path.stat().st_size <= 1_000_000


async def test_two_clients_of_a_process_share_one_file(cache: Open, path: Path, colour: str) -> None:
    other: Runtime = runtime("async" if colour == "sync" else "sync")
    one, two = cache(), sqlite_cache(f"{path.parent}/./answers.sqlite", other)
    await one.put(key(1), stored_now())
    assert await two.get(key(1)) is not None


def test_opening_a_cache_opens_nothing(path: Path) -> None:
    threads = threading.active_count()
    assert repr(sqlite_cache(path, runtime("sync"))) == f"<SqliteCache {path}>"
    assert threading.active_count() == threads
    assert not path.exists()


def test_the_store_loads_nothing_heavy() -> None:
    code = (
        "import sys, hybrid_infer.stores.cache_sqlite.store; "
        "print([name for name in ('pydantic', 'httpx', 'redis', 'asyncio') if name in sys.modules])"
    )
    import subprocess

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
