"""Single flight under cancellation, in real threads, and in any order of joining and leaving."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from both import Api, Making
from crowd import together
from fakes import DONE, USAGE, ScriptedTransport, completion, delta, said, streamed
from hybrid_infer.errors import DeadlineExceededError
from hybrid_infer.runtime import virtual
from hybrid_infer.runtime.step import step

KEY: dict[str, Any] = {"api_key": "secret-key", "model": "m", "cache": "memory"}
FIXED: dict[str, Any] = {"temperature": 0}
TEXT = "one two three"


def slow_stream() -> Any:
    words = delta("one "), 1.0, delta("two "), 1.0, delta("three"), delta(finish="stop", usage=USAGE), DONE
    return streamed(*words, after=1.0)


def slow_answer() -> Any:
    return said(completion(TEXT), after=3.0)


class TestCancelled:
    """Tasks can be cancelled at any moment."""

    def api(self, *script: Any) -> tuple[Api, ScriptedTransport]:
        transport = ScriptedTransport(list(script))
        return Making("async", real_time=False)(transport=transport, **KEY), transport

    def test_a_leader_that_is_cancelled_loses_nothing_for_the_others(self) -> None:
        async def body() -> None:
            api, transport = self.api(slow_answer())
            tasks = [asyncio.create_task(api.create(**FIXED)) for _ in range(10)]
            await asyncio.sleep(0.5)
            tasks[0].cancel()
            replies = await asyncio.gather(*tasks[1:])
            assert {reply.choices[0].message.content for reply in replies} == {TEXT}
            assert sorted(reply.hybrid.cache for reply in replies) == ["miss", *["shared"] * 8]
            assert len(transport.sent) == 2
            assert transport.open == 0

        virtual.run(body())

    @pytest.mark.parametrize("when", [0.5, 1.5, 2.5])
    def test_nor_does_one_that_draws_a_stream(self, when: float) -> None:
        async def body() -> None:
            api, transport = self.api(slow_stream())

            async def read() -> str:
                return await (await api.stream(**FIXED)).text()

            tasks = [asyncio.create_task(read()) for _ in range(10)]
            await asyncio.sleep(when)
            tasks[0].cancel()
            assert await asyncio.gather(*tasks[1:]) == [TEXT] * 9
            assert len(transport.sent) == (2 if when < 1 else 1)
            assert transport.open == 0

        virtual.run(body())

    @pytest.mark.parametrize("gone", [[0, 1], [0, 1, 2, 3], [1], [3], [0, 4]])
    def test_whoever_is_left_is_answered(self, gone: list[int]) -> None:
        async def body() -> None:
            api, transport = self.api(slow_answer())
            tasks = [asyncio.create_task(api.create(**FIXED)) for _ in range(5)]
            await asyncio.sleep(0.5)
            for index in gone:
                tasks[index].cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            for index, one in enumerate(found):
                assert isinstance(one, asyncio.CancelledError) == (index in gone)
            assert transport.open == 0

        virtual.run(body())

    def test_an_heir_that_is_cancelled_as_it_is_told_passes_it_on(self) -> None:
        async def body() -> None:
            api, transport = self.api(slow_answer())
            tasks = [asyncio.create_task(api.create(**FIXED)) for _ in range(4)]
            await asyncio.sleep(0.5)
            tasks[0].cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            tasks[1].cancel()
            replies = await asyncio.gather(*tasks[2:])
            assert {reply.choices[0].message.content for reply in replies} == {TEXT}
            assert transport.open == 0

        virtual.run(body())

    def test_one_that_is_cancelled_as_it_is_let_in_keeps_nothing_open(self) -> None:
        async def body() -> None:
            api, transport = self.api(slow_stream())
            leader = asyncio.create_task(api.stream(**FIXED))
            other = asyncio.create_task(api.stream(**FIXED))
            loop = asyncio.get_running_loop()
            # Right after the leader has let it in, and before it wakes.
            loop.call_at(1.0 + 1e-10, lambda: loop.call_soon(other.cancel))
            stream = await leader
            await asyncio.gather(other, return_exceptions=True)
            assert transport.open == 1
            await stream.close()
            assert transport.open == 0

        virtual.run(body())

    def test_when_all_are_cancelled_nothing_stays_open(self) -> None:
        async def body() -> None:
            api, transport = self.api(slow_stream())

            async def read() -> str:
                return await (await api.stream(**FIXED)).text()

            tasks = [asyncio.create_task(read()) for _ in range(5)]
            await asyncio.sleep(1.5)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert transport.open == 0
            assert not api.client._core._parts.flights._flights

        virtual.run(body())


@dataclass(frozen=True)
class Caller:
    """One call: when it begins, what it asks for, how long it has, and when it gives up."""

    begins: float
    stream: bool
    timeout: float
    leaves: int | None
    """Closes its stream after so many events."""
    cancelled: float | None
    """Is cancelled so long after it began; in tasks alone."""


moments = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
callers = st.builds(
    Caller,
    begins=moments,
    stream=st.booleans(),
    timeout=st.sampled_from([0.75, 1.75, 2.75, 60.0]),
    leaves=st.none() | st.integers(0, 3),
    cancelled=st.none() | moments,
)


async def run(caller: Caller, api: Api) -> str | None:
    """The whole text; None where the caller gave up."""
    await api.runtime.sleep(caller.begins)
    options = {"timeout": caller.timeout, **FIXED}
    if not caller.stream:
        return (await api.create(**options)).choices[0].message.content
    stream = await api.stream(**options)
    text, count = "", 0
    async for chunk in stream:
        if caller.leaves == count:
            await stream.close()
            return None
        count += 1
        text += chunk.choices[0].delta.content or ""
    return text


async def chaos(colour: Literal["sync", "async"], crowd: list[Caller]) -> None:
    transport = ScriptedTransport([answer])
    api = Making(colour, real_time=False)(transport=transport, max_retries=0, **KEY)

    def body(caller: Caller) -> Any:
        async def work() -> Any:
            if caller.cancelled is None or colour == "sync":
                return await run(caller, api)
            task = asyncio.create_task(run(caller, api))
            await asyncio.sleep(caller.begins + caller.cancelled)
            task.cancel()
            found = await asyncio.gather(task, return_exceptions=True)
            return found[0]

        return work

    found = await together(api, *map(body, crowd))
    for caller, one in zip(crowd, found, strict=True):
        if isinstance(one, DeadlineExceededError):
            assert caller.timeout < 60, "nobody's deadline passes to another"
        elif isinstance(one, asyncio.CancelledError):
            assert caller.cancelled is not None and colour == "async"
        else:
            assert one == TEXT or (one is None and caller.leaves is not None), repr(one)
    await api.runtime.sleep(100)
    assert transport.open == 0
    assert not api.client._core._parts.flights._flights


def answer(request: Any) -> Any:
    return slow_stream() if b'"stream":true' in request.content() else slow_answer()


@given(st.lists(callers, min_size=1, max_size=6))
@settings(max_examples=150)
def test_whoever_stays_is_answered_in_threads(crowd: list[Caller]) -> None:
    step(chaos("sync", crowd))


@given(st.lists(callers, min_size=1, max_size=6))
@settings(max_examples=150)
def test_whoever_stays_is_answered_in_tasks(crowd: list[Caller]) -> None:
    virtual.run(chaos("async", crowd))


@pytest.mark.real_time
@pytest.mark.parametrize("stream", [False, True])
def test_threads_that_run_at_the_same_time_share_one_call(stream: bool) -> None:
    """With the real lock, promise and threads: 200 calls at once, again and again."""

    def quick(request: Any) -> Any:
        if stream:
            return streamed(
                delta("one "), 0.02, delta("two "), 0.02, delta("three"), delta(finish="stop"), DONE
            )
        return said(completion(TEXT), after=0.05)

    transport = ScriptedTransport([quick])
    api = Making("sync", real_time=True)(transport=transport, **KEY)
    rounds, crowd = 5, 200
    texts: list[Any] = []

    def ask(number: int, barrier: threading.Barrier) -> None:
        async def body() -> Any:
            if stream:
                return await (await api.stream(seed=number)).text()
            return (await api.create(seed=number)).choices[0].message.content

        barrier.wait()
        texts.append(step(body()))

    for number in range(rounds):
        barrier = threading.Barrier(crowd)
        threads = [threading.Thread(target=ask, args=(number, barrier)) for _ in range(crowd)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    until = time.monotonic() + 5
    while transport.open and time.monotonic() < until:
        time.sleep(0.01)
    assert texts == [TEXT] * (rounds * crowd)
    assert len(transport.sent) == rounds
    assert transport.open == 0
