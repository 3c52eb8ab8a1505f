"""Runs a case, in virtual time or over real sockets, and looks at what is left."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from both import Api
from faults.cases import VIRTUAL, Case
from faults.observed import ASK, Answered, Observed, left_in_memory, observe
from faults.stage import Arrived, CountedSpans, RecordedWorld, client
from hybrid_infer.calls.call import MODES, Mode
from hybrid_infer.runtime import virtual
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.simulator.server import SimulatorServer, exports

Alter = Callable[[Api], None]
"""Spoils a client on purpose, to see whether it is noticed."""


@cache
def spans() -> CountedSpans:
    """One for all: making a provider of spans takes as long as a case."""
    return CountedSpans()


@contextmanager
def memory_at_rest() -> Iterator[None]:
    """What is there before is not looked at again and again. To be held around `play`."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def play(case: Case) -> Observed:
    """Run one case."""
    random.seed(str(case) + case.fault)  # the waits between retries
    counted = spans()
    counted.clear()
    gc.freeze()
    threads = set(threading.enumerate())
    files = _open_files()
    if case.pace is not VIRTUAL:
        seen = _over_sockets(case, counted)
    else:
        seen = _in_tasks(case, counted) if case.colour == "async" else _in_threads(case, counted)
    seen.left += left_in_memory()
    if (more := _open_files() - files) > 0:
        seen.left.append(f"{more} files")
    seen.left += [f"thread {thread.name!r}" for thread in threading.enumerate() if thread not in threads]
    return seen


def _in_threads(case: Case, counted: CountedSpans) -> Observed:
    world = RecordedWorld()
    api = client(VirtualThreads(), world=world, spans=counted, **case.settings())
    return step(observe(api, world, counted, case, world.use_faults))


def _in_tasks(case: Case, counted: CountedSpans) -> Observed:
    async def main() -> Observed:
        runtime, world = TaskRuntime(), RecordedWorld()
        runtime.check()
        api = client(runtime, world=world, spans=counted, **case.settings())
        seen = await observe(api, world, counted, case, world.use_faults)
        seen.left += _other_tasks()
        return seen

    return virtual.run(main())


def _other_tasks() -> list[str]:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return [f"task {task.get_name()}" for task in others]


def _over_sockets(case: Case, counted: CountedSpans) -> Observed:
    world = RecordedWorld(time.monotonic)
    refused = case.rule.fault.kind == "refuse"
    if refused:
        world.use_faults(case.rules())  # nobody listens from the beginning
    ready = threading.Event()
    server = SimulatorServer(world, speed=case.pace.speed, ready=lambda _: ready.set())
    thread = threading.Thread(target=server.run)
    thread.start()
    ready.wait()
    environ = exports(server.port)

    async def main(runtime: Runtime) -> Observed:
        runtime.check()
        api = client(runtime, world=None, spans=counted, environ=environ, **case.settings())
        seen = await observe(api, world, counted, case, server.use_faults)
        if runtime.name == TaskRuntime.name:
            seen.left += _other_tasks()
        return seen

    try:
        seen = asyncio.run(main(TaskRuntime())) if case.colour == "async" else step(main(BlockingRuntime()))
    finally:
        server.stop()
        thread.join()
    if refused:
        # Nothing arrives where nobody listens, so there is only the client's word for it.
        seen.arrived = [
            Arrived(
                mode=case.modes[0], at=seen.began + each.began, asked=True, probe=False, fault=case.rule.fault
            )
            for each in seen.history
        ]
    return seen


def _open_files() -> int:
    """Of this process; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@cache
def right_answers() -> Mapping[tuple[Mode, bool], Answered]:
    """What each mode answers where nothing goes wrong, whole and (True) as a stream."""

    async def main(mode: Mode, stream: bool) -> Answered:
        api = client(VirtualThreads(), world=RecordedWorld(), spans=spans(), mode=mode)
        whole = await (await api.stream(messages=ASK)).final() if stream else await api.create(messages=ASK)
        await api.close()
        return Answered.of(whole)

    return {(mode, stream): step(main(mode, stream)) for mode in MODES for stream in (False, True)}
