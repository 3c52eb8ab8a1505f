"""Runs in the environment of one client, and does what it is told: JSON lines in, JSON lines out.

    python benchmarks/driver.py PEER

- ``{"do": "prepare", "url": "http://127.0.0.1:1234", "patience": 6}`` → ``{"ok": true, "versions": {…}}``
- ``{"do": "run", "case": "unary", "times": 200, …}`` → ``{"ok": true, "wall_us": …, "cpu_us": …, …}``
- anything that goes wrong → ``{"ok": false, "lacking": …, "error": "…"}``

Times are microseconds; CPU is that of this whole process, its threads included. Loaded here is only what
comes with Python.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from peers.base import SENT, TEXTS, Lacking, Peer

Figures = dict[str, float]
PATIENCE = 6.0
"""Seconds after which no further call is begun: some clients would take minutes for what others do in one."""
_STANDSTILL = 5.0
"""Seconds without one more open call, after which there will be no more."""


class Driver:
    def __init__(self, peer: Peer, patience: float) -> None:
        self._peer = peer
        self._patience = patience
        self._runner = asyncio.Runner()
        self._begun = False
        self._scales: Any = None

    def run(self, case: str, times: int, **given: Any) -> Figures:
        measure: Callable[..., Figures] = getattr(self, f"_{case}")
        return measure(times, **given)

    def _unary(self, times: int) -> Figures:
        return timed(self._peer.unary, times, self._patience)

    def _hit(self, times: int) -> Figures:
        self._peer.hit()
        return timed(self._peer.hit, times, self._patience)

    def _embeddings(self, times: int) -> Figures:
        asked = urllib.request.Request(
            f"{self._peer.url}/v1/embeddings",
            data=json.dumps({"model": SENT["model"], "input": TEXTS}).encode(),
            headers={"authorization": "Bearer a-key-of-no-worth"},
        )
        with urllib.request.urlopen(asked) as answer:
            body = answer.read()
        found = timed(self._peer.embed, times, self._patience)
        parsed = timed(lambda: json.loads(body), times, self._patience)
        return {**found, "loads_us": parsed["wall_us"], "loads_cpu_us": parsed["cpu_us"]}

    def _stream(self, times: int) -> Figures:
        firsts: list[float] = []
        count = 0
        cpu, began = time.process_time(), time.perf_counter()
        while len(firsts) < times:
            start = time.perf_counter()
            if start - began > self._patience and firsts:
                break
            first = 0.0
            for chunk in self._peer.stream():
                if not first:
                    first = time.perf_counter() - start
                count += chunk is not None
            firsts.append(first)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        return {
            "wall_us": wall / count * 1e6,
            "cpu_us": cpu / count * 1e6,
            "first_us": median(firsts) * 1e6,
            "chunks": count / len(firsts),
        }

    def _tasks(self, times: int, flying: int) -> Figures:
        found: Figures = self._looped(self._fly(times, flying))
        return found

    async def _fly(self, times: int, flying: int) -> Figures:
        taken: list[float] = []
        cpu, began = time.process_time(), time.perf_counter()
        await self._asked(times, flying, taken.append)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        return {
            "wall_us": median(taken) * 1e6,
            "cpu_us": cpu / len(taken) * 1e6,
            "rate": len(taken) / wall,
            "p99_us": sorted(taken)[int(len(taken) * 0.99)] * 1e6,
        }

    async def _asked(self, times: int, flying: int, took: Callable[[float], object]) -> None:
        """Calls, so many in flight; `took` is told the seconds of each."""
        left, over = times, time.perf_counter() + self._patience

        async def work() -> None:
            nonlocal left
            while left > 0 and time.perf_counter() < over:
                left -= 1
                start = time.perf_counter()
                await self._peer.aunary()
                took(time.perf_counter() - start)

        await asyncio.gather(*(work() for _ in range(flying)))

    def _threads(self, times: int, threads: int) -> Figures:
        failed: list[Exception] = []
        taken: list[float] = []
        over = time.perf_counter() + self._patience

        def work() -> None:
            try:
                for _ in range(max(1, times // threads)):
                    start = time.perf_counter()
                    if start > over and taken:
                        return
                    self._peer.unary()
                    taken.append(time.perf_counter() - start)
            except Exception as error:
                failed.append(error)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        cpu, began = time.process_time(), time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        if failed:
            raise failed[0]
        count = len(taken)
        return {"wall_us": median(taken) * 1e6, "cpu_us": cpu / count * 1e6, "rate": count / wall}

    def _open(self, times: int) -> Figures:
        """Memory of calls that wait for their answer; `times` of them at once."""
        return self._looped(self._wait(times))

    async def _wait(self, times: int) -> Figures:
        async def held(count: int) -> float:
            calls = [asyncio.ensure_future(self._peer.aunary("held")) for _ in range(count)]
            most, since = 0, time.perf_counter()
            while most < count:
                await asyncio.sleep(0.1)
                there = await asyncio.to_thread(self._held)
                if there > most:
                    most, since = there, time.perf_counter()
                failed = [call for call in calls if call.done()]
                if failed or time.perf_counter() - since > _STANDSTILL:
                    for call in calls:
                        call.cancel()
                    await asyncio.gather(*calls, return_exceptions=True)
                    await asyncio.to_thread(self._get, "/release")
                    raise Lacking(f"it has only {most} calls open at once")
            full = resident()
            await asyncio.to_thread(self._get, "/release")
            await asyncio.gather(*calls)
            return full

        await held(8)
        await asyncio.sleep(0.05)
        empty = resident()
        return {"memory_mb": (await held(times) - empty) / times * 1000}

    def _held(self) -> int:
        held: int = json.loads(self._get("/spent"))["held"]
        return held

    def _growth(self, times: int, few: int) -> Figures:
        """Memory after `times` calls, less that after `few`; 32 in flight.

        Nothing is kept of the calls here: their times alone would be most of what is found.
        """
        self._patience = float("inf")
        self._looped(self._asked(few, 32, float))
        before = resident()
        self._looped(self._asked(times - few, 32, float))
        return {"growth_mb": resident() - before}

    def _ladder(self, times: int, rounds: int) -> Figures:
        """Microseconds of each layer; for hybrid_infer alone."""
        from ladder import climb

        return climb(rounds, times)

    def _scale(self, times: int, what: str, size: int) -> Figures:
        """Microseconds of a call with so many of something; for hybrid_infer alone."""
        from scaling import Scales

        if self._scales is None:
            self._scales = Scales(self._runner)
        return {"cpu_us": self._scales.cost(what, size, times)}

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self._peer.url}{path}") as answer:
            got: bytes = answer.read()
        return got

    def _looped(self, work: Any) -> Any:
        if not self._begun:
            self._begun = True
            self._runner.run(self._peer.begin())
        return self._runner.run(work)


def timed(function: Callable[[], object], times: int, patience: float) -> Figures:
    taken: list[float] = []
    cpu, over = time.process_time(), time.perf_counter() + patience
    while len(taken) < times:
        start = time.perf_counter()
        if start > over and taken:
            break
        function()
        taken.append(time.perf_counter() - start)
    return {"wall_us": median(taken) * 1e6, "cpu_us": (time.process_time() - cpu) / len(taken) * 1e6}


def resident() -> float:
    """Megabytes of memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peer_class(name: str) -> type[Peer]:
    found: type[Peer] = importlib.import_module(f"peers.{name.replace('-', '_')}").Client
    return found


def main(name: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a client that prints does not print among the answers
    driver: Driver | None = None
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        answer: dict[str, Any]
        try:
            if asked.pop("do") == "prepare":
                made = peer_class(name)
                driver = Driver(made(asked["url"]), asked.get("patience", PATIENCE))
                answer = {"versions": {package: version(package) for package in made.packages}}
            else:
                assert driver is not None, "prepare comes first"
                answer = dict(driver.run(asked.pop("case"), asked.pop("times"), **asked))
            answer["ok"] = True
        except Exception as error:
            lacking = isinstance(error, Lacking)
            text = str(error) if lacking else f"{type(error).__name__}: {error}"
            answer = {"ok": False, "lacking": lacking, "error": text[:300]}
        print(json.dumps(answer), file=answers)
    os._exit(0)  # a client's threads and loops do not hold up the end


if __name__ == "__main__":
    main(sys.argv[1])
