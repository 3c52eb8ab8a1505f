"""The end of a stack that is a Modal function: replies, streams, time limits and what errors say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from functions_support import named
from hybrid_infer.backends.base import address_of
from hybrid_infer.backends.compatible import CompatibleBackend
from hybrid_infer.backends.functions import FunctionErrors
from hybrid_infer.calls.call import Call, Target
from hybrid_infer.calls.functions import FunctionItem, function_body
from hybrid_infer.calls.timeouts import Timeouts
from hybrid_infer.errors import (
    APIError,
    APIResponseError,
    APITimeoutError,
    DeadlineExceededError,
    InvalidCallError,
    NotFoundError,
    RateLimitError,
    RemoteFunctionError,
    StreamError,
)
from hybrid_infer.layers.exchange.functions import FunctionExchange
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.simulator.functions_door import SimulatedFunctions


class Bench:
    """An exchange over simulated functions, in virtual time."""

    def __init__(self, simulated: SimulatedFunctions, runtime: Runtime) -> None:
        self.simulated = simulated
        self.runtime = runtime
        self.registry = simulated.registry
        self.call: Any = None

    def exchange(self, served_by: str | None = None) -> FunctionExchange:
        self.runtime.check()
        target = Target(
            name="modal/functions",
            mode="modal",
            provider="modal",
            model=None,
            host="api.modal.com",
            port=443,
            basis="machine-time",
        )
        return FunctionExchange(
            target=target,
            backend=FunctionErrors(),
            transport=self.simulated,
            runtime=self.runtime,
            function=None if served_by is None else named(served_by),
            shape=None
            if served_by is None
            else CompatibleBackend(address=address_of("http://modal.invalid")),
        )

    async def ask(self, name: str, *args: Any, **options: Any) -> Any:
        exchange = self.exchange()
        self.call = self._call("functions", function_body(name, args, {}), **options)
        return await exchange(self.call)

    async def chat(self, served_by: str, **options: Any) -> Any:
        exchange = self.exchange(served_by)
        body = {"messages": [{"role": "user", "content": "hello there"}]}
        self.call = self._call("chat", body, **options)
        return await exchange(self.call)

    def _call(self, operation: Any, body: Any, within: float = 100, **options: Any) -> Call:
        return Call(operation=operation, model=None, body=body, until=self.runtime.now() + within, **options)


@pytest.fixture
def bench(simulated: SimulatedFunctions, runtime: Runtime) -> Bench:
    return Bench(simulated, runtime)


async def values(reply: Any) -> list[Any]:
    got: list[Any] = []
    while (event := await reply.next()) is not None:
        assert isinstance(event, FunctionItem)
        got.append(event.value)
    return got


async def test_what_a_function_returns_is_the_reply(bench: Bench) -> None:
    reply = await bench.ask("faults/echo", 1)
    assert reply.value == {"args": [1], "kwargs": {}}
    assert reply.facts.id == bench.registry.inputs[0].id
    assert await bench.exchange().probe(0) is True


async def test_a_generator_is_a_live_reply_and_may_yield_none(bench: Bench) -> None:
    def some() -> Iterator[Any]:
        yield from (1, None, 2)

    bench.registry.deploy("mine/some", some, seconds=1.0)
    reply = await bench.ask("mine/some", stream=True)
    assert reply.facts.first_token == bench.runtime.now() == pytest.approx(1)
    assert await values(reply) == [1, None, 2]
    assert reply.final() == [1, None, 2] and bench.call.tally.warnings == []


async def test_a_stream_left_early_says_that_the_function_runs_on(bench: Bench) -> None:
    reply = await bench.ask("text/stream_words", stream=True)
    await reply.next()
    await reply.aclose()
    assert ["text/stream_words may run on" in told for told in bench.call.tally.warnings] == [True]


async def test_the_deadline_ends_the_wait_and_the_input(bench: Bench) -> None:
    with pytest.raises(DeadlineExceededError, match="modal \\(faults/slow\\): the deadline") as late:
        await bench.ask("faults/slow", 60, within=5)
    assert bench.runtime.now() == pytest.approx(5)
    assert (late.value.verdict, late.value.billed, late.value.target) == ("ignore", None, "modal/functions")
    assert late.value.request_id == bench.registry.inputs[0].id
    assert bench.registry.inputs[0].state == "cancelled"
    assert bench.registry.use(100)[0].seconds == pytest.approx(5)


async def test_a_deadline_after_a_long_silence_speaks_against_the_target(bench: Bench) -> None:
    with pytest.raises(DeadlineExceededError) as late:
        await bench.ask("faults/slow", 600, within=40)
    assert late.value.silent and late.value.verdict == "retry"


async def test_one_attempt_has_a_time_of_its_own(bench: Bench) -> None:
    with pytest.raises(APITimeoutError, match=r"nothing within 2 s.*attempt_timeout") as late:
        await bench.ask("faults/slow", 60, timeouts=Timeouts(attempt=2))
    assert late.value.silent and late.value.verdict == "retry"
    assert bench.registry.inputs[0].state == "cancelled"


async def test_a_stream_has_time_for_its_first_item_and_between_two(bench: Bench) -> None:
    def some() -> Iterator[int]:
        yield from range(3)

    bench.registry.deploy("mine/slow", some, seconds=3.0)
    with pytest.raises(APITimeoutError, match="first_token_timeout"):
        await bench.ask("mine/slow", stream=True, timeouts=Timeouts(first_token=2))
    reply = await bench.ask("mine/slow", stream=True, timeouts=Timeouts(between_tokens=2))
    assert (await reply.next()).value == 0
    with pytest.raises(StreamError, match="no item for 2 s") as stalled:
        await reply.next()
    assert stalled.value.partial == [0]
    assert "may run on" in bench.call.tally.warnings[0]


async def test_what_the_function_raised_is_in_the_error(bench: Bench) -> None:
    with pytest.raises(RemoteFunctionError, match="raised ValueError: not today") as failed:
        await bench.ask("faults/raises", "not today")
    assert isinstance(failed.value.remote, ValueError) and failed.value.__cause__ is failed.value.remote
    assert (failed.value.verdict, failed.value.billed) == ("fail", True)


async def test_a_generator_that_raises_keeps_what_came_before(bench: Bench) -> None:
    reply = await bench.ask("faults/breaks", 2, stream=True)
    got: list[Any] = []
    with pytest.raises(RemoteFunctionError) as failed:
        while (event := await reply.next()) is not None:
            got.append(event.value)
    assert got == failed.value.partial == [0, 1]
    assert bench.call.tally.warnings == []


@pytest.mark.parametrize(
    ("name", "stream", "error", "says"),
    [
        ("faults/breaks", False, InvalidCallError, "is a generator"),
        ("faults/echo", True, InvalidCallError, "is no generator"),
        ("faults", False, InvalidCallError, "'app/function'"),
        ("faults/absent", False, NotFoundError, "modal deploy"),
        ("faults/absent", True, NotFoundError, "modal deploy"),
        ("faults/exhausted", False, RateLimitError, "queue is full"),
    ],
)
async def test_what_is_wrong_is_said_once_and_clearly(
    bench: Bench, name: str, stream: bool, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as failed:
        await bench.ask(name, stream=stream)
    if isinstance(failed.value, APIError):
        assert failed.value.where == f"modal ({name})" and failed.value.__cause__ is None


async def test_chat_is_served_by_a_function(bench: Bench) -> None:
    reply = await bench.chat("llm/chat")
    assert reply.value.choices[0].message.content == "(simulated) You said: hello there"
    assert reply.facts.usage.input_tokens == 2
    assert reply.facts.raw.request_id == bench.registry.inputs[0].id


async def test_chat_is_streamed_by_a_generator(bench: Bench) -> None:
    reply = await bench.chat("llm/stream_chat", stream=True)
    text = ""
    while (chunk := await reply.next()) is not None:
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    assert text.strip() == "(simulated) You said: hello there"
    assert reply.final().choices[0].finish_reason == "stop"
    assert bench.call.tally.warnings == []


async def test_a_chat_stream_of_a_plain_function_is_its_complete_answer(bench: Bench) -> None:
    reply = await bench.chat("llm/chat", stream=True)
    text = ""
    while (chunk := await reply.next()) is not None:
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    assert text == "(simulated) You said: hello there"
    assert ["llm/chat is no generator" in told for told in bench.call.tally.warnings] == [True]


async def test_a_chat_stream_left_early_says_that_the_function_runs_on(bench: Bench) -> None:
    reply = await bench.chat("llm/stream_chat", stream=True)
    await reply.next()
    reply.abandon()
    assert ["may run on" in told for told in bench.call.tally.warnings] == [True]


async def test_a_chat_function_that_fails_or_is_late_says_so(bench: Bench) -> None:
    with pytest.raises(RemoteFunctionError) as failed:
        await bench.chat("faults/breaks", stream=True)
    assert isinstance(failed.value.remote, Exception)
    with pytest.raises(DeadlineExceededError):
        await bench.chat("llm/stream_chat", stream=True, within=0.001)
    bench.registry.deploy("mine/strange", lambda request: {1, 2, object})
    with pytest.raises((RemoteFunctionError, APIResponseError)):
        await bench.chat("mine/strange")


async def test_what_is_no_answer_in_openais_shape_is_an_error(bench: Bench) -> None:
    bench.registry.deploy("mine/other", lambda request: {"boxes": []})
    with pytest.raises(APIResponseError):
        await bench.chat("mine/other")
