"""Slots and rates in Redis."""

from __future__ import annotations

import asyncio
import gc
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

import pytest

from hybrid_infer.runtime.step import step
from hybrid_infer.stores.redis_limits import Lease, RedisLimits
from stores.conftest import Sharing
from stores.redis_server import RedisServer

pytestmark = pytest.mark.real_time

PATIENT = "timeout=20&socket_timeout=20"
"""In the address: a machine that is busy with other things makes no crowd give Redis up."""


async def ask(limits: RedisLimits, target: str = "modal/llm", **asked: Any) -> Lease | float | None:
    given: dict[str, Any] = {"slots": None, "requests": None, "tokens": None, "amount": 0.0, "lease": 30.0}
    return await limits.acquire(target, **{**given, **asked})


async def take(limits: RedisLimits, target: str = "modal/llm", **asked: Any) -> Lease:
    lease = await ask(limits, target, **asked)
    assert isinstance(lease, Lease)
    return lease


async def refused(limits: RedisLimits, target: str = "modal/llm", **asked: Any) -> float:
    wait = await ask(limits, target, **asked)
    assert isinstance(wait, float)
    return wait


def nearly(seconds: float, found: float) -> bool:
    """As long as that, less the time that has passed meanwhile on a busy machine."""
    return seconds - 0.5 < found <= seconds + 0.002


async def test_slots_are_shared_by_all_who_name_the_same_redis_and_prefix(shared: Sharing) -> None:
    async with aclosing(shared()) as one, aclosing(shared()) as other:
        lease = await take(one, slots=2)
        await take(other, slots=2)
        assert 0 < await refused(one, slots=2) < 0.1
        assert 0 < await refused(other, slots=2) < 0.1
        await one.release(lease)
        await take(other, slots=2)
        await one.release(lease)  # harmless when repeated
        await refused(one, slots=2)


async def test_targets_and_prefixes_have_limits_of_their_own(shared: Sharing) -> None:
    async with aclosing(shared()) as limits, aclosing(shared(prefix=shared.prefix + "2")) as apart:
        await take(limits, slots=1)
        await take(limits, "modal/other", slots=1)
        await take(apart, slots=1)
        await refused(limits, slots=1)


async def test_without_limits_redis_is_not_asked(shared: Sharing) -> None:
    async with aclosing(shared("redis://127.0.0.1:1")) as limits:
        await limits.release(await take(limits))
        await limits.settle("modal/llm", 7.0)


async def test_a_lease_that_nobody_releases_expires(shared: Sharing) -> None:
    async with aclosing(shared()) as limits:
        await take(limits, slots=1, lease=0.5)
        await refused(limits, slots=1)
        time.sleep(0.52)
        await take(limits, slots=1)


async def test_requests_go_in_a_burst_of_two_seconds_and_then_at_their_rate(shared: Sharing) -> None:
    async with aclosing(shared()) as limits:
        began, taken = time.monotonic(), 0
        while isinstance(wait := await ask(limits, requests=600), Lease):
            taken += 1
        assert 20 <= taken <= 20 + 10 * (time.monotonic() - began)
        assert isinstance(wait, float)
        assert 0 < wait <= 0.1
        time.sleep(wait)
        await take(limits, requests=600)
        await refused(limits, requests=600)


async def test_a_rate_below_one_in_two_seconds_lets_one_through(shared: Sharing) -> None:
    async with aclosing(shared()) as limits:
        await take(limits, requests=6)
        assert nearly(10, await refused(limits, requests=6))


async def test_a_call_larger_than_the_bucket_goes_when_it_is_full(shared: Sharing) -> None:
    async with aclosing(shared()) as limits:  # 10 tokens a second, 20 at once
        await take(limits, tokens=600, amount=50)
        assert nearly(3.5, await refused(limits, tokens=600, amount=5))
        assert nearly(5, await refused(limits, tokens=600, amount=1_000))


async def test_a_call_takes_everything_or_nothing(shared: Sharing, server: RedisServer) -> None:
    async with aclosing(shared()) as limits:
        held = await take(limits, slots=1, requests=60)  # one of two requests
        await refused(limits, slots=1, requests=60)
        await limits.release(held)
        await take(limits, slots=1, requests=60)  # the refused call took no request
        assert await refused(limits, slots=2, requests=60) > 0.5
        with server.admin() as admin:
            [leases] = admin.keys(f"{shared.prefix}:*:leases")
            assert admin.zcard(leases) == 1  # nor a slot


async def test_what_a_call_used_is_settled_in_both_directions(shared: Sharing) -> None:
    async with aclosing(shared()) as limits:  # 10 tokens a second, 20 at once
        await take(limits, tokens=600, amount=20)
        assert nearly(1, await refused(limits, tokens=600, amount=10))
        await limits.settle("modal/llm", 10.0)
        assert nearly(2, await refused(limits, tokens=600, amount=10))
        await limits.settle("modal/llm", -1_000.0)
        await take(limits, tokens=600, amount=20)
        assert nearly(1, await refused(limits, tokens=600, amount=10))  # more than full it never was


