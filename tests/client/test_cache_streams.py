"""Streams and the cache: a stream that ends well fills it, and what is kept is given as either."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from both import Making
from fakes import DONE, USAGE, Answer, ScriptedTransport, completion, delta, hello, said, streamed
from hybrid_infer import CachePolicy
from hybrid_infer.errors import StreamError
from hybrid_infer.transport.base import TransportError

KEY: dict[str, Any] = {"api_key": "secret-key", "model": "Qwen/Qwen3.5-9B", "cache": "memory"}
FIXED: dict[str, Any] = {"temperature": 0}
LENGTH = streamed(delta("Hel"), delta("lo"), delta(finish="length", usage=USAGE), DONE)
CUT = streamed(delta("Hel"), TransportError("reset", sent=True))
NO_REASON = streamed(delta("Hel"), DONE)


async def test_a_stream_that_ends_well_is_given_again_as_a_stream(make: Making) -> None:
    transport = ScriptedTransport([hello()])
    api = make(transport=transport, **KEY)
    first = await api.stream(**FIXED)
    assert await first.text() == "Hello"
    second = await api.stream(**FIXED)
    assert await second.text() == "Hello"
    assert (first.hybrid.cache, second.hybrid.cache) == ("miss", "hit")
    assert second.hybrid.time_to_first_token is not None
    assert second.hybrid.cost.amount == 0
    assert len(transport.sent) == 1


async def test_a_stream_serves_a_complete_answer(make: Making) -> None:
    api = make(transport=ScriptedTransport([hello()]), **KEY)
    final = await (await api.stream(**FIXED)).final()
    reply = await api.create(**FIXED)
    assert reply.hybrid.cache == "hit"
    assert reply == final
    assert reply.hybrid.time_to_first_token is None


async def test_a_complete_answer_serves_a_stream(make: Making) -> None:
    tools = [{"id": "c", "type": "function", "index": 0, "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": "It scatters.", "tool_calls": tools}
    body = completion(choices=[{"index": 0, "finish_reason": "tool_calls", "message": message}])
    api = make(transport=ScriptedTransport([said(body)]), **KEY)
    reply = await api.create(**FIXED)
    stream = await api.stream(**FIXED)
    assert stream.hybrid.cache == "hit"
    final = await stream.final()
    assert final == reply
    assert final.hybrid.cache == "hit"


@pytest.mark.parametrize("answer", [LENGTH, NO_REASON], ids=["length", "no finish reason"])
async def test_a_stream_that_was_cut_short_is_not_kept(make: Making, answer: Answer) -> None:
    api = make(transport=ScriptedTransport([answer]), **KEY)
    await (await api.stream(**FIXED)).text()
    assert (await api.stream(**FIXED)).hybrid.cache == "miss"


async def test_a_stream_that_broke_is_not_kept(make: Making) -> None:
    api = make(transport=ScriptedTransport([CUT, hello()]), **KEY)
    with pytest.raises(StreamError):
        await (await api.stream(**FIXED)).text()
    assert (await api.stream(**FIXED)).hybrid.cache == "miss"


@pytest.mark.parametrize("way", ["closed", "dropped"])
async def test_a_stream_that_was_given_up_is_not_kept(make: Making, way: str) -> None:
    transport = ScriptedTransport([hello()])
    api = make(transport=transport, **KEY)
    stream = await api.stream(**FIXED)
    await stream.__anext__()
    if way == "closed":
        await stream.close()
    del stream
    gc.collect()
    assert transport.open == 0
    assert (await api.stream(**FIXED)).hybrid.cache == "miss"


async def test_a_stream_that_was_asked_for_again_is_kept_as_what_came_then(make: Making) -> None:
    api = make(transport=ScriptedTransport([CUT, hello()]), on_stream_break="restart", **KEY)
    await (await api.stream(**FIXED)).text()
    reply = await api.create(**FIXED)
    assert (reply.hybrid.cache, reply.choices[0].message.content) == ("hit", "Hello")


@pytest.mark.parametrize("option", ["logprobs", "echo"])
async def test_a_stream_that_does_not_add_up_to_the_whole_is_not_kept(make: Making, option: str) -> None:
    api = make(transport=ScriptedTransport([hello(), said()]), **KEY)
    await (await api.stream(**{option: True}, **FIXED)).text()
    assert (await api.create(**{option: True}, **FIXED)).hybrid.cache == "miss"
    stream = await api.stream(**{option: True}, **FIXED)
    assert (stream.hybrid.cache, await stream.text()) == ("hit", "It scatters.")


async def test_a_hit_that_is_closed_early_holds_nothing(make: Making) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    await api.create(**FIXED)
    stream = await api.stream(**FIXED)
    await stream.close()
    assert stream.hybrid.cost.basis == "cache"


@pytest.mark.parametrize("mode", ["write", "refresh"])
async def test_a_stream_that_does_not_look_still_fills(make: Making, mode: Any) -> None:
    api = make(transport=ScriptedTransport([hello()]), **KEY)
    await (await api.stream(cache=CachePolicy(mode=mode), **FIXED)).text()
    assert (await api.create(**FIXED)).hybrid.cache == "hit"


async def test_a_stream_that_only_reads_fills_nothing(make: Making) -> None:
    api = make(transport=ScriptedTransport([hello(), said()]), **KEY)
    await (await api.stream(cache=CachePolicy(mode="read"), **FIXED)).text()
    assert (await api.create(cache=CachePolicy(mode="read"), **FIXED)).hybrid.cache == "miss"
