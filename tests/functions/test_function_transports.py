"""What both ways to functions promise: Modal's package against the door, and the one inside the process."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from functions_support import TOKEN, named
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.functions_door import SimulatedFunctions
from hybrid_infer.transport.functions import Cause, FunctionFailure, FunctionTimeout, FunctionTransport, Stage
from hybrid_infer.transport.modal_functions import ModalFunctions

pytest.importorskip("modal")
pytestmark = pytest.mark.real_time


@pytest.fixture(params=["modal", "simulated"])
def functions(
    request: pytest.FixtureRequest, registry: FunctionRegistry, runtime: Runtime
) -> FunctionTransport:
    if request.param == "simulated":
        return SimulatedFunctions(registry, runtime=runtime)
    request.getfixturevalue("door")
    return ModalFunctions(runtime=runtime, token=lambda: TOKEN)


class Asked:
    """Calls by text, with some seconds to spare."""

    def __init__(self, functions: FunctionTransport, runtime: Runtime) -> None:
        self.functions = functions
        self.runtime = runtime

    def until(self, seconds: float = 10) -> float:
        return self.runtime.now() + seconds

    async def call(self, name: str, *args: Any, within: float = 10, **kwargs: Any) -> Any:
        return (await self.functions.call(named(name), args, kwargs, until=self.until(within))).value

    async def items(self, name: str, *args: Any) -> list[Any]:
        stream = await self.functions.stream(named(name), args, {}, until=self.until())
        got: list[Any] = []
        while (item := await stream.next(self.until())) is not None:
            got.append(item[0])
        assert await stream.next(self.until()) is None
        await stream.aclose()
        return got


@pytest.fixture
def ask(functions: FunctionTransport, runtime: Runtime) -> Asked:
    return Asked(functions, runtime)


async def test_a_function_a_method_and_a_generator_answer(ask: Asked) -> None:
    boxes = await ask.call("detector/detect", b"picture")
    assert boxes["boxes"]
    assert await ask.call("detector/Detector.detect", b"picture") == boxes
    assert await ask.call("faults/echo", 1, None, two=2) == {"args": [1, None], "kwargs": {"two": 2}}
    assert await ask.items("text/stream_words", "a b") == ["a ", "b "]
    await ask.functions.aclose()


async def test_an_answer_has_the_id_of_its_call(ask: Asked, registry: FunctionRegistry) -> None:
    returned = await ask.functions.call(named("faults/echo"), (), {}, until=ask.until())
    assert returned.call_id == registry.inputs[0].id
    await ask.functions.aclose()


@pytest.mark.parametrize(
    ("name", "cause", "stage"),
    [
        ("faults/raises", "remote", "wait"),
        ("faults/times_out", "timeout", "wait"),
        ("faults/lost", "lost", "wait"),
        ("faults/out_of_memory", "crashed", "wait"),
        ("faults/init_failed", "crashed", "wait"),
        ("faults/permission", "permission", "send"),
        ("faults/exhausted", "exhausted", "send"),
        ("faults/invalid", "invalid", "send"),
        ("faults/unavailable", "unavailable", "send"),
        ("faults/breaks", "generator", "send"),
        ("faults/absent", "not_found", "look-up"),
        ("detector/Detector.absent", "not_found", "look-up"),
    ],
)
async def test_a_failure_says_its_cause_and_how_far_the_call_had_come(
    ask: Asked, name: str, cause: Cause, stage: Stage
) -> None:
    with pytest.raises(FunctionFailure) as failed:
        await ask.call(name)
    assert (failed.value.cause, failed.value.stage) == (cause, stage)
    assert (failed.value.call_id is not None) == (stage == "wait")
    await ask.functions.aclose()


async def test_what_the_function_raised_comes_with_its_type_and_arguments(ask: Asked) -> None:
    with pytest.raises(FunctionFailure) as failed:
        await ask.call("faults/raises", "not today")
    remote = failed.value.remote
    assert type(remote) is ValueError and remote.args == ("not today",)
    await ask.functions.aclose()


async def test_even_a_timeout_that_the_function_raised_is_its_own(
    ask: Asked, registry: FunctionRegistry
) -> None:
    def late() -> None:
        raise TimeoutError

    registry.deploy("mine/late", late)
    with pytest.raises(FunctionFailure) as failed:
        await ask.call("mine/late")
    assert failed.value.cause == "remote" and type(failed.value.remote) is TimeoutError
    await ask.functions.aclose()


async def test_an_argument_that_cannot_be_sent_is_told_before_anything_runs(
    ask: Asked, registry: FunctionRegistry
) -> None:
    with pytest.raises(FunctionFailure) as failed:
        await ask.call("faults/echo", threading.Lock())
    assert failed.value.cause == "argument" and "pickle" in str(failed.value)
    with pytest.raises(FunctionFailure) as streamed:
        await ask.items("text/stream_words", threading.Lock())
    assert streamed.value.cause == "argument"
    assert registry.inputs == []
    await ask.functions.aclose()


async def test_a_function_cannot_be_read_as_a_generator(ask: Asked) -> None:
    with pytest.raises(FunctionFailure) as failed:
        await ask.items("faults/echo")
    assert failed.value.cause == "not_generator"
    await ask.functions.aclose()


async def test_a_generator_that_raises_says_what(ask: Asked) -> None:
    with pytest.raises(FunctionFailure) as failed:
        await ask.items("faults/breaks", 3)
    assert failed.value.cause == "remote" and str(failed.value.remote) == "broke after 3"
    await ask.functions.aclose()


async def test_a_spawned_call_is_asked_waited_for_and_cancelled(
    ask: Asked, registry: FunctionRegistry
) -> None:
    quick = await ask.functions.spawn(named("faults/echo"), (1,), {}, until=ask.until())
    for _ in range(2):
        assert (await quick.get(ask.until()))["args"] == [1]
    assert (await ask.functions.spawned(quick.id).get(ask.until()))["args"] == [1]
    slow = await ask.functions.spawn(named("faults/slow"), (60,), {}, until=ask.until())
    with pytest.raises(FunctionTimeout) as late:
        await slow.get(ask.until(0.05))
    assert (late.value.stage, late.value.call_id) == ("wait", slow.id)
    assert [one.id for one in registry.running()] == [slow.id]
    await slow.cancel(ask.until())
    assert registry.running() == ()
    with pytest.raises(FunctionFailure, match="cancelled"):
        await slow.get(ask.until())
    await ask.functions.aclose()


async def test_time_that_is_over_stops_the_input(ask: Asked, registry: FunctionRegistry) -> None:
    await ask.call("faults/echo")
    began = ask.runtime.now()
    with pytest.raises(FunctionTimeout) as late:
        await ask.call("faults/slow", 60, within=0.2)
    assert ask.runtime.now() - began < 1
    assert late.value.stage == "wait" and late.value.call_id is not None
    await ask.functions.aclose()
    assert [one.state for one in registry.inputs] == ["done", "cancelled"]


async def test_a_generator_runs_on_when_its_reader_goes(ask: Asked) -> None:
    stream = await ask.functions.stream(named("text/stream_words"), ("a b c",), {}, until=ask.until())
    assert await stream.next(ask.until()) == ("a ",)
    assert stream.stoppable is False
    stream.abandon()
    assert await stream.next(ask.until()) is None
    await ask.functions.aclose()


async def test_a_call_that_nobody_made_is_not_found(ask: Asked) -> None:
    with pytest.raises(FunctionFailure, match="fc-99999999 not found") as failed:
        await ask.functions.spawned("fc-99999999").get(ask.until())
    assert failed.value.cause == "not_found"
    await ask.functions.aclose()
