"""Who leaves a stream early makes room at once for whoever waits."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from both import Api, EitherStream, Making
from fakes import DONE, USAGE, ScriptedTransport, delta, streamed
from hybrid_infer import AsyncClient, Client
from hybrid_infer.runtime.step import step
from storm.conftest import Serve
from storm.wire import STREAM, Asked, chunk, echo

LONG = streamed(delta("a"), *[piece for _ in range(100) for piece in (1.0, delta("b"))], DONE)
SHORT = streamed(delta("a"), 0.5, delta(finish="stop", usage=USAGE), DONE)
ASK = [{"role": "user", "content": "next"}]

ONE = pytest.mark.parametrize(
    "settings", [{"max_in_flight": 1}, {"max_connections": 1}], ids=["slot", "place"]
)
WAYS = pytest.mark.parametrize("way", ["close", "drop", "drop in a cycle"])


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """What is dropped goes at once, because nothing else holds it, not because a collection comes by."""
    gc.disable()
    yield
    gc.enable()


async def leave(held: list[Any], way: str) -> None:
    """Give up the only stream in the list."""
    if way == "close":
        await held.pop().close()
    elif way == "drop":
        held.clear()
    else:
        stream = held.pop().held
        stream.itself = stream
        del stream
        gc.collect()


@WAYS
@pytest.mark.parametrize("others", [1, 3])
async def test_the_slot_goes_to_the_next_in_the_queue(make: Making, way: str, others: int) -> None:
    transport = ScriptedTransport([LONG, SHORT])
    api = make(transport=transport, max_in_flight=1, api_key="k", model="m", timeout=300)
    if make.colour == "async":
        await _in_tasks(api, way, others)
    else:
        _in_threads(api, way, others)
    assert transport.open == 0
    assert not api.client._core._current.calls


async def _holder(api: Api, way: str, left: list[float]) -> None:
    held = [await api.stream()]
    assert (await anext(aiter(held[0]))).choices[0].delta.content == "a"
    await api.runtime.sleep(1.25)
    left.append(api.runtime.now())
    await leave(held, way)


async def _waiter(api: Api, began: list[float]) -> None:
    await api.runtime.sleep(0.5)
    stream = await api.stream()
    began.append(api.runtime.now())
    assert await stream.text() == "a"


def _check(left: list[float], began: list[float]) -> None:
    assert [at - left[0] for at in began] == pytest.approx(
        [0.5 * turn for turn in range(len(began))], abs=0.01
    )


async def _in_tasks(api: Api, way: str, others: int) -> None:
    left: list[float] = []
    began: list[float] = []
    api.runtime.check()
    await asyncio.gather(_holder(api, way, left), *[_waiter(api, began) for _ in range(others)])
    assert len(began) == others
    _check(left, began)


def _in_threads(api: Api, way: str, others: int) -> None:
    left: list[float] = []
    began: list[float] = []

    def stepped(body: Any, *args: Any) -> None:
        step(body(api, *args))

    threads: Any = api.runtime
    threads.run(partial(stepped, _holder, way, left), *[partial(stepped, _waiter, began)] * others)
    assert len(began) == others
    _check(left, began)


class Interrupting(logging.Handler):
    """As if Ctrl-C were pressed while the end of an attempt is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("attempt on"):
            raise KeyboardInterrupt


async def test_an_interrupt_while_a_stream_ends_keeps_no_slot(make: Making) -> None:
    transport = ScriptedTransport([SHORT])
    api = make(transport=transport, max_in_flight=1, max_wait=1, api_key="k", model="m")
    stream = await api.stream()
    log, handler = logging.getLogger("hybrid_infer"), Interrupting(logging.DEBUG)
    usual = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        with pytest.raises(KeyboardInterrupt):
            await stream.text()
    finally:
        log.removeHandler(handler)
        log.setLevel(usual)
    assert await (await api.stream()).text() == "a"
    del stream
    assert transport.open == 0
    assert not api.client._core._current.calls


async def endless(asked: Asked) -> bool:
    if "endless" not in asked.question:
        return await echo(asked)
    await asked.send(STREAM + chunk(delta("a")))
    await asked.silence()
    return False


@pytest.mark.real_time
@WAYS
@ONE
def test_a_thread_that_waits_gets_what_another_leaves(
    serve: Serve, way: str, settings: dict[str, Any]
) -> None:
    answers: list[tuple[str | None, float]] = []

    def wait(client: Client) -> None:
        reply = client.chat.completions.create(messages=ASK)
        answers.append((reply.choices[0].message.content, time.monotonic()))

    with Client(
        mode="openai-compatible", base_url=serve(endless).url, model="m", timeout=20, **settings
    ) as client:
        messages = [{"role": "user", "content": "endless"}]
        stream = client.chat.completions.create(messages=messages, stream=True)
        next(stream)
        held = [EitherStream(stream)]
        del stream
        waiter = threading.Thread(target=wait, args=(client,))
        waiter.start()
        waiter.join(0.3)
        assert waiter.is_alive()
        left = time.monotonic()
        step(_leave_blocking(held, way))
        waiter.join(5)
    ((answer, at),) = answers
    assert answer == "re: next"
    assert at - left < 1


async def _leave_blocking(held: list[EitherStream], way: str) -> None:
    if way == "close":
        held.pop().held.close()
    else:
        await leave(held, way)


@pytest.mark.real_time
@WAYS
@ONE
def test_a_task_that_waits_gets_what_another_leaves(serve: Serve, way: str, settings: dict[str, Any]) -> None:
    url = serve(endless).url

    async def main() -> tuple[str | None, float]:
        async with AsyncClient(
            mode="openai-compatible", base_url=url, model="m", timeout=20, **settings
        ) as client:
            messages = [{"role": "user", "content": "endless"}]
            held = [EitherStream(await client.chat.completions.create(messages=messages, stream=True))]
            await anext(aiter(held[0]))
            waiter = asyncio.create_task(client.chat.completions.create(messages=ASK))
            done, _ = await asyncio.wait([waiter], timeout=0.3)
            assert not done
            left = time.monotonic()
            await leave(held, way)
            reply = await asyncio.wait_for(waiter, 5)
            return reply.choices[0].message.content, time.monotonic() - left

    answer, seconds = asyncio.run(main())
    assert answer == "re: next"
    assert seconds < 1
