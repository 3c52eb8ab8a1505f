"""The cache in memory: least recently used first, by bytes."""

from __future__ import annotations

import sys
import threading
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.cached import Entry
from hybrid_infer.runtime.base import new_guard
from hybrid_infer.runtime.step import step
from hybrid_infer.stores.cache_memory import OVERHEAD, MemoryCache

NOW = 1_000.0


def cache(max_bytes: int = 10**9) -> MemoryCache:
    return MemoryCache(new_guard(), max_bytes=max_bytes)


def entry(size: int = 100, *, expires: float | None = None) -> Entry:
    return Entry(
        value=b"x" * size, stored=NOW, expires=expires, target="m/t", operation="chat", saved_nano=None
    )


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_what_was_used_last_stays() -> None:
    kept = cache(3 * (100 + OVERHEAD))
    for number in range(3):
        step(kept.put(key(number), entry()))
    assert step(kept.get(key(0))) is not None
    step(kept.put(key(3), entry()))
    assert [number for number in range(4) if step(kept.get(key(number)))] == [0, 2, 3]


def test_an_entry_in_the_place_of_another_counts_once() -> None:
    kept = cache()
    step(kept.put(key(0), entry(1000)))
    step(kept.put(key(0), entry(10)))
    assert (len(kept), kept.size) == (1, 10 + OVERHEAD)


def test_an_entry_larger_than_all_of_it_is_not_kept_and_moves_nobody_out() -> None:
    kept = cache(1000)
    step(kept.put(key(0), entry()))
    step(kept.put(key(1), entry(1001)))
    assert step(kept.get(key(0))) is not None
    assert step(kept.get(key(1))) is None


def test_an_entry_past_its_time_is_left_to_who_asks() -> None:
    kept = cache()
    step(kept.put(key(0), entry(expires=NOW - 10)))
    assert step(kept.get(key(0))) is not None


def test_an_entry_can_be_removed_once_and_again() -> None:
    kept = cache()
    step(kept.put(key(0), entry()))
    for _ in range(2):
        step(kept.remove(key(0)))
    assert (len(kept), kept.size) == (0, 0)


actions = st.tuples(st.sampled_from(["put", "get", "remove"]), st.integers(0, 9), st.integers(0, 900))


@given(st.lists(actions, max_size=60))
def test_it_never_holds_more_than_it_may_and_counts_right(done: list[tuple[str, int, int]]) -> None:
    kept = cache(2000)
    for action, number, size in done:
        if action == "put":
            step(kept.put(key(number), entry(size)))
        else:
            step(getattr(kept, action)(key(number)))
        assert kept.size <= 2000
        found = [one for one in (step(kept.get(key(n))) for n in range(10)) if one is not None]
        assert kept.size == sum(len(one.value) + OVERHEAD for one in found)
        assert len(kept) == len(found)


def test_threads_may_use_it_at_the_same_time() -> None:
    kept = cache(20 * (100 + OVERHEAD))
    errors: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for number in range(3000):
                step(kept.put(key((first + number) % 50), entry()))
                step(kept.get(key((first * 7 + number) % 50)))
                if number % 5 == 0:
                    step(kept.remove(key(number % 50)))
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    assert len(kept) <= 20
    assert kept.size == len(kept) * (100 + OVERHEAD)


def test_what_it_says_an_entry_takes_is_what_it_takes() -> None:
    count, size = 5_000, 500
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = cache()
        for number in range(count):
            step(kept.put(key(number), entry(size, expires=NOW + number)))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.75 < taken / kept.size <= 1.05
