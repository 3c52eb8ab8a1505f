"""Hooks: what may be one, what becomes of its errors, and of one that calls the client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from both import Api, Making, settled
from client.telling import MODAL, Machine, told
from fakes import DONE, ScriptedTransport, delta, said, streamed
from hybrid_infer import AsyncClient, HookEvent, InvalidCallError

# What may be a hook


async def awaited(event: HookEvent) -> None:
    await asyncio.sleep(2)
    HEARD.append(event.name)


HEARD: list[str] = []


class Listener:
    async def __call__(self, event: HookEvent) -> None:
        await awaited(event)

    async def method(self, event: HookEvent) -> None:
        await awaited(event)


@pytest.mark.parametrize(
    ("hook", "called"),
    [
        (awaited, "test_hooks_called.awaited"),
        (partial(awaited), "awaited"),
        (Listener(), "Listener"),
        (Listener().method, "test_hooks_called.Listener.method"),
    ],
)
async def test_async_hooks_are_awaited_by_the_async_client_and_refused_by_the_other(
    make: Making, hook: Any, called: str
) -> None:
    api = make(transport=Machine((0, 10)).transport, **MODAL)
    HEARD.clear()
    if make.colour == "sync":
        with pytest.raises(InvalidCallError, match=r"is async.*AsyncClient") as caught:
            api.client.hooks.on_ready(hook)
        assert str(caught.value).startswith("hooks.on_ready: ")
        assert called in str(caught.value)
        return
    api.client.hooks.on_ready(hook)
    loop = asyncio.get_running_loop()
    began = loop.time()
    reply = await api.create()
    assert HEARD == ["on_ready"]
    assert loop.time() - began == pytest.approx(reply.hybrid.cold_wait + 2, abs=0.1)


async def test_what_is_no_function_or_does_nothing_when_called_is_refused(make: Making) -> None:
    def generator(event: HookEvent) -> Iterator[HookEvent]:
        yield event

    hooks: Any = make(transport=ScriptedTransport([said()]), **MODAL).client.hooks
    with pytest.raises(InvalidCallError, match=r"hooks\.on_idle: 3 is no function"):
        hooks.on_idle(3)
    with pytest.raises(InvalidCallError, match="generator is a generator"):
        hooks.on_idle(generator)


# Errors


async def test_a_hook_that_fails_is_logged_and_counted_and_the_call_and_the_other_hooks_go_on(
    make: Making, caplog: pytest.LogCaptureFixture
) -> None:
    api = make(transport=Machine((0, 10)).transport, **MODAL)

    def breaks(event: HookEvent) -> None:
        raise ZeroDivisionError("planted")

    api.client.hooks.on_cold_start(api.client.hooks.on_ready(breaks))
    events = told(api)
    with caplog.at_level(logging.WARNING, "hybrid_infer"):
        assert (await api.create()).choices
    assert [event.name for event in events] == ["on_cold_start", "on_ready"]
    assert api.client.hooks.failures == {"on_cold_start": 1, "on_ready": 1}
    lines = [record for record in caplog.records if "breaks" in record.getMessage()]
    assert [record.getMessage().partition(" failed")[0] for record in lines] == [
        "hook on_cold_start",
        "hook on_ready",
    ]
    assert all(record.exc_info for record in lines)


async def test_a_plain_hook_that_returns_what_must_be_awaited(make: Making) -> None:
    """It cannot be told beforehand: the async client awaits it, in the other one it has failed."""
    api = make(transport=Machine((0, 10)).transport, **MODAL)
    HEARD.clear()
    api.client.hooks.on_ready(lambda event: awaited(event))
    await api.create()
    if make.colour == "async":
        assert HEARD == ["on_ready"]
        assert api.client.hooks.failures == {}
    else:
        assert HEARD == []
        assert api.client.hooks.failures == {"on_ready": 1}


async def test_a_call_that_is_given_up_while_a_hook_runs_leaves_nothing_open(make: Making) -> None:
    machine = Machine((0, 10), answer=streamed(delta("a"), 5.0, delta("b"), DONE))
    api = make(transport=machine.transport, **MODAL)

    if make.colour == "async":

        async def slow(event: HookEvent) -> None:
            await asyncio.sleep(100)

        api.client.hooks.on_ready(slow)
        call = asyncio.ensure_future(api.stream())
        await asyncio.sleep(50)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    else:

        def interrupted(event: HookEvent) -> None:
            raise KeyboardInterrupt

        api.client.hooks.on_ready(interrupted)
        with pytest.raises(KeyboardInterrupt):
            await api.stream()
    assert machine.transport.open == 0


# Hooks that call the client


def calling(api: Api, use: Callable[[], Any]) -> Callable[[HookEvent], Any]:
    """A hook of the client's colour that uses it."""

    async def asynchronous(event: HookEvent) -> None:
        await settled(use())

    def blocking(event: HookEvent) -> None:
        use()

    return asynchronous if isinstance(api.client, AsyncClient) else blocking


async def test_a_hook_may_call_the_client(make: Making) -> None:
    machine = Machine((0, 30))
    api = make(transport=machine.transport, **MODAL)
    ask = [{"role": "user", "content": "the first one"}]
    api.client.hooks.on_cold_start(calling(api, lambda: api.client.chat.completions.create(messages=ask)))
    events = told(api)
    await api.create()
    assert [event.name for event in events] == ["on_ready", "on_cold_start"], "the inner call came first"
    assert api.client.hooks.failures == {}


async def test_a_hook_is_not_called_from_within_a_hook_of_its_name(
    make: Making, caplog: pytest.LogCaptureFixture
) -> None:
    api = make(transport=ScriptedTransport([said()]), together_api_key="k", **MODAL)
    api.client.hooks.on_switch(calling(api, lambda: api.client.switch("modal")))
    events = told(api, "on_switch")
    with caplog.at_level(logging.WARNING, "hybrid_infer"):
        await api.switch("together-serverless")
    assert api.client._core.mode == "modal", "what the hook did is done"
    assert [event.mode for event in events] == ["together-serverless"]
    assert [r.getMessage() for r in caplog.records] == [
        "on_switch happened within a hook of that name; no hook is called"
    ]
    await api.switch("together-serverless")
    assert len(events) == 2, "the next one is told again"


async def test_what_a_hook_began_is_within_it_no_longer_once_it_has_ended() -> None:
    client = AsyncClient(simulate=True)
    began: list[asyncio.Task[None]] = []

    async def again() -> None:
        await asyncio.sleep(1)
        await client.switch("modal")

    @client.hooks.on_switch
    async def begin(event: HookEvent) -> None:
        if event.mode == "together-dedicated":
            began.append(asyncio.ensure_future(again()))

    events: list[HookEvent] = []
    client.hooks.on_switch(events.append)
    await client.switch("together-dedicated")
    await began[0]
    assert [event.mode for event in events] == ["together-dedicated", "modal"]
    await client.close()
