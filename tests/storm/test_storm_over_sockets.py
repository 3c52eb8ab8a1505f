"""A storm over real sockets: nothing that a server does makes a call outlive its deadline."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from both import Making
from hybrid_infer.runtime.step import step
from storm.conftest import Serve
from storm.unsteady import Outcome, ask
from storm.wire import Asked, echo

pytestmark = pytest.mark.real_time

CALLS = 200
LATE = 0.25
"""Seconds after its deadline by which a call has ended."""


async def failing(asked: Asked) -> bool:
    await asked.answer({"error": {"message": "no"}}, "500 Internal Server Error")
    return True


async def throttling(asked: Asked) -> bool:
    await asked.answer({"error": {"message": "no"}}, "429 Too Many Requests", "retry-after: 1")
    return True


async def resetting(asked: Asked) -> bool:
    asked.reset()
    return False


async def silent(asked: Asked) -> bool:
    await asked.silence()
    return False


async def dripping(asked: Asked) -> bool:
    """A byte every tenth of a second: no single read ever takes long."""
    for byte in b"HTTP/1.1 200 OK\r\n" + b"x-padding: x\r\n" * 100:
        await asked.send(bytes([byte]))
        await asyncio.sleep(0.1)
    return False


FAULTS = (failing, throttling, resetting, silent, dripping)


async def at_once(api: Any, colour: str, timeouts: list[float]) -> list[Outcome]:
    def call(number: int) -> Any:
        return ask(api, f"question {number}", timeout=timeouts[number])

    numbers = range(len(timeouts))
    if colour == "async":
        return list(await asyncio.gather(*map(call, numbers)))
    with ThreadPoolExecutor(len(timeouts)) as threads:
        return list(threads.map(lambda number: step(call(number)), numbers))


@pytest.mark.parametrize("settings", [{}, {"max_in_flight": 50}], ids=["unlimited", "limited"])
async def test_each_of_many_calls_ends_by_its_deadline(
    make: Making, serve: Serve, settings: dict[str, Any]
) -> None:
    """Half of the first requests meet a fault, until 1.5 s have passed. Deadlines from 2 s to 3 s."""
    draw, came = random.Random(7), list[float]()

    async def act(asked: Asked) -> bool:
        came.append(time.monotonic())
        faulty = (came[-1] < came[0] + 1.5 or len(came) < CALLS / 2) and draw.random() < 0.5
        return await (draw.choice(FAULTS) if faulty else echo)(asked)

    server = serve(act)
    api = make(
        mode="openai-compatible", base_url=server.url, model="m", breaker=False, max_retries=2, **settings
    )
    timeouts = [2 + number / CALLS for number in range(CALLS)]
    outcomes = await at_once(api, make.colour, timeouts)
    late = [outcome.lateness(timeout) for outcome, timeout in zip(outcomes, timeouts, strict=True)]
    assert max(late) <= LATE
    assert sum(each > 0 for each in late) > 0.05 * CALLS, "some were brought to an end by their deadline"
    assert server.traffic.requests <= 1.2 * CALLS
    for outcome in outcomes:
        assert outcome.error is not None or outcome.answer == f"re: {outcome.question}"
    assert sum(outcome.error is None for outcome in outcomes) >= 0.4 * CALLS
    assert (await ask(api, "and now?")).answer == "re: and now?"
    await api.close()
