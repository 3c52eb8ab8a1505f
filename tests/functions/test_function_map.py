"""Many calls of one function, some at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from functions_support import named
from hybrid_infer.layers.exchange.functions_map import Mapped
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.functions_door import SimulatedFunctions


class Bench:
    """Maps over a function that takes as many seconds as it is told."""

    def __init__(self, simulated: SimulatedFunctions, runtime: Runtime) -> None:
        self.simulated = simulated
        self.runtime = runtime
        self.most = 0

    async def work(self, seconds: float) -> float:
        if seconds < 0:
            raise ValueError(seconds)
        until = self.runtime.now() + 1000
        running = [one for one in self.simulated.registry.running() if one.due is not None]
        self.most = max(self.most, len(running) + 1)
        returned = await self.simulated.call(named("faults/slow"), (seconds,), {}, until=until)
        return float(returned.value["args"][0])

    def over(self, *seconds: float, concurrency: int) -> Mapped[float, float]:
        return Mapped(self.runtime, seconds, self.work, concurrency=concurrency)


@pytest.fixture
def bench(simulated: SimulatedFunctions, runtime: Runtime) -> Bench:
    return Bench(simulated, runtime)


async def test_results_come_in_order_and_so_many_run_at_a_time(bench: Bench) -> None:
    bench.runtime.check()
    mapped = bench.over(3, 1, 2, 1, 3, 1, concurrency=2)
    got = []
    while (one := await mapped.next()) is not None:
        got.append(one[0])
    assert got == [3, 1, 2, 1, 3, 1]
    assert bench.most == 2
    assert bench.runtime.now() == pytest.approx(8, abs=0.01)


async def test_inputs_are_drawn_as_they_are_needed(bench: Bench) -> None:
    bench.runtime.check()
    drawn: list[float] = []

    def endless() -> Iterator[float]:
        while True:
            drawn.append(1)
            yield 1.0

    mapped = Mapped(bench.runtime, endless(), bench.work, concurrency=3)
    assert await mapped.next() == (1.0,)
    assert await mapped.next() == (1.0,)
    assert len(drawn) <= 4
    await mapped.aclose()
    assert await mapped.next() is None


async def test_an_error_comes_in_its_turn_and_the_rest_after_it(bench: Bench) -> None:
    bench.runtime.check()
    mapped = bench.over(1, -1, 2, concurrency=3)
    assert await mapped.next() == (1,)
    with pytest.raises(ValueError, match="-1"):
        await mapped.next()
    assert await mapped.next() == (2,)
    assert await mapped.next() is None


async def test_closing_stops_what_runs(bench: Bench, registry: FunctionRegistry, colour: str) -> None:
    bench.runtime.check()
    mapped = bench.over(1, 50, 60, 70, concurrency=2)
    assert await mapped.next() == (1,)
    await mapped.aclose()
    await bench.runtime.sleep(100)
    states = [one.state for one in registry.inputs]
    # A thread cannot be stopped: what had begun goes on to its end.
    assert states == (["done", "cancelled"] if colour == "async" else ["done", "done"])
