"""Many calls at a time, given up at any moment: nothing runs on at Modal that nobody waits for."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from functions_support import TOKEN, named
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.simulator.grpc_door import ModalDoor
from hybrid_infer.transport.functions import FunctionTimeout
from hybrid_infer.transport.modal_functions import ModalFunctions

pytest.importorskip("modal")
pytestmark = pytest.mark.real_time


def nothing_runs(door: ModalDoor) -> bool:
    end = time.monotonic() + 10
    while (door.registry.running() or door.seen.open) and time.monotonic() < end:
        time.sleep(0.01)
    return not door.registry.running()


def test_threads_share_one_transport(door: ModalDoor) -> None:
    runtime = BlockingRuntime()
    functions = ModalFunctions(runtime=runtime, token=lambda: TOKEN)

    def one(n: int) -> object:
        work = functions.call(named("faults/echo"), (n,), {}, until=runtime.now() + 30)
        return step(work).value["args"][0]

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(one, range(64))) == list(range(64))
    assert door.seen.count("ClientHello") + door.seen.count("FunctionGet") <= 16
    step(functions.aclose())


@pytest.mark.parametrize("seed", [1, 2])
async def test_tasks_given_up_at_any_moment_leave_nothing_running(door: ModalDoor, seed: int) -> None:
    chance = random.Random(seed)
    runtime = TaskRuntime()
    functions = ModalFunctions(runtime=runtime, token=lambda: TOKEN)

    async def one() -> None:
        await functions.call(named("faults/slow"), (60,), {}, until=runtime.now() + 30)

    tasks = [asyncio.create_task(one()) for _ in range(40)]
    for task in tasks:
        await asyncio.sleep(chance.random() * 0.01)
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in done)
    assert await asyncio.to_thread(nothing_runs, door)
    await functions.aclose()


def test_threads_whose_time_is_over_at_any_moment_leave_nothing_running(door: ModalDoor) -> None:
    runtime = BlockingRuntime()
    functions = ModalFunctions(runtime=runtime, token=lambda: TOKEN)
    step(functions.call(named("faults/echo"), (), {}, until=runtime.now() + 30))

    def one(n: int) -> float:
        began = runtime.now()
        with pytest.raises(FunctionTimeout):
            step(functions.call(named("faults/slow"), (60,), {}, until=began + n * 0.005))
        return runtime.now() - began - n * 0.005

    with ThreadPoolExecutor(8) as threads:
        late = list(threads.map(one, range(40)))
    assert min(late) >= 0 and max(late) < 1
    assert nothing_runs(door)
    step(functions.aclose())
