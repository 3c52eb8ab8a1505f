"""Limits of several processes: each asks in its own order, holds a lease, and goes on alone if it must."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.reply import Facts, Reply
from hybrid_infer.errors import InternalServerError, SaturatedError
from hybrid_infer.layers.limits.layer import GRACE, LONGEST_LEASE, Limits
from hybrid_infer.layers.limits.policy import LimitPolicy
from hybrid_infer.layers.limits.shared import SharedLimits
from hybrid_infer.stores.redis_limits import Lease as RedisLease
from hybrid_infer.stores.redis_limits import RedisLimits
from layers.bench import TARGET, Bench, Stream, ask, read


@dataclass(eq=False)
class Lease:
    until: float


@dataclass
class Store:
    """Slots in memory. Asking takes `seconds`; `down` does not answer."""

    runtime: Any
    again: float = 0.5
    seconds: float = 0.0
    down: bool = False
    held: set[Lease] = field(default_factory=set[Lease])
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    asking: int = 0
    most_asking: int = 0
    settled: list[float] = field(default_factory=list[float])
    abandoned: int = 0

    async def acquire(self, target: str, **asked: Any) -> Lease | float | None:
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        try:
            await self.runtime.sleep(self.seconds)
        finally:
            self.asking -= 1
        self.asked.append({"target": target, **asked})
        now = self.runtime.now()
        self.held = {lease for lease in self.held if lease.until > now}
        if self.down:
            return None
        if asked["slots"] is not None and len(self.held) >= asked["slots"]:
            return self.again
        lease = Lease(now + asked["lease"])
        self.held.add(lease)
        return lease

    async def release(self, lease: Lease) -> None:
        self.held.discard(lease)

    def abandon(self, lease: Lease) -> None:
        self.abandoned += 1
        self.held.discard(lease)

    async def settle(self, target: str, amount: float) -> None:
        self.settled.append(amount)

    async def aclose(self) -> None: ...


def processes(bench: Bench, store: Store, count: int = 2, **policy: Any) -> list[Limits]:
    return [Limits(bench.runtime, TARGET, LimitPolicy(**policy), store) for _ in range(count)]


def test_the_redis_store_fits(colour: str) -> None:
    fits: type[SharedLimits[RedisLease]] = RedisLimits
    assert fits is RedisLimits


async def test_processes_together_keep_to_the_slots(bench: Bench) -> None:
    machine = bench.machine(seconds=2.0)
    store = Store(bench.runtime)
    layers = processes(bench, store, in_flight=3)
    serves = [bench.serve(layer, machine) for layer in layers]
    calls = [ask() for _ in range(12)]
    outcomes = await bench.together(
        *[lambda at=at, call=call: serves[at % 2](call) for at, call in enumerate(calls)]
    )
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert machine.most == 3
    assert not store.held
    assert sum(call.tally.queue_wait > 0 for call in calls) == 9
    assert [layer.in_flight for layer in layers] == [0, 0]


async def test_one_call_of_a_process_asks_at_a_time(bench: Bench) -> None:
    machine = bench.machine(seconds=0.0)
    store = Store(bench.runtime, seconds=0.1)
    (layer,) = processes(bench, store, count=1, in_flight=50)
    await bench.together(*[lambda: bench.serve(layer, machine)(ask())] * 10)
    assert store.most_asking == 1
    assert len(machine.began) == 10


async def test_what_is_asked_for(bench: Bench) -> None:
    """A lease lasts as long as the call may, and a little; without an end an hour."""
    machine = bench.machine(seconds=0.0)
    store = Store(bench.runtime)
    (layer,) = processes(bench, store, count=1, in_flight=5, requests_per_minute=60, tokens_per_minute=6000)
    serve = bench.serve(layer, machine)
    await serve(ask(until=20.0, max_tokens=30, messages=[{"role": "user", "content": "x" * 40}]))
    await serve(ask())
    first, second = store.asked
    assert first == {
        "target": "modal/llm",
        "slots": 5,
        "requests": 60,
        "tokens": 6000,
        "amount": 40.0,
        "lease": 20.0 + GRACE,
    }
    assert second["lease"] == LONGEST_LEASE


async def test_a_store_that_is_down_leaves_the_limits_of_the_process(bench: Bench) -> None:
    machine = bench.machine(seconds=1.0)
    (layer,) = processes(bench, Store(bench.runtime, down=True), count=1, in_flight=2)
    await bench.together(*[lambda: bench.serve(layer, machine)(ask())] * 6)
    assert machine.began == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]


async def test_a_call_never_waits_for_the_store_beyond_its_end(bench: Bench) -> None:
    machine = bench.machine(seconds=0.0)
    store = Store(bench.runtime, again=2.0, held={Lease(1e9)})
    (layer,) = processes(bench, store, count=1, in_flight=1)
    with pytest.raises(SaturatedError, match="all processes together") as caught:
        await bench.serve(layer, machine)(ask(until=5.0))
    assert bench.runtime.now() <= 5.0
    assert caught.value.retry_after == 2.0
    assert not machine.began
    assert layer.in_flight == 0


async def test_predicted_wait_knows_what_the_store_said(bench: Bench) -> None:
    machine = bench.machine(seconds=0.0)
    store = Store(bench.runtime, again=4.0, held={Lease(6.0)})
    (layer,) = processes(bench, store, count=1, in_flight=1)
    told: list[float] = []

    async def look() -> None:
        told.append(layer.predicted_wait())

    await bench.together(lambda: bench.serve(layer, machine)(ask()), lambda: bench.later(1.0, look))
    assert told == [3.0]
    assert layer.predicted_wait() == 0.0


@pytest.mark.parametrize("how", ["read", "closed", "collected", "failed"])
async def test_however_a_call_ends_its_lease_ends(bench: Bench, how: str) -> None:
    machine = bench.machine(seconds=1.0)
    store = Store(bench.runtime)
    (layer,) = processes(bench, store, count=1, in_flight=1)
    serve = bench.serve(layer, machine)
    if how == "failed":
        machine.outcome = lambda: InternalServerError("500", status=500)
        with pytest.raises(InternalServerError):
            await serve(ask())
    else:
        machine.outcome = lambda: Reply(facts=Facts(), source=Stream(bench.runtime))
        reply = await serve(ask())
        assert len(store.held) == 1
        if how == "read":
            await read(reply)
        elif how == "closed":
            await reply.aclose()
        else:
            reply.abandon()
    assert not store.held
    assert store.abandoned == (how == "collected")


@pytest.mark.parametrize("colour", ["async"])
async def test_a_cancelled_call_leaves_its_lease_without_waiting(bench: Bench) -> None:
    store = Store(bench.runtime)
    machine = bench.machine(seconds=10.0)
    (layer,) = processes(bench, store, count=1, in_flight=1)
    running = asyncio.ensure_future(bench.serve(layer, machine)(ask()))
    await asyncio.sleep(1.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert store.abandoned == 1
    assert layer.in_flight == 0


async def test_the_tokens_taken_are_corrected(bench: Bench) -> None:
    machine = bench.machine(seconds=1.0, usage=Usage(input_tokens=50, output_tokens=20))
    store = Store(bench.runtime)
    (layer,) = processes(bench, store, count=1, tokens_per_minute=600_000)
    serve = bench.serve(layer, machine)
    await serve(ask(max_tokens=30))
    machine.outcome = lambda: InternalServerError("500", status=500, billed=False)
    with pytest.raises(InternalServerError):
        await serve(ask(max_tokens=10))
    assert store.settled == [70 - 30, -10]
