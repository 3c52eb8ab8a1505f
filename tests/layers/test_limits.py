"""A call waits for its turn, holds its slot to the end of its stream, and always gives it back."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from hybrid_infer.calls.call import Call
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.reply import Facts, Reply
from hybrid_infer.errors import InternalServerError, RateLimitError, SaturatedError
from hybrid_infer.layers.limits.adaptive import START
from hybrid_infer.layers.limits.layer import Limits
from hybrid_infer.layers.limits.policy import LimitPolicy
from hybrid_infer.runtime.base import Promise
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.virtual import VirtualPromise, VirtualThreads
from layers.bench import TARGET, Bench, Stream, ask, read


def limits(bench: Bench, **policy: Any) -> Limits:
    return Limits(bench.runtime, TARGET, LimitPolicy(**policy))


async def test_no_more_than_the_limit_are_in_flight_and_the_wait_is_told(bench: Bench) -> None:
    machine = bench.machine(seconds=2.0)
    layer = limits(bench, in_flight=3)
    serve = bench.serve(layer, machine)
    calls = [ask() for _ in range(9)]
    replies = await bench.together(*[lambda call=call: serve(call) for call in calls])
    assert all(isinstance(reply, Reply) for reply in replies)
    assert machine.most == 3
    assert machine.began == [0.0] * 3 + [2.0] * 3 + [4.0] * 3
    assert sorted(call.tally.queue_wait for call in calls) == [0.0] * 3 + [2.0] * 3 + [4.0] * 3
    assert (layer.in_flight, layer.waiting, layer.limit) == (0, 0, 3)


async def test_a_slot_is_held_to_the_end_of_the_stream(bench: Bench) -> None:
    machine = bench.machine(seconds=1.0)
    machine.outcome = lambda: Reply(facts=Facts(), source=Stream(bench.runtime, events=4))
    serve = bench.serve(limits(bench, in_flight=1), machine)

    async def one() -> None:
        await read(await serve(ask()))

    await bench.together(one, one)
    assert machine.began == [0.0, 5.0]


async def test_an_error_gives_the_slot_back(bench: Bench) -> None:
    machine = bench.machine(seconds=1.0)
    machine.outcome = lambda: InternalServerError("500", status=500)
    layer = limits(bench, in_flight=1)
    serve = bench.serve(layer, machine)
    outcomes = await bench.together(lambda: serve(ask()), lambda: serve(ask()))
    assert [type(outcome) for outcome in outcomes] == [InternalServerError] * 2
    assert machine.began == [0.0, 1.0]
    assert layer.in_flight == 0


@pytest.mark.parametrize("how", ["collected", "closed"])
async def test_a_dropped_stream_wakes_who_waits_at_once(bench: Bench, how: str) -> None:
    machine = bench.machine(seconds=1.0)
    machine.outcome = lambda: Reply(facts=Facts(), source=Stream(bench.runtime))
    layer = limits(bench, in_flight=1)
    serve = bench.serve(layer, machine)

    class Holder:
        """In a circle, so that only the collector finds it."""

        def __init__(self, reply: Reply) -> None:
            self.reply = reply
            self.circle = self

        def __del__(self) -> None:
            self.reply.abandon()

    async def drop() -> None:
        reply = await serve(ask())
        if how == "collected":
            Holder(reply)
            await bench.runtime.sleep(4.0)
            gc.collect()
        else:
            await bench.runtime.sleep(4.0)
            await reply.aclose()

    await bench.together(drop, lambda: bench.later(0.5, lambda: serve(ask())))
    assert machine.began == [0.0, 5.0]


async def test_interactive_calls_go_before_batch_calls(bench: Bench) -> None:
    machine = bench.machine(seconds=1.0)
    serve = bench.serve(limits(bench, in_flight=1), machine)
    calls = [
        ask(),
        ask(purpose="batch"),
        ask(priority="batch"),
        ask(),
        ask(purpose="batch", priority="interactive"),
    ]
    await bench.together(
        *[lambda at=at, call=call: bench.later(at / 10, lambda: serve(call)) for at, call in enumerate(calls)]
    )
    order = [calls.index(call) for call in machine.asked]
    assert order == [0, 3, 4, 1, 2]


async def test_a_full_queue_refuses_at_once(bench: Bench) -> None:
    machine = bench.machine(seconds=5.0)
    serve = bench.serve(limits(bench, in_flight=1, max_queue=1), machine)

    async def late() -> tuple[Any, float]:
        with pytest.raises(SaturatedError, match="1 calls wait already") as caught:
            await bench.later(1.0, lambda: serve(ask()))
        return caught.value, bench.runtime.now()

    first, second, refused = await bench.together(
        lambda: serve(ask()), lambda: bench.later(0.5, lambda: serve(ask())), late
    )
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    error, at = refused
    assert at == 1.0
    assert (error.target, error.verdict, error.billed) == ("modal/llm", "saturated", False)
    assert "max_queue" in str(error)


@pytest.mark.parametrize(("max_wait", "until", "at"), [(2.0, 1e9, 2.5), (None, 3.0, 3.0), (2.0, 1.5, 1.5)])
async def test_waiting_ends_at_max_wait_and_never_after_the_call(
    bench: Bench, max_wait: float | None, until: float, at: float
) -> None:
    machine = bench.machine(seconds=10.0)
    serve = bench.serve(limits(bench, in_flight=1, max_wait=max_wait), machine)
    call = ask(until=until)

    async def late() -> float:
        with pytest.raises(SaturatedError):
            await bench.later(0.5, lambda: serve(call))
        now: float = bench.runtime.now()
        return now

    _, ended = await bench.together(lambda: serve(ask()), late)
    assert ended == pytest.approx(at)
    assert call.tally.queue_wait == pytest.approx(at - 0.5)


async def test_requests_per_minute_space_the_calls(bench: Bench) -> None:
    machine = bench.machine(seconds=0.0)
    serve = bench.serve(limits(bench, requests_per_minute=60), machine)
    await bench.together(*[lambda: serve(ask())] * 6)
    assert machine.began == pytest.approx([0.0, 0.0, 1.0, 2.0, 3.0, 4.0])


async def test_a_wait_for_rates_that_cannot_fit_is_refused_with_the_time_to_come_back(bench: Bench) -> None:
    machine = bench.machine(seconds=0.0)
    serve = bench.serve(limits(bench, requests_per_minute=6), machine)
    await serve(ask())
    with pytest.raises(SaturatedError) as caught:
        await serve(ask(until=bench.runtime.now() + 5))
    assert caught.value.retry_after == pytest.approx(10)


async def test_tokens_are_settled_with_what_was_used(bench: Bench) -> None:
    """6000 a minute are 100 a second. 100 were expected and 700 used: of the 200 of a burst, 400 are
    missing, and the next call waits until they are back, and 10 more."""
    machine = bench.machine(seconds=1.0, usage=Usage(input_tokens=600, output_tokens=100))
    serve = bench.serve(limits(bench, tokens_per_minute=6000), machine)
    await serve(ask(messages=[{"role": "user", "content": "x" * 400}]))
    await serve(ask(max_tokens=10))
    assert machine.began == pytest.approx([0.0, 1.0 + 4.1])


async def test_a_refused_request_takes_no_tokens(bench: Bench) -> None:
    machine = bench.machine(seconds=0.0)
    machine.outcome = lambda: RateLimitError("429", status=429)
    serve = bench.serve(limits(bench, tokens_per_minute=600), machine)
    for _ in range(5):
        with pytest.raises(RateLimitError):
            await serve(ask(max_tokens=1000))
    assert machine.began == [0.0] * 5


async def test_429s_lower_the_adaptive_limit_and_our_own_refusals_do_not(bench: Bench) -> None:
    machine = bench.machine(seconds=0.0)
    layer = limits(bench, adaptive=True)
    serve = bench.serve(layer, machine)
    machine.outcome = lambda: SaturatedError("a layer further in")
    with pytest.raises(SaturatedError):
        await serve(ask())
    assert layer.limit == START
    machine.outcome = lambda: RateLimitError("429", status=429)
    with pytest.raises(RateLimitError):
        await serve(ask())
    assert layer.limit is not None
    assert layer.limit < START


async def test_predicted_wait_tells_what_a_new_call_then_waits(bench: Bench) -> None:
    machine = bench.machine(seconds=4.0)
    layer = limits(bench, in_flight=2)
    serve = bench.serve(layer, machine)
    assert layer.predicted_wait() == 0.0
    await serve(ask())
    told: list[float] = []

    async def look() -> None:
        await bench.runtime.sleep(0.0)
        told.append(layer.predicted_wait())

    await bench.together(*[lambda: serve(ask())] * 4, lambda: bench.later(0.1, look))
    assert told == [3 * 4.0 / 2]
    assert layer.predicted_wait() == 0.0


async def test_no_limits_pass_everything_straight_through(bench: Bench) -> None:
    machine = bench.machine(seconds=1.0)
    layer = limits(bench)
    await bench.together(*[lambda: bench.serve(layer, machine)(ask())] * 50)
    assert machine.most == 50
    assert layer.predicted_wait() == 0.0
    assert layer.limit is None


async def test_it_describes_itself(bench: Bench) -> None:
    machine = bench.machine(seconds=0.0)
    layer = limits(bench, in_flight=4)
    await bench.serve(layer, machine)(ask())
    assert repr(layer) == "<Limits of modal/llm: 0 in flight of 4, 0 waiting>"


@pytest.mark.parametrize("colour", ["async"])
@pytest.mark.parametrize("granted", [False, True])
async def test_a_cancelled_call_gives_back_its_place(bench: Bench, granted: bool) -> None:
    """Also in the race in which it is granted a slot just as it is cancelled."""
    machine = bench.machine(seconds=1.0)
    machine.outcome = lambda: Reply(facts=Facts(), source=Stream(bench.runtime))
    layer = limits(bench, in_flight=1)
    serve = bench.serve(layer, machine)
    held = await serve(ask())
    waiting = asyncio.ensure_future(serve(ask()))
    await asyncio.sleep(0.5)
    assert layer.waiting == 1
    if granted:
        held.abandon()
        assert (layer.in_flight, layer.waiting) == (1, 0), "granted, and it does not know yet"
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    held.abandon()
    assert (layer.in_flight, layer.waiting) == (0, 0)
    await serve(ask())


@pytest.mark.parametrize("colour", ["async"])
async def test_a_cancelled_request_gives_back_its_slot(bench: Bench) -> None:
    machine = bench.machine(seconds=10.0)
    layer = limits(bench, in_flight=1)
    running = asyncio.ensure_future(bench.serve(layer, machine)(ask()))
    await asyncio.sleep(1.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert layer.in_flight == 0


class Interrupting(VirtualThreads):
    """Ctrl-C comes while a call waits for its turn."""

    def promise(self) -> Any:
        class Interrupted(VirtualPromise):
            async def wait(self, timeout: float) -> bool:
                raise KeyboardInterrupt

        promise: Promise = Interrupted(self)
        return promise


def test_an_interrupted_call_gives_back_its_place() -> None:
    bench = Bench("sync", Interrupting())
    machine = bench.machine(seconds=1.0)
    machine.outcome = lambda: Reply(facts=Facts(), source=Stream(bench.runtime))
    layer = limits(bench, in_flight=1)
    serve = bench.serve(layer, machine)

    def call(call: Call) -> Reply:
        return step(serve(call))

    held = call(ask())
    with pytest.raises(KeyboardInterrupt):
        call(ask())
    assert (layer.in_flight, layer.waiting) == (1, 0)
    held.abandon()
    call(ask())
