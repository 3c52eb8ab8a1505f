"""Whole clients that name the same Redis keep to the same limits."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from both import Api, Making
from fakes import Answer, ScriptedTransport, said
from hybrid_infer.aclient import AsyncClient
from hybrid_infer.errors import BudgetExceededError, ConfigurationError, RefusedError
from stores.redis_server import RedisServer

ASK = [{"role": "user", "content": "hi"}]


class Machine:
    """Counts how many answers are underway at a time."""

    def __init__(self) -> None:
        self.most = 0
        self._underway = 0
        self._guard = threading.Lock()

    def transport(self, seconds: float) -> ScriptedTransport:
        machine = self

        class Counting(ScriptedTransport):
            async def send(self, request: Any, *, until: float) -> Any:
                with machine._guard:
                    machine._underway += 1
                    machine.most = max(machine.most, machine._underway)
                try:
                    return await super().send(request, until=until)
                finally:
                    with machine._guard:
                        machine._underway -= 1

        return Counting([Answer(200, said().pieces, said().headers, seconds)])


def settings(server: RedisServer, prefix: str, **more: Any) -> dict[str, Any]:
    return {"api_key": "k", "model": "m", "redis_url": server.url, "redis_prefix": prefix, **more}


async def calls_of(apis: list[Api], each: int, **options: Any) -> list[Any]:
    if isinstance(apis[0].client, AsyncClient):
        return list(
            await asyncio.gather(
                *(api.create(messages=ASK, **options) for api in apis for _ in range(each)),
                return_exceptions=True,
            )
        )

    def one(api: Api) -> Any:
        try:
            return api.client.chat.completions.create(messages=ASK, **options)
        except RefusedError as error:
            return error

    with ThreadPoolExecutor(len(apis) * each) as pool:
        return list(pool.map(one, [api for api in apis for _ in range(each)]))


@pytest.mark.real_time
async def test_two_clients_hold_no_more_slots_than_one_may(
    make: Making, colour: str, server: RedisServer
) -> None:
    machine = Machine()
    apis = [
        make(transport=machine.transport(0.05), **settings(server, f"slots-{colour}", max_in_flight=3))
        for _ in range(2)
    ]
    replies = await calls_of(apis, 8)
    assert not [reply for reply in replies if isinstance(reply, BaseException)]
    assert machine.most == 3
    assert max(reply.hybrid.queue_wait for reply in replies) > 0
    for api in apis:
        await api.close()


@pytest.mark.real_time
async def test_two_clients_spend_one_budget(make: Making, colour: str, server: RedisServer) -> None:
    machine = Machine()
    budget = {"budgets": {"team": {"tokens": 100, "per": "day"}}}
    apis = [
        make(transport=machine.transport(0.01), **settings(server, f"budget-{colour}", **budget))
        for _ in range(2)
    ]
    replies = await calls_of(apis, 20, max_tokens=14)
    answered = [reply for reply in replies if not isinstance(reply, BaseException)]
    assert all(isinstance(reply, BudgetExceededError) for reply in replies if reply not in answered)
    # A call reserves 15 tokens and uses as many: 6 fit into 100.
    assert len(answered) == 6
    for api in apis:
        await api.close()


@pytest.mark.real_time
async def test_a_redis_that_is_gone_fails_no_call(make: Making, own_server: RedisServer) -> None:
    machine = Machine()
    api = make(transport=machine.transport(0.01), **settings(own_server, "gone", max_in_flight=2))
    assert (await api.create()).choices
    own_server.stop()
    replies = await calls_of([api], 6)
    assert not [reply for reply in replies if isinstance(reply, BaseException)]
    assert machine.most <= 2, "the limits of this process still hold"
    await api.close()


async def test_a_redis_address_that_is_none_is_refused_at_once(make: Making) -> None:
    with pytest.raises(ConfigurationError, match="redis_url"):
        make(transport=ScriptedTransport([said()]), api_key="k", model="m", redis_url="http://here")