async def test_a_debt_counts_though_the_bucket_was_forgotten(shared: Sharing, server: RedisServer) -> None:
    """Redis forgets a full bucket; a long call settles after that."""
    async with aclosing(shared()) as limits:
        await take(limits, tokens=600, amount=1)
        with server.admin() as admin:
            admin.delete(*admin.keys(f"{shared.prefix}:*"))
        await limits.settle("modal/llm", 40.0)
        assert nearly(3, await refused(limits, tokens=600, amount=10))


async def test_keys_name_the_target_alone_and_expire(shared: Sharing, server: RedisServer) -> None:
    target = "together-serverless/acme/llm {1}:*"
    async with aclosing(shared()) as limits:
        await take(limits, target, slots=3, requests=60, tokens=600, amount=20.0, lease=20.0)
        await take(limits, target, slots=3, requests=60, tokens=600, amount=0.0, lease=1.0)
        await limits.settle(target, 10.0)
    with server.admin() as admin:
        keys = sorted(admin.keys(f"{shared.prefix}:*"))
        assert keys == [
            f"{shared.prefix}:{{together-serverless%2Facme%2Fllm%20%7B1%7D%3A%2A}}:{what}"
            for what in ("leases", "rates")
        ]
        leases, rates = (admin.pttl(key) / 1000 for key in keys)
        assert nearly(21, leases)  # a second longer than the longest lease
        assert nearly(4, rates)  # than it takes to fill in 30 tokens, 10 a second


async def test_a_redis_that_forgot_its_scripts_is_told_them_again(
    shared: Sharing, server: RedisServer
) -> None:
    async with aclosing(shared()) as limits:
        lease = await take(limits, slots=1, tokens=600, amount=1)
        with server.admin() as admin:
            admin.script_flush()
        await limits.settle("modal/llm", 1.0)
        await limits.release(lease)
        await take(limits, slots=1)


async def test_a_clock_that_was_set_back_stops_no_rate(shared: Sharing, server: RedisServer) -> None:
    async with aclosing(shared()) as limits:
        await take(limits, requests=60)
        await take(limits, requests=60)
        with server.admin() as admin:
            [rates] = admin.keys(f"{shared.prefix}:*:rates")
            admin.hset(rates, mapping={"requests": 0.9, "requests_at": time.time() + 3_600})
        wait = await refused(limits, requests=60)
        assert nearly(0.1, wait)
        time.sleep(wait)
        await take(limits, requests=60)


async def test_an_abandoned_slot_is_free_when_the_next_is_asked_for(shared: Sharing) -> None:
    async with aclosing(shared()) as limits, aclosing(shared()) as other:
        limits.abandon(await take(limits, slots=1))
        await refused(other, slots=1)
        await take(limits, slots=1)
        await refused(other, slots=1)


async def test_a_closed_store_is_quiet(shared: Sharing, caplog: pytest.LogCaptureFixture) -> None:
    limits = shared()
    lease = await take(limits, slots=1)
    await limits.aclose()
    await limits.aclose()
    await limits.release(lease)
    assert await ask(limits, slots=1) is None
    assert caplog.records == []


@pytest.mark.parametrize("colour", ["sync"])
def test_many_threads_share_few_connections(shared: Sharing, server: RedisServer) -> None:
    limits = shared(f"{server.url}?{PATIENT}")

    async def turn() -> None:
        while not isinstance(lease := await ask(limits, slots=20), Lease):
            assert lease is not None
            time.sleep(lease)
        await limits.release(lease)

    with ThreadPoolExecutor(64) as threads:
        for done in [threads.submit(lambda: step(turn())) for _ in range(200)]:
            done.result(timeout=30)
    with server.admin() as admin:
        assert admin.info("clients")["connected_clients"] <= 40
    step(limits.aclose())


@pytest.mark.parametrize("colour", ["async"])
async def test_many_tasks_share_few_connections(shared: Sharing, server: RedisServer) -> None:
    async with aclosing(shared(f"{server.url}?{PATIENT}")) as limits:

        async def turn() -> None:
            while not isinstance(lease := await ask(limits, slots=50), Lease):
                assert lease is not None
                await asyncio.sleep(lease)
            await limits.release(lease)

        await asyncio.gather(*(turn() for _ in range(200)))
        with server.admin() as admin:
            assert admin.info("clients")["connected_clients"] <= 40


@pytest.mark.parametrize("colour", ["async"])
async def test_a_call_cancelled_while_it_asks_keeps_no_slot(colour: str, own_server: RedisServer) -> None:
    async with aclosing(Sharing(colour, own_server.url)()) as limits:
        await limits.release(await take(limits, slots=1))
        own_server.freeze()
        asking = asyncio.ensure_future(ask(limits, slots=1))
        await asyncio.sleep(0.1)
        asking.cancel()
        own_server.thaw()  # and takes the slot
        with pytest.raises(asyncio.CancelledError):
            await asking
        await take(limits, slots=1)
        await refused(limits, slots=1)


# Nothing can close the connections of a loop that is gone; asyncio and redis-py say so in the end.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_new_event_loop_gets_new_connections(server: RedisServer) -> None:
    limits = Sharing("async", server.url)()
    lease = asyncio.run(take(limits, slots=1))

    async def later() -> None:
        async with aclosing(limits):
            await refused(limits, slots=1)
            await limits.release(lease)
            await take(limits, slots=1)

    asyncio.run(later())
    gc.collect()
