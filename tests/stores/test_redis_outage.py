"""A Redis that is not there."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import aclosing

import pytest

from hybrid_infer.stores.outage import Outage
from hybrid_infer.stores.redis_limits import RedisLimits
from stores.conftest import Sharing
from stores.redis_server import RedisServer
from stores.test_redis_limits import ask, refused, take

pytestmark = pytest.mark.real_time
PAUSE = 0.3


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def unanswered(limits: RedisLimits, *, within: float) -> None:
    began = time.monotonic()
    assert await ask(limits, slots=1) is None
    assert time.monotonic() - began < within


async def test_calls_go_on_while_redis_is_down_with_one_warning_for_each_outage(
    colour: str, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hybrid_infer")
    async with aclosing(Sharing(colour, own_server.url)(pause=PAUSE)) as limits:
        for outage in (1, 2):
            lease = await take(limits, slots=1)
            own_server.stop()
            for _ in range(2):
                for _ in range(20):
                    await unanswered(limits, within=0.5)
                    await limits.settle("modal/llm", 3.0)
                time.sleep(PAUSE)  # it is asked once more, and is still not there
            await limits.release(lease)
            assert len(warnings(caplog)) == outage
            own_server.start()
            time.sleep(PAUSE)
            held = await take(limits, slots=1)
            await refused(limits, slots=1)
            await limits.release(held)
    texts = [record.getMessage() for record in caplog.records]
    place = f"{own_server.path} (db 0)"
    down = (
        f"Redis at {place}: no connection; until it answers, limits and budgets hold for this process alone, "
        "and no answer is kept"
    )
    up = f"Redis at {place} answers again: limits, budgets and answers are shared"
    assert texts == [down, up] * 2


async def test_a_redis_that_says_nothing_costs_one_call_its_timeout(
    colour: str, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with aclosing(Sharing(colour, own_server.url)()) as limits:
        await limits.release(await take(limits, slots=1))
        own_server.freeze()
        await unanswered(limits, within=1.5)
        for _ in range(20):
            await unanswered(limits, within=0.2)
        own_server.thaw()
    [warning] = warnings(caplog)
    assert "no answer in time" in warning


async def test_a_slot_taken_by_an_ask_that_got_no_answer_is_given_back(
    colour: str, own_server: RedisServer
) -> None:
    async with aclosing(Sharing(colour, own_server.url)(pause=PAUSE)) as limits:
        await limits.release(await take(limits, slots=1))
        own_server.freeze()
        await unanswered(limits, within=1.5)
        own_server.thaw()  # and takes the slot, for nobody
        time.sleep(PAUSE)
        await take(limits, slots=1)
        await refused(limits, slots=1)


async def test_a_slot_released_during_an_outage_is_free_after_it(
    colour: str, own_server: RedisServer
) -> None:
    async with aclosing(Sharing(colour, own_server.url)(pause=PAUSE)) as limits:
        lease = await take(limits, slots=1)
        own_server.freeze()
        await limits.release(lease)
        own_server.thaw()
        time.sleep(PAUSE)
        await take(limits, slots=1)


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_the_address_may_allow_more_time(colour: str, own_server: RedisServer) -> None:
    """More than an operation may take otherwise, in either colour."""
    async with aclosing(Sharing(colour, f"{own_server.url}?socket_timeout=10")()) as limits:
        await take(limits, slots=1)
        own_server.freeze()
        timer = threading.Timer(1.5, own_server.thaw)
        timer.start()
        try:
            await refused(limits, slots=1)
        finally:
            timer.join()


def test_after_a_pause_one_call_tries_a_store_that_failed_and_the_others_do_not_wait_for_it() -> None:
    outage = Outage(5.0)
    assert outage.may_ask(0.0)
    assert outage.failed(1.0)
    assert not outage.may_ask(5.9)
    assert [outage.may_ask(6.0) for _ in range(3)] == [True, False, False]
    assert not outage.failed(6.5)  # the same outage still
    assert not outage.may_ask(11.4)
    assert outage.may_ask(11.5)
    assert outage.answered()
    assert not outage.answered()
    assert outage.may_ask(11.6)
    assert outage.failed(12.0)
