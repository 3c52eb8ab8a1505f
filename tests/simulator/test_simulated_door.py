"""The in-process door, in both colours and in virtual time."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

from garbage import ROUNDS, counted
from hybrid_infer.calls.call import MODES, Mode
from hybrid_infer.runtime import virtual
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.simulator.dedicated import EndpointPlan
from hybrid_infer.simulator.door import SimulatedResponse, SimulatedTransport
from hybrid_infer.simulator.world import World
from hybrid_infer.transport.base import Origin, Transport, TransportError, TransportTimeout, WireRequest
from simulator.simulated import DEDICATED, MODAL, post

ORIGIN = Origin(scheme="https", host="simulated.example", port=443)
NEVER = math.inf


def wire(*, prefix: str = "", **fields: Any) -> WireRequest:
    plain = post(**fields)
    return WireRequest(
        method="POST",
        origin=ORIGIN,
        path=prefix + plain.path,
        headers=tuple(plain.headers.items()),
        body=plain.body,
    )


@pytest.fixture
def runtime(colour: str) -> Runtime:
    return VirtualThreads() if colour == "sync" else TaskRuntime()


def begin(runtime: Runtime) -> Runtime:
    """An async runtime learns its loop at the first call."""
    runtime.check()
    return runtime


async def everything(response: SimulatedResponse) -> bytes:
    pieces: list[bytes] = []
    while piece := await response.read(NEVER):
        pieces.append(piece)
    return b"".join(pieces)


def running(world: World, now: float) -> int:
    machines = world.machines(now)
    return machines.container_requests + sum(endpoint.requests for endpoint in machines.endpoints)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "modal"])
async def test_every_mode_answers_whatever_the_model_is_called(runtime: Runtime, mode: Mode) -> None:
    transport: Transport = SimulatedTransport(World(), runtime=begin(runtime), mode=mode)
    response = await transport.send(wire(model="of/my-own", prefix="/gateway"), until=NEVER)
    body = json.loads(await response.read(NEVER))
    assert (response.status, body["model"]) == (200, "of/my-own")
    assert await response.read(NEVER) == b""
    assert transport.name == "simulator"


async def test_waiting_is_done_by_the_runtime(runtime: Runtime) -> None:
    """The container of a Modal server comes up in the runtime's time."""
    transport = SimulatedTransport(World(), runtime=begin(runtime), mode="modal")
    started = runtime.now()
    while (await transport.send(wire(model=MODAL), until=NEVER)).status == 503:
        await runtime.sleep(1.0)
    assert 16 <= runtime.now() - started <= 26


async def test_a_stream_takes_as_long_as_its_tokens(runtime: Runtime) -> None:
    world = World()
    transport = SimulatedTransport(world, runtime=begin(runtime), mode="together-dedicated")
    started = runtime.now()
    response = await transport.send(wire(model=DEDICATED, stream=True), until=NEVER)
    first = runtime.now() - started
    assert (await everything(response)).endswith(b"data: [DONE]\n\n")
    last = runtime.now() - started
    tokens = 26
    assert last > 10 * first
    assert last == pytest.approx(tokens * 6.2e-3, rel=0.1)


async def test_speed_makes_simulated_time_pass_faster(runtime: Runtime) -> None:
    begin(runtime)
    took: list[float] = []
    for speed in (1.0, 10.0):
        transport = SimulatedTransport(World(), runtime=runtime, mode="together-dedicated", speed=speed)
        started = runtime.now()
        await transport.send(wire(model=DEDICATED), until=NEVER)
        took.append(runtime.now() - started)
    assert took[0] == pytest.approx(10 * took[1], rel=1e-3)


@pytest.mark.parametrize("stream", [False, True])
async def test_time_is_over_at_exactly_the_moment_given(runtime: Runtime, stream: bool) -> None:
    world = World()
    transport = SimulatedTransport(world, runtime=begin(runtime), mode="together-dedicated")
    until = runtime.now() + (0.1 if stream else 0.001)
    with pytest.raises(TransportTimeout) as caught:
        response = await transport.send(wire(model=DEDICATED, stream=stream), until=until)
        try:
            while await response.read(until):
                pass
        finally:
            await response.aclose()
    assert (caught.value.sent, runtime.now()) == (True, until)
    assert running(world, runtime.now()) == 0


