"""One step runs a coroutine that never suspends; anything else is named at once."""

from __future__ import annotations

import asyncio

import pytest

from hybrid_infer.errors import ForeignAwaitError
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step


async def inner(value: int) -> int:
    return value + 1


async def outer(value: int) -> int:
    return await inner(value) * 2


def test_it_returns_what_the_coroutine_returns() -> None:
    assert step(outer(2)) == 6


def test_it_raises_what_the_coroutine_raises() -> None:
    async def fails() -> None:
        await inner(1)
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        step(fails())


async def layer_with_a_foreign_await() -> None:
    await asyncio.sleep(0)


def test_a_foreign_await_is_refused_and_its_place_named() -> None:
    with pytest.raises(ForeignAwaitError, match=r"test_step\.py|tasks\.py") as caught:
        step(layer_with_a_foreign_await())
    assert "AsyncClient" in str(caught.value)
    places = [entry.name for entry in caught.traceback]
    assert "layer_with_a_foreign_await" in places


async def test_a_foreign_await_inside_a_running_loop_is_refused_too() -> None:
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(ForeignAwaitError, match="Future"):
        step(waits())


def test_finally_blocks_run_and_may_not_hide_the_error() -> None:
    seen = []

    async def tidy() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            seen.append("tidied")

    with pytest.raises(ForeignAwaitError):
        step(tidy())
    assert seen == ["tidied"]


def test_the_blocking_runtime_never_suspends() -> None:
    runtime = BlockingRuntime()

    async def waits() -> bool:
        promise = runtime.promise()
        promise.keep()
        await runtime.sleep(0)
        return await promise.wait(1)

    assert step(waits())
