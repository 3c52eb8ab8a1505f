"""What the cache in memory costs, beside a bare httpx call in the same run.

    python benchmarks/bench_cache.py [--rounds 25] [--calls 60]

- a hit, prompt of 1 kB, the whole stack on: over one bare httpx call to a server on loopback. To hold, in the
  blocking client: at most 0.15. The other rows (streams, tasks, what a miss adds) are for information.
- 100,000 answers of 2 kB: the memory they take over their bytes. To hold: at most 1.3.

What is compared takes turns, so that all of it meets the same machine; ratios are medians over the rounds.
The exit code says whether both hold.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from itertools import count
from statistics import median
from typing import Any

import httpx
from loopback import served

from hybrid_infer import AsyncClient, Client
from hybrid_infer.calls.cached import Entry
from hybrid_infer.runtime.base import new_guard
from hybrid_infer.runtime.step import step
from hybrid_infer.stores.cache_memory import MemoryCache

HIT, MEMORY = 0.15, 1.3
PROMPT = ("Why is the sky blue? " * 48)[:1000]
ANSWERS, SIZE = 100_000, 2_000
FIXED: dict[str, Any] = {"messages": [{"role": "user", "content": PROMPT}], "temperature": 0}


def per_call(work: Callable[[], object], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls


def times(rounds: int, calls: int) -> bool:
    body = {"model": "m", **FIXED}
    with (
        served() as address,
        httpx.Client() as http,
        asyncio.Runner() as runner,
        Client(mode="openai-compatible", base_url=address, model="m", cache="memory") as kept,
        Client(mode="openai-compatible", base_url=address, model="m") as plain,
    ):
        tasks = AsyncClient(mode="openai-compatible", base_url=address, model="m", cache="memory")
        seeds = count()

        def bare() -> None:
            http.post(f"{address}/v1/chat/completions", json=body).json()

        def hit() -> None:
            assert kept.chat.completions.create(**FIXED).hybrid.cache == "hit"

        def hit_as_stream() -> None:
            with kept.chat.completions.create(**FIXED, stream=True) as stream:
                for _ in stream:
                    pass

        def miss() -> None:
            assert kept.chat.completions.create(**FIXED, seed=next(seeds)).hybrid.cache == "miss"

        def without() -> None:
            plain.chat.completions.create(**FIXED)

        async def hits_in_tasks() -> float:
            began = time.perf_counter()
            for _ in range(calls):
                await tasks.chat.completions.create(**FIXED)
            return (time.perf_counter() - began) / calls

        works = {
            "bare httpx call": bare,
            "hit": hit,
            "hit as a stream": hit_as_stream,
            "miss": miss,
            "no cache": without,
        }
        kept.chat.completions.create(**FIXED)
        runner.run(hits_in_tasks())
        for work in works.values():
            per_call(work, calls)
        found: list[dict[str, float]] = []
        for _ in range(rounds):
            one = {name: per_call(work, calls) for name, work in works.items()}
            one["hit in tasks"] = runner.run(hits_in_tasks())
            found.append(one)
        runner.run(tasks.close())
    for name in found[0]:
        micro = median(one[name] for one in found) * 1e6
        print(f"{name:<18} {micro:8.1f} us {ratio(found, name):7.3f} of a bare call")
    holds = ratio(found, "hit") <= HIT
    print(f"a hit is {ratio(found, 'hit'):.3f} of a bare call, to hold: {HIT}: {'ok' if holds else 'NO'}")
    return holds


def ratio(found: list[dict[str, float]], name: str) -> float:
    return median(one[name] / one["bare httpx call"] for one in found)


def memory() -> bool:
    tracemalloc.start()
    store = MemoryCache(new_guard(), max_bytes=2**40)
    now = time.time()
    for number in range(ANSWERS):
        entry = Entry(
            value=os.urandom(SIZE),
            stored=now + number,
            expires=now + number + 86_400,
            target="openai-compatible/m",
            operation="chat",
            saved_nano=6_100 + number,
        )
        step(store.put(os.urandom(32), entry))
    taken = tracemalloc.get_traced_memory()[0] / (ANSWERS * SIZE)
    tracemalloc.stop()
    holds = taken <= MEMORY
    said = store.size / (ANSWERS * SIZE)
    print(
        f"{ANSWERS:,} answers of {SIZE:,} bytes take {taken:.3f} of their bytes (counted as {said:.3f}), "
        f"to hold: {MEMORY}: {'ok' if holds else 'NO'}"
    )
    return holds


def main() -> int:
    arguments = argparse.ArgumentParser(description="What the cache in memory costs.")
    arguments.add_argument("--rounds", type=int, default=25)
    arguments.add_argument("--calls", type=int, default=60)
    given = arguments.parse_args()
    return 0 if all([times(given.rounds, given.calls), memory()]) else 1


if __name__ == "__main__":
    sys.exit(main())
