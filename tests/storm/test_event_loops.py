"""An AsyncClient belongs to one live event loop: a second one is told so, and the next one may have it."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from fakes import delta
from hybrid_infer import AsyncClient
from hybrid_infer.errors import EventLoopError, StreamError
from hybrid_infer.streams import AsyncStream
from storm.conftest import Serve
from storm.wire import STREAM, Asked, EchoServer, chunk, echo

pytestmark = pytest.mark.real_time

KINDS = pytest.mark.parametrize(
    "settings", [{}, {"max_in_flight": 2}, {"hedge": True}], ids=["plain", "limited", "hedged"]
)


async def unhurried(asked: Asked) -> bool:
    if "slow" in asked.question:
        await asyncio.sleep(0.3)
    if "never" in asked.question:
        await asked.silence()
    if "half" in asked.question:
        await asked.send(STREAM + chunk(delta("half")))
        await asyncio.sleep(1)
    return await echo(asked)


def at(server: EchoServer, **settings: Any) -> AsyncClient:
    given: dict[str, Any] = {
        "mode": "openai-compatible",
        "base_url": server.url,
        "model": "m",
        "max_retries": 0,
    }
    return AsyncClient(**given, timeout=10, **settings)


async def ask(client: AsyncClient, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    reply = await client.chat.completions.create(messages=messages)
    return reply.choices[0].message.content or ""


async def begin(client: AsyncClient, question: str) -> AsyncStream[Any, Any]:
    messages = [{"role": "user", "content": question}]
    return await client.chat.completions.create(messages=messages, stream=True)


@contextmanager
def another_loop() -> Iterator[Any]:
    """Runs coroutines in a loop of another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(body: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(body, loop).result(20)

    try:
        yield run
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@KINDS
def test_a_second_live_loop_is_told_and_the_first_goes_on(serve: Serve, settings: dict[str, Any]) -> None:
    client = at(serve(unhurried), **settings)

    async def first() -> list[str]:
        with another_loop() as run:
            asked = [asyncio.create_task(ask(client, f"slow {number}")) for number in range(4)]
            await asyncio.sleep(0.05)
            for _ in range(3):
                with pytest.raises(EventLoopError, match="another event loop"):
                    await asyncio.to_thread(run, ask(client, "elsewhere"))
            answers = await asyncio.gather(*asked)
        assert await ask(client, "still here") == "re: still here"
        await client.close()
        return answers

    assert asyncio.run(first()) == [f"re: slow {number}" for number in range(4)]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # nobody can close what a closed loop has
@KINDS
def test_after_the_loop_closed_the_client_works_in_the_next(serve: Serve, settings: dict[str, Any]) -> None:
    """Whatever was underway when it closed: calls, calls in the queue, a stream half way."""
    server = serve(unhurried)
    client = at(server, **settings)
    kept: list[AsyncStream[Any, Any]] = []

    async def unfinished() -> None:
        kept.append(await begin(client, "one two three"))
        underway = [asyncio.create_task(ask(client, "never")) for _ in range(4)]
        await asyncio.wait(underway, timeout=0.05)

    async def whole() -> list[str]:
        return await asyncio.gather(*[ask(client, f"again {number}") for number in range(4)])

    async def last() -> list[str]:
        answers = await whole()
        await client.close()
        return answers

    for _ in range(2):
        asyncio.run(unfinished())
    assert asyncio.run(last()) == [f"re: again {number}" for number in range(4)]
    del kept[:]
    gc.collect()


@pytest.mark.parametrize("way", ["default", "httpx"])
@pytest.mark.parametrize("doing", ["final", "close"])
def test_a_stream_of_another_live_loop_is_refused_in_the_words_of_the_tree(
    serve: Serve, way: str, doing: str
) -> None:
    """Closing it works from anywhere."""
    server = serve(unhurried)

    async def first() -> str:
        own = httpx.AsyncClient() if way == "httpx" else None
        client = at(server, http_client=own)
        stream = await begin(client, "half")
        await stream.__anext__()
        with another_loop() as run:
            if doing == "close":
                await asyncio.to_thread(run, stream.close())
            else:
                with pytest.raises(EventLoopError, match="belongs to the event loop"):
                    await asyncio.to_thread(run, stream.final())
        with pytest.raises(StreamError):
            await stream.final()
        answer = await ask(client, "still here")
        assert not client._core._current.calls
        await client.close()
        if own is not None:
            await own.aclose()
        return answer

    assert asyncio.run(first()) == "re: still here"
