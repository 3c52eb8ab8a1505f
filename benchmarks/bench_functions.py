"""What a call of a Modal function costs over the bare package: ours against `spawn` and `get`, on loopback.

    python benchmarks/bench_functions.py [rounds] [calls per round]

Both call the same function at the same door, which runs in a process of its own and answers at once, in turns
of one call each, so that whatever else the machine does falls on both. A round's number is its median call;
printed are the median of the rounds and the spread between their quartiles. To hold: a ratio of at most 1.3.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

ROUNDS, CALLS = 10, 200
DOOR = """
import sys
from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.grpc_door import ModalDoor

registry = FunctionRegistry()
door = ModalDoor(registry)
door.start()
print(door.url, flush=True)
sys.stdin.read()
door.stop()
"""


@contextmanager
def served() -> Iterator[str]:
    """The address of a door in a process of its own."""
    door = subprocess.Popen(
        [sys.executable, "-c", DOOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert door.stdout is not None
        yield door.stdout.readline().strip()
    finally:
        door.communicate()


def exchange(runtime: Any) -> Any:
    """The end of a stack, as the assembly makes it."""
    from hybrid_infer.backends.functions import FunctionErrors
    from hybrid_infer.calls.call import Target
    from hybrid_infer.layers.exchange.functions import FunctionExchange
    from hybrid_infer.transport.modal_functions import ModalFunctions

    target = Target(
        name="modal/functions",
        mode="modal",
        provider="modal",
        model=None,
        host="api.modal.com",
        port=443,
        basis="machine-time",
    )
    transport = ModalFunctions(runtime=runtime, token=lambda: ("ak-0123456789", "as-0123456789"))
    return FunctionExchange(target=target, backend=FunctionErrors(), transport=transport, runtime=runtime)


def call(runtime: Any) -> Any:
    from hybrid_infer.calls.call import Call
    from hybrid_infer.calls.functions import function_body

    body = function_body("faults/echo", ("x",), {"n": 1})
    return Call(operation="functions", model=None, body=body, until=runtime.now() + 60)


def blocking(rounds: int, calls: int) -> list[tuple[float, float]]:
    import modal

    from hybrid_infer.runtime.blocking import BlockingRuntime
    from hybrid_infer.runtime.step import step

    runtime = BlockingRuntime()
    ours, asks = exchange(runtime), call
    client = modal.Client.from_credentials("ak-0123456789", "as-0123456789")
    function: Any = modal.Function.from_name("faults", "echo", client=client)

    def one() -> None:
        step(ours(asks(runtime)))

    def other() -> None:
        function.spawn("x", n=1).get()

    return [_round(one, other, calls) for _ in range(rounds)]


def _round(one: Callable[[], None], other: Callable[[], None], calls: int) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    gc.collect()
    for index in range(calls + 20):
        for which in (0, 1) if index % 2 else (1, 0):
            began = time.perf_counter()
            (one, other)[which]()
            if index >= 20:
                times[which].append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


async def tasks(rounds: int, calls: int) -> list[tuple[float, float]]:
    import modal

    from hybrid_infer.runtime.tasks import TaskRuntime

    runtime = TaskRuntime()
    runtime.check()
    ours = exchange(runtime)
    client = await modal.Client.from_credentials.aio("ak-0123456789", "as-0123456789")
    function: Any = modal.Function.from_name("faults", "echo", client=client)

    async def one() -> None:
        await ours(call(runtime))

    async def other() -> None:
        spawned = await function.spawn.aio("x", n=1)
        await spawned.get.aio()

    return [await _async_round(one, other, calls) for _ in range(rounds)]


async def _async_round(
    one: Callable[[], Awaitable[None]], other: Callable[[], Awaitable[None]], calls: int
) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    gc.collect()
    for index in range(calls + 20):
        for which in (0, 1) if index % 2 else (1, 0):
            began = time.perf_counter()
            await (one, other)[which]()
            if index >= 20:
                times[which].append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


def report(colour: str, rounds: list[tuple[float, float]]) -> None:
    ratios = sorted(ours / bare for ours, bare in rounds)
    ours, bare = (statistics.median(column) * 1000 for column in zip(*rounds, strict=True))
    low, _, high = statistics.quantiles(ratios, n=4)
    print(
        f"{colour:<9} ours {ours:6.3f} ms   spawn+get {bare:6.3f} ms   "
        f"ratio {statistics.median(ratios):.3f} (quartiles {low:.3f} to {high:.3f}, {len(rounds)} rounds)"
    )


def main() -> None:
    rounds, calls = (*map(int, sys.argv[1:3]), *(ROUNDS, CALLS)[len(sys.argv) - 1 :])
    os.environ["MODAL_CONFIG_PATH"] = os.devnull
    with served() as url:
        os.environ["MODAL_SERVER_URL"] = url
        report("blocking", blocking(rounds, calls))
        report("async", asyncio.run(tasks(rounds, calls)))


if __name__ == "__main__":
    main()
