"""Streams can be closed, dropped or left at any moment, and let go of what they hold at once."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest

from both import ASK, Making
from fakes import DONE, ScriptedTransport, delta, hello, streamed
from garbage import ROUNDS, counted
from hybrid_infer.errors import StreamError

KEY: dict[str, Any] = {"api_key": "k", "model": "m"}


def endless() -> ScriptedTransport:
    return ScriptedTransport([streamed(*[delta("x"), 0.5] * 1000)])


async def test_a_stream_gives_its_chunks_and_the_whole_at_the_end(make: Making) -> None:
    transport = ScriptedTransport([hello()])
    stream = await make(transport=transport, **KEY).stream()
    assert await stream.text() == "Hello"
    final = await stream.final()
    assert final.choices[0].message.content == "Hello"
    assert final.choices[0].finish_reason == "stop"
    assert final.hybrid == stream.hybrid
    assert stream.hybrid.latency is not None
    assert transport.open == 0


async def test_final_reads_what_is_left(make: Making) -> None:
    stream = await make(transport=ScriptedTransport([hello()]), **KEY).stream()
    async for _ in stream:
        break
    assert (await stream.final()).choices[0].message.content == "Hello"


async def test_time_to_first_token_is_that_of_the_first_content(make: Making) -> None:
    first = delta()  # a role and nothing else
    transport = ScriptedTransport([streamed(first, 2.0, delta("Hi"), 3.0, delta(finish="stop"), DONE)])
    stream = await make(transport=transport, **KEY).stream()
    await stream.text()
    assert stream.hybrid.time_to_first_token == pytest.approx(2.0)
    assert stream.hybrid.latency == pytest.approx(5.0, abs=0.1)


async def test_a_closed_stream_lets_go_and_has_no_final(make: Making) -> None:
    transport = endless()
    stream = await make(transport=transport, **KEY).stream()
    async for _ in stream:
        break
    await stream.close()
    await stream.close()
    assert transport.open == 0
    assert [chunk async for chunk in stream] == []
    with pytest.raises(StreamError) as caught:
        await stream.final()
    assert caught.value.partial.choices[0].message.content == "x"


async def test_leaving_a_with_block_closes(make: Making) -> None:
    transport = endless()
    stream = (await make(transport=transport, **KEY).stream()).held
    if make.colour == "async":
        async with stream as held:
            await held.__anext__()
    else:
        with stream as held:
            next(held)
    assert transport.open == 0


async def test_a_dropped_stream_closes_at_once_and_quietly(make: Making) -> None:
    """As in a notebook: the blocking client inside a running loop, and a stream left half-way."""
    transport = endless()
    api = make(transport=transport, **KEY)
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            stream = await api.stream()
            async for _ in stream:
                break
            assert transport.open == 1
            del stream
            assert transport.open == 0
            unread = await api.stream()
            del unread
            assert transport.open == 0
    finally:
        gc.enable()


def test_the_blocking_client_works_inside_a_running_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[object] = []

    async def cell() -> str:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        transport = endless()
        client = Making("sync", real_time=False)(transport=transport, **KEY).client
        stream = client.chat.completions.create(messages=ASK, stream=True)
        text: str = next(stream).choices[0].delta.content
        del stream
        assert transport.open == 0
        await asyncio.sleep(0)
        return text

    assert asyncio.run(cell(), debug=True) == "x"
    assert errors == []


async def test_a_call_leaves_no_reference_cycles(make: Making) -> None:
    transport = ScriptedTransport([hello()])
    api = make(transport=transport, **KEY)
    for _ in range(2):
        await (await api.stream()).text()
    transport.sent.clear()
    found: list[int] = []
    for _ in range(ROUNDS):
        with counted(found):
            for _ in range(5):
                stream = await api.stream()
                await stream.text()
                del stream
    assert min(found) <= 5, "what a call makes is freed when it ends"