async def test_nothing_is_sent_when_no_time_is_left(runtime: Runtime) -> None:
    world = World()
    transport = SimulatedTransport(world, runtime=begin(runtime), mode="together-dedicated")
    with pytest.raises(TransportTimeout) as caught:
        await transport.send(wire(), until=runtime.now())
    assert not caught.value.sent
    assert world.invoice(runtime.now()).dedicated_requests == 0


@pytest.mark.parametrize("way", ["aclose", "abandon"])
async def test_a_response_let_go_stops_the_work(runtime: Runtime, way: str) -> None:
    world = World()
    transport = SimulatedTransport(world, runtime=begin(runtime), mode="together-dedicated")
    response = await transport.send(wire(model=DEDICATED, stream=True), until=NEVER)
    assert running(world, runtime.now()) == 1
    if way == "aclose":
        await response.aclose()
    else:
        response.abandon()
    assert running(world, runtime.now()) == 0
    response.abandon()
    await response.aclose()
    with pytest.raises(TransportError):
        await everything(response)


async def test_abandoning_takes_no_lock(runtime: Runtime) -> None:
    """A finaliser may run while the very same thread holds the world's lock."""
    world = World()
    transport = SimulatedTransport(world, runtime=begin(runtime), mode="together-dedicated")
    response = await transport.send(wire(model=DEDICATED, stream=True), until=NEVER)
    with world.guarded_by(runtime.guard()):
        response.abandon()
    assert running(world, runtime.now()) == 0


async def test_closing_the_transport_breaks_what_is_underway(runtime: Runtime) -> None:
    world = World()
    transport = SimulatedTransport(world, runtime=begin(runtime), mode="together-dedicated")
    response = await transport.send(wire(model=DEDICATED, stream=True), until=NEVER)
    await transport.aclose()
    assert running(world, runtime.now()) == 0
    with pytest.raises(TransportError):
        await everything(response)


def test_transports_of_one_world_share_its_lock() -> None:
    world, runtime = World(), VirtualThreads()
    guards = {id(world.guarded_by(runtime.guard())) for _ in range(3)}
    assert len(guards) == 1


def test_a_cancelled_task_stops_the_work() -> None:
    world = World()

    async def main() -> None:
        transport = SimulatedTransport(world, runtime=begin(TaskRuntime()), mode="together-dedicated")
        task = asyncio.create_task(transport.send(wire(model=DEDICATED), until=NEVER))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual.run(main())
    assert running(world, 0.01) == 0


def test_threads_queue_for_one_replica() -> None:
    """With room for one request at a time, the last of ten waits ten times as long as the first."""
    world, threads = World(endpoint=EndpointPlan(max_batch=1)), VirtualThreads()
    transport = SimulatedTransport(world, runtime=threads, mode="together-dedicated")

    def call() -> float:
        step(transport.send(wire(model=DEDICATED), until=NEVER))
        return threads.now()

    ended = sorted(threads.run(*[call] * 10))
    assert ended == pytest.approx([(n + 1) * ended[0] for n in range(10)], rel=1e-3)


def test_tasks_and_threads_see_the_same_times() -> None:
    threads = VirtualThreads()
    transport = SimulatedTransport(World(), runtime=threads, mode="together-serverless")
    step(transport.send(wire(), until=NEVER))

    async def main() -> float:
        runtime = begin(TaskRuntime())
        await SimulatedTransport(World(), runtime=runtime, mode="together-serverless").send(
            wire(), until=NEVER
        )
        return runtime.now()

    assert virtual.run(main()) == pytest.approx(threads.now(), abs=1e-5)


def test_a_response_leaves_no_cycle() -> None:
    transport = SimulatedTransport(World(), runtime=VirtualThreads(), mode="together-serverless")
    step(step(transport.send(wire(), until=NEVER)).read(NEVER))
    found: list[int] = []
    for _ in range(ROUNDS):
        with counted(found):
            step(step(transport.send(wire(), until=NEVER)).read(NEVER))
    assert min(found) == 0
