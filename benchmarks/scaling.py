"""Whether a call costs more the more there is of something: runs in the environment of hybrid_infer.

Without I/O (see `ladder`), so that what is seen is the client's own: calls in flight, targets, what is in the
ledger, what is in the cache. The cost is that of the whole process, the ledger's thread included.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

from ladder import stubbed, stubbed_async
from peers.base import MESSAGES, MODEL, OPTIONS

from hybrid_infer.calls.cached import Entry
from hybrid_infer.runtime.step import step

Work = Callable[[int], float]
"""Makes so many calls, and returns the microseconds of CPU of each."""


class Scales:
    """One thing to have more of. What was made for a size is kept for the next round."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._made: dict[tuple[str, int], Work] = {}
        self._folder = Path(tempfile.mkdtemp(prefix="scaling-"))

    def cost(self, what: str, size: int, count: int) -> float:
        if (what, size) not in self._made:
            make: Callable[[int], Work] = getattr(self, f"_{what}")
            self._made[what, size] = make(size)
            self._made[what, size](max(1, count // 4))
        return self._made[what, size](count)

    def _flying(self, size: int) -> Work:
        """Calls in flight that wait for their answer."""

        async def measured(count: int) -> float:
            released = asyncio.Event()

            async def hold() -> None:
                await released.wait()

            client = stubbed_async(hold)
            held = [
                asyncio.ensure_future(client.chat.completions.create(model="held", messages=MESSAGES))
                for _ in range(size - 1)
            ]
            await asyncio.sleep(0)
            for _ in range(5):
                await client.chat.completions.create(messages=MESSAGES, **OPTIONS)
            began = time.process_time()
            for _ in range(count):
                await client.chat.completions.create(messages=MESSAGES, **OPTIONS)
            took = time.process_time() - began
            released.set()
            await asyncio.gather(*held)
            await client.close()
            return took / count * 1e6

        return lambda count: self._runner.run(measured(count))

    def _targets(self, size: int) -> Work:
        """Models of the configuration, each at an address of its own; calls go round them."""
        names = [f"model-{number}" for number in range(size)]
        models = {
            name: {"openai-compatible": {"model": name, "url": f"http://127.0.0.1:{10_000 + number}"}}
            for number, name in enumerate(names)
        }
        client = stubbed(mode="openai-compatible", base_url="http://127.0.0.1:9999", models=models)
        for name in names:
            client.chat.completions.create(model=name, messages=MESSAGES, **OPTIONS)
        return _spent(lambda name: client.chat.completions.create(model=name, messages=MESSAGES), names)

    def _ledger(self, size: int) -> Work:
        """Calls that the ledger holds already."""
        client = stubbed(ledger=self._folder / f"{size}.sqlite")
        for _ in range(size):
            client.chat.completions.create(messages=MESSAGES, **OPTIONS)
        work = _spent(lambda _: client.chat.completions.create(messages=MESSAGES, **OPTIONS), [""])

        def written(count: int) -> float:
            _written()
            began = time.process_time()
            work(count)
            _written()
            return (time.process_time() - began) / count * 1e6

        return written

    def _cache(self, size: int) -> Work:
        """Answers that the cache holds; every call is a hit."""
        client = stubbed(cache="memory")
        fixed = {**OPTIONS, "temperature": 0}
        client.chat.completions.create(messages=MESSAGES, **fixed)
        store: Any = client._core._parts.cache.store  # type: ignore[union-attr]
        kept = next(iter(store._entries.values()))
        for _ in range(size - 1):
            entry = Entry(**{name: getattr(kept, name) for name in kept.__dataclass_fields__})
            step(store.put(os.urandom(32), entry))
        return _spent(lambda _: client.chat.completions.create(messages=MESSAGES, **fixed), [MODEL])


def _spent(function: Callable[[str], object], names: list[str]) -> Work:
    def work(count: int) -> float:
        turns = cycle(names)
        began = time.process_time()
        for _ in range(count):
            function(next(turns))
        return (time.process_time() - began) / count * 1e6

    return work


def _written() -> None:
    """Wait until the ledger's thread has written all it was given: it takes no more CPU."""
    while True:
        began = time.process_time()
        time.sleep(0.3)
        if time.process_time() - began < 0.002:
            return
