"""One client for all threads, or for all tasks: everybody gets the answer to what they asked."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hybrid_infer import AsyncClient, Client
from storm.conftest import Serve
from storm.wire import LEAVES, EchoServer

pytestmark = pytest.mark.real_time

THREADS, CALLS = 64, 20
TASKS = 1000
LIMITS = pytest.mark.parametrize("limit", [None, 16], ids=["unlimited", "16 in flight"])


def at(server: EchoServer, limit: int | None) -> dict[str, Any]:
    """Every failure is seen: nothing is repeated."""
    return {
        "mode": "openai-compatible",
        "base_url": server.url,
        "model": "m",
        "max_retries": 0,
        "max_in_flight": limit,
        "timeout": 40,
        "connect_timeout": 30,
    }


def asking(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def text(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).strip()


def check(server: EchoServer, client: Client | AsyncClient, calls: int, limit: int | None) -> None:
    assert server.traffic.requests == calls
    assert server.is_empty()
    if limit is not None:
        assert server.traffic.most <= limit
    assert not client._core._current.calls
    for known in client._core._parts.machines.values():
        assert known.limits is None or (known.limits.in_flight, known.limits.waiting) == (0, 0)


@LIMITS
def test_threads_share_a_client(serve: Serve, limit: int | None) -> None:
    """Every fourth call is a stream; every fourth of those is closed half way, or dropped."""
    server = serve()
    begin = threading.Barrier(THREADS)

    def work(thread: int) -> list[str]:
        begin.wait(30)
        wrong = []
        for number in range(CALLS):
            question = f"thread {thread} call {number}" + (f" {LEAVES}" if number in (8, 12) else "")
            create = client.chat.completions.create
            if number % 4:
                got = create(messages=asking(question)).choices[0].message.content or ""
            else:
                stream = create(messages=asking(question), stream=True)
                if number == 8:
                    next(stream)
                    stream.close()
                    continue
                if number == 12:
                    next(stream)
                    del stream
                    continue
                got = text(list(stream))
            if got != f"re: {question}":
                wrong.append(f"{question}: {got}")
        return wrong

    with Client(**at(server, limit)) as client, ThreadPoolExecutor(THREADS) as threads:
        results = list(threads.map(work, range(THREADS)))
        assert results == [[]] * THREADS
        check(server, client, THREADS * CALLS, limit)


@LIMITS
def test_tasks_share_an_async_client(serve: Serve, limit: int | None) -> None:
    """Every fourth call is a stream; every fourth of those is closed half way, or dropped."""
    server = serve()

    async def work(task: int, client: AsyncClient) -> str:
        question = f"task {task}" + (f" {LEAVES}" if task % 16 in (8, 12) else "")
        create = client.chat.completions.create
        if task % 4:
            reply = await create(messages=asking(question))
            return reply.choices[0].message.content or ""
        stream = await create(messages=asking(question), stream=True)
        if task % 16 == 8:
            await stream.__anext__()
            await stream.close()
            return f"re: {question}"
        if task % 16 == 12:
            await stream.__anext__()
            return f"re: {question}"  # and drops it
        return text([chunk async for chunk in stream])

    async def main() -> None:
        async with AsyncClient(**at(server, limit)) as client:
            answers = await asyncio.gather(*[work(task, client) for task in range(TASKS)])
            assert [answer.removesuffix(f" {LEAVES}") for answer in answers] == [
                f"re: task {task}" for task in range(TASKS)
            ]
            check(server, client, TASKS, limit)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
