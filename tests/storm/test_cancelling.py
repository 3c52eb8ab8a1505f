"""A task may be cancelled wherever it waits: nothing is left of its call, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from both import Api, Making
from fakes import DONE, USAGE, Answer, ScriptedTransport, completion, delta, refused, said, streamed
from hybrid_infer.transport.base import TransportError, WireRequest
from storm.cancelling import Knife, at_every_step

KEY: dict[str, Any] = {"api_key": "k", "model": "m"}
MODAL: dict[str, Any] = {
    "mode": "modal",
    "modal_url": "https://acme--llm.us-east.modal.direct",
    "modal_key": "wk-1",
    "modal_secret": "ws-1",
    "model": "llm",
}
SLOW = Answer(pieces=(said().pieces[0][:40], 0.2, said().pieces[0][40:]), after=0.3)  # type: ignore[index]
STREAM = streamed(0.1, delta("a"), 0.2, delta("b"), 0.2, delta(finish="stop", usage=USAGE), DONE)
BROKEN = streamed(0.1, delta("a"), 0.2, TransportError("reset", sent=True))
COLD = Answer(503, (b"no container is running",), (("content-type", "text/plain"),), 0.05)
MODELS = said({"object": "list", "data": [{"id": "llm", "object": "model"}]})

Doing = Callable[[Api], Coroutine[Any, Any, Any]]


def client(script: Any, **settings: Any) -> tuple[Api, ScriptedTransport]:
    transport = ScriptedTransport(script)
    return Making("async", real_time=False)(transport=transport, timeout=60, **settings), transport


async def one(api: Api) -> str:
    return (await api.create()).choices[0].message.content or ""


async def stream(api: Api) -> str:
    return await (await api.stream()).text()


async def cut(knife: Knife, api: Api, transport: ScriptedTransport, doing: Doing, text: str) -> None:
    """Do it until the knife falls; then nothing may be left, and the next call must work at once."""
    loop = asyncio.get_running_loop()
    knife.victim = victim = asyncio.create_task(doing(api))
    outcome = (await asyncio.gather(victim, return_exceptions=True))[0]
    if knife.cut is None:
        assert outcome == text
    else:
        assert isinstance(outcome, asyncio.CancelledError) or outcome == text, outcome
        assert loop.time() == knife.cut, "it ended at once"


async def nothing_left(api: Api, transport: ScriptedTransport) -> None:
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert transport.open == 0
    core = api.client._core
    assert not core._current.calls
    for known in core._parts.machines.values():
        assert known.limits is None or (known.limits.in_flight, known.limits.waiting) == (0, 0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    transport.script[:] = [said(completion("next"), after=1.0)]
    transport.sent.clear()
    assert await one(api) == "next"
    assert loop.time() - began == pytest.approx(1.0, abs=1e-3), "the next call does not wait"


ALONE: dict[str, tuple[Doing, list[Any], dict[str, Any], str]] = {
    "unary": (one, [SLOW], {}, "It scatters."),
    "stream": (stream, [STREAM], {}, "ab"),
    "back-off": (one, [refused(500, after=0.1), refused(503), SLOW], {}, "It scatters."),
    "restart": (stream, [BROKEN, STREAM], {"on_stream_break": "restart"}, "aab"),
    "limited": (one, [SLOW], {"max_in_flight": 1, "tokens_per_minute": 60_000}, "It scatters."),
    "adaptive": (stream, [STREAM], {"adaptive": True}, "ab"),
    "streams only": (
        one,
        [refused(400, "streaming_required", "This model only supports streaming"), STREAM],
        {},
        "ab",
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_call_alone(name: str) -> None:
    doing, script, settings, text = ALONE[name]

    async def attempt(knife: Knife) -> None:
        api, transport = client(list(script), **KEY, **settings)
        await cut(knife, api, transport, doing, text)
        await nothing_left(api, transport)

    assert at_every_step(attempt) > 3


@pytest.mark.parametrize("doing", [one, stream])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_call_that_holds_a_slot_or_waits_for_one(doing: Doing, place: int) -> None:
    """Three calls and one slot: the other two get their answers, without a gap."""
    text, answer, seconds = ("It scatters.", SLOW, 0.5) if doing is one else ("ab", STREAM, 0.5)

    async def attempt(knife: Knife) -> None:
        api, transport = client([answer], max_in_flight=1, **KEY)
        before = [asyncio.create_task(doing(api)) for _ in range(place)]
        await asyncio.sleep(0)
        cutting = asyncio.create_task(cut(knife, api, transport, doing, text))
        await asyncio.sleep(0)
        after = [asyncio.create_task(doing(api)) for _ in range(2 - place)]
        assert await asyncio.gather(*before, *after) == [text] * 2
        await cutting
        ended = asyncio.get_running_loop().time()
        assert ended <= 3 * seconds + 0.01 if knife.cut is None else ended <= 2 * seconds + knife.cut + 0.01
        await nothing_left(api, transport)

    assert at_every_step(attempt) > 3


@pytest.mark.parametrize("place", ["prober", "waiter"])
def test_a_call_that_waits_for_a_machine(place: str) -> None:
    async def attempt(knife: Knife) -> None:
        def machine(request: WireRequest) -> Answer:
            if asyncio.get_running_loop().time() < 3.5:
                return COLD
            return MODELS if request.method == "GET" else said()

        api, transport = client([machine], **MODAL)
        other = asyncio.create_task(one(api)) if place == "waiter" else None
        await asyncio.sleep(0)
        cutting = asyncio.create_task(cut(knife, api, transport, one, "It scatters."))
        await asyncio.sleep(0)
        other = other or asyncio.create_task(one(api))
        assert await other == "It scatters."
        assert asyncio.get_running_loop().time() <= 3.5 + 2.2, "whoever probes, it goes on"
        await cutting
        await nothing_left(api, transport)

    assert at_every_step(attempt) > 10


@pytest.mark.parametrize("doing", [one, stream])
@pytest.mark.parametrize("faster", ["first", "second"])
def test_a_call_of_which_two_requests_race(doing: Doing, faster: str) -> None:
    usual = said(after=1.0) if doing is one else streamed(1.0, delta("x"), delta(finish="stop"), DONE)
    answer = SLOW if doing is one else STREAM
    text = "It scatters." if doing is one else "ab"
    late = Answer(answer.status, answer.pieces, answer.headers, 2.0 if faster == "first" else 30.0)

    async def attempt(knife: Knife) -> None:
        api, transport = client([usual] * 30 + [late, answer], hedge=True, **KEY)
        for _ in range(30):
            await doing(api)
        began = asyncio.get_running_loop().time()
        if faster == "first":
            transport.script[-1] = Answer(answer.status, answer.pieces, answer.headers, 30.0)
        await cut(knife, api, transport, doing, text)
        assert asyncio.get_running_loop().time() - began < 5
        await nothing_left(api, transport)

    assert at_every_step(attempt) > 5


def test_the_probe_of_an_open_circuit() -> None:
    """Given up, it says nothing of the target: the next call may try at once."""

    async def attempt(knife: Knife) -> None:
        api, transport = client([refused(500)], max_retries=0, **KEY)
        await asyncio.gather(*[one(api) for _ in range(12)], return_exceptions=True)
        await asyncio.sleep(6)
        transport.script[:] = [SLOW]
        await cut(knife, api, transport, one, "It scatters.")
        await nothing_left(api, transport)

    assert at_every_step(attempt) > 2
