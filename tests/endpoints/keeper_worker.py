"""A process that holds a machine, whose provider is a file. Run by `test_keeper_processes`, and killed by it.

Arguments: folder, name, replicas, and what to do: ``steady`` holds one lease until it is told to end,
``restless`` takes and gives back leases without end, ``sweep`` sweeps once.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from hybrid_infer.endpoints.base import Endpoint
from hybrid_infer.endpoints.errors import EndpointConflictError
from hybrid_infer.endpoints.keeper import Keeper
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step
from hybrid_infer.stores.leases.sqlite import SqliteLeases

MACHINE = "modal/llm"
PACE = 200
"""Seconds of the processes in one of ours."""
LASTS = 1000.0
"""Seconds of the processes that a lease lasts."""


class Hasty(BlockingRuntime):
    """Time runs faster, the same for all processes."""

    def now(self) -> float:
        return time.monotonic() * PACE

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=time.time() % 10**6 * PACE)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds / PACE)


class FileEndpoint:
    """The minimum is in a file, and what was done to it in another one."""

    name = MACHINE

    def __init__(self, folder: Path, who: str) -> None:
        self._minimum = folder / "minimum.json"
        self._done = folder / "done.txt"
        self._who = who

    async def minimum(self) -> int:
        return int(json.loads(self._minimum.read_text()))

    async def set_minimum(self, replicas: int) -> None:
        time.sleep(random.uniform(0, 0.003))
        new = self._minimum.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(replicas))
        new.replace(self._minimum)
        write(self._done, f"{self._who} {replicas}")
        time.sleep(random.uniform(0, 0.003))


def write(path: Path, line: str) -> None:
    """Whole or not at all, also beside others."""
    with path.open("a") as file:
        file.write(line + "\n")


def main(folder: Path, who: str, replicas: int, what: str) -> None:
    endpoint = cast(Endpoint, FileEndpoint(folder, who))
    runtime = Hasty()
    store = SqliteLeases(folder / "leases.sqlite", runtime, patience=600.0)
    keeper = Keeper(store, runtime, lambda _: endpoint, holder=who, patience=1200.0)
    if what == "sweep":
        print(json.dumps(step(keeper.sweep()).problems))
        return
    if what == "restless":
        print("begins", flush=True)
        while True:
            try:
                lease = step(keeper.hold(MACHINE, replicas, LASTS, why=what))
                step(keeper.release(lease))
            except EndpointConflictError:
                pass
    lease = step(keeper.hold(MACHINE, replicas, LASTS, why=what))
    write(folder / "done.txt", f"{who} holds")
    print("holds", flush=True)
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    while not ended.wait(0.2):
        renewed = step(keeper.renew(lease, LASTS))
        assert renewed is not None
    write(folder / "done.txt", f"{who} ends")
    step(keeper.release(lease))
    print("ended", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
