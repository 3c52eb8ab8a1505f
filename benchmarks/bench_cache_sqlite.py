"""What the cache in a file costs, beside a bare httpx call in the same run.

python benchmarks/bench_cache_sqlite.py                 takes a minute
python benchmarks/bench_cache_sqlite.py --answers 500000  a larger file, that the system's memory may not hold

Everything is measured in turns, so that all of it meets the same machine; what counts are the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx
from loopback import served

from hybrid_infer import Client
from hybrid_infer.calls.cached import Entry
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.stores.cache_sqlite.file import CacheFile
from hybrid_infer.stores.cache_sqlite.store import sqlite_cache

PROMPT = "Why is the sky blue? " * 48
"""1 kB."""
SIZE = 2_000
"""Bytes of an answer."""
ROUNDS, CALLS = 25, 60


def made() -> tuple[bytes, Entry]:
    now = time.time()
    kept = Entry(
        value=os.urandom(SIZE), stored=now, expires=now + 86_400, target="t", operation="chat", saved_nano=1
    )
    return os.urandom(32), kept


def per_call(work: Callable[[], object], calls: int = CALLS) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls


def filled(path: Path, answers: int) -> list[bytes]:
    """A cache with so many answers; its keys."""
    file, keys = CacheFile(path), list[bytes]()
    for _ in range(answers // 500):
        some = [made() for _ in range(500)]
        file.write(some, {}, max_bytes=2**40, now=time.time(), keep_stale=0.0)
        keys += [key for key, _ in some]
    file.close()
    return keys


def beside_httpx(folder: Path, answers: int) -> None:
    keys = filled(folder / "a.sqlite", answers)
    print(
        f"{answers:,} answers of {SIZE:,} bytes: {(folder / 'a.sqlite').stat().st_size / answers:,.0f} each"
    )
    store = sqlite_cache(folder / "a.sqlite", BlockingRuntime(), max_bytes=2**40)
    body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "temperature": 0}
    with served() as address, httpx.Client() as http:
        client = Client(
            mode="openai-compatible",
            base_url=address,
            model="m",
            cache="sqlite",
            cache_path=str(folder / "b.sqlite"),
        )
        fresh = iter([made() for _ in range(ROUNDS * CALLS)])

        def bare() -> None:
            http.post(f"{address}/v1/chat/completions", json=body).json()

        def get() -> None:
            assert step(store.get(random.choice(keys))) is not None

        def put() -> None:
            step(store.put(*next(fresh)))

        def hit() -> None:
            assert client.chat.completions.create(**body).hybrid.cache == "hit"

        client.chat.completions.create(messages=body["messages"], model="m", temperature=0)
        works = {
            "bare httpx call": bare,
            "get of the store": get,
            "put of the store": put,
            "hit of a client": hit,
        }
        for work in (bare, get, hit):
            per_call(work)
        rounds = [{name: per_call(work) for name, work in works.items()} for _ in range(ROUNDS)]
        client.close()
    for name in works:
        times = [found[name] for found in rounds]
        ratios = [found[name] / found["bare httpx call"] for found in rounds]
        print(f"{name:<22} {median(times) * 1e6:8.1f} us {median(ratios):7.3f} of a bare call")
    step(store.aclose())


def stalls(folder: Path) -> None:
    """How long each of 3,000 answers holds up an event loop, written where it is or in the background."""

    async def beat(put: Callable[[], object]) -> tuple[float, float, float]:
        took: list[float] = []
        for _ in range(3000):
            began = time.perf_counter()
            put()
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.0005)
        took.sort()
        return median(took), took[int(len(took) * 0.99)], took[-1]

    file = CacheFile(folder / "here.sqlite")
    store = sqlite_cache(folder / "background.sqlite", TaskRuntime(), max_bytes=2**40)

    def here() -> None:
        file.write([made()], {}, max_bytes=2**40, now=time.time(), keep_stale=0.0)

    def background() -> None:
        step(store.put(*made()))

    for name, put in {"written where it is": here, "in the background": background}.items():
        usual, rare, worst = (seconds * 1e6 for seconds in asyncio.run(beat(put)))
        print(f"put {name:<20} {usual:8.1f} us, 99 % {rare:8.1f} us, at most {worst:10.1f} us")
    file.close()
    store._shared.close(timeout=20)


def main() -> None:
    arguments = argparse.ArgumentParser(description="What the cache in a file costs.")
    arguments.add_argument("--answers", type=int, default=50_000, help="answers in the file")
    answers = arguments.parse_args().answers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        beside_httpx(folder, answers)
        stalls(folder)


if __name__ == "__main__":
    main()
