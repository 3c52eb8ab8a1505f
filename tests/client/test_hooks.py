"""Hooks: functions of the user's are told what happens, and never fail a call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from both import Api, Making, settled
from fakes import DONE, Answer, ScriptedTransport, delta, refused, said, streamed
from hybrid_infer import AsyncClient, HookEvent, InvalidCallError
from hybrid_infer.errors import ColdError, ConfigurationError, DeadlineExceededError
from hybrid_infer.hooks import HOOKS
from hybrid_infer.layers.route import Tide
from hybrid_infer.runtime.step import step
from hybrid_infer.transport.base import WireRequest
from places import MODAL as MODAL_TARGET
from places import SERVERLESS, SETTINGS, Places

MODAL: dict[str, Any] = {
    "mode": "modal",
    "modal_url": "https://acme--llm.us-east.modal.direct",
    "modal_key": "wk-1",
    "modal_secret": "ws-1",
    "model": "llm",
}
HYBRID: dict[str, Any] = {
    **SETTINGS,
    "mode": "hybrid",
    "hybrid": {"base": "modal", "overflow": "together-serverless", "dwell": 5},
}
COLD = Answer(503, (b"no container is running",), (("content-type", "text/plain"),))
MODELS = said({"object": "list", "data": [{"id": "llm", "object": "model"}]})


class Machine:
    """Answers 503 at the times when it is cold, as *.modal.direct does."""

    def __init__(self, *cold: tuple[float, float], answer: Answer | None = None) -> None:
        self.cold = cold
        self.says = answer or said()
        self.transport = ScriptedTransport([self.answer])

    def answer(self, request: WireRequest) -> Answer:
        now = self.transport.runtime.now()
        if any(begin <= now < end for begin, end in self.cold):
            return COLD
        return MODELS if request.method == "GET" else self.says


def told(api: Api, *names: str) -> list[HookEvent]:
    """What the hooks of these names are told from now on; of all of them where none is named."""
    events: list[HookEvent] = []
    for name in names or HOOKS:
        getattr(api.client.hooks, name)(events.append)
    return events


async def at_once(api: Api, calls: int) -> None:
    if isinstance(api.client, AsyncClient):
        await asyncio.gather(*(api.create() for _ in range(calls)))
        return
    api.runtime.run(*[lambda: step(api.create())] * calls)  # type: ignore[attr-defined]


# What is told


async def test_of_many_calls_one_tells_that_the_machine_is_cold_and_one_that_it_is_ready(
    make: Making,
) -> None:
    api = make(transport=Machine((0, 30)).transport, **MODAL)
    events = told(api)
    await at_once(api, 20)
    cold, ready = events
    assert (cold.name, ready.name) == ("on_cold_start", "on_ready")
    for event in events:
        assert (event.mode, event.model, event.target) == ("modal", "llm", MODAL_TARGET)
        assert event.at.tzinfo is not None
    assert cold.seconds is None
    assert cold.reason == "no container is running"
    assert ready.seconds == pytest.approx(30, abs=1.5)


async def test_each_cold_start_is_told_anew(make: Making) -> None:
    api = make(transport=Machine((0, 10), (100, 120)).transport, **MODAL)
    events = told(api)
    await api.create()
    await api.create()
    assert len(events) == 2, "a warm machine is nothing to be told"
    await api.runtime.sleep(100 - api.runtime.now())
    await api.create()
    assert [event.name for event in events] == ["on_cold_start", "on_ready"] * 2
    assert events[3].seconds == pytest.approx(20, abs=1.5)


async def test_a_machine_that_flaps_is_told_once(make: Making) -> None:
    """The probe finds it up, the call finds it cold again: it has not answered a call yet."""
    transport = ScriptedTransport([COLD, MODELS, COLD, MODELS, said()])
    api = make(transport=transport, **MODAL)
    events = told(api)
    await api.create()
    assert [event.name for event in events] == ["on_cold_start", "on_ready"]


async def test_a_switch_to_and_fro_begins_no_other_cold_start(make: Making) -> None:
    machine = Machine((0, 100))
    api = make(transport=machine.transport, together_api_key="k", **MODAL)
    events = told(api, "on_cold_start", "on_ready")
    with pytest.raises((ColdError, DeadlineExceededError)):
        await api.create(max_retries=0, timeout=3)
    await api.switch("together-serverless")
    await api.switch("modal")
    await api.create()
    assert [event.name for event in events] == ["on_cold_start", "on_ready"]
    assert events[1].seconds == pytest.approx(100, abs=1.5)


async def test_an_answer_to_what_was_sent_before_is_no_sign_that_the_machine_is_back(make: Making) -> None:
    """The last words of a replica that is gone."""
    machine = Machine((1, 60))
    machine.says = said(after=20)
    api = make(transport=machine.transport, **MODAL)
    events = told(api)

    async def later() -> None:
        await api.runtime.sleep(5)
        await api.create()

    if make.colour == "async":
        await asyncio.gather(api.create(), later())
    else:
        api.runtime.run(lambda: step(api.create()), lambda: step(later()))  # type: ignore[attr-defined]
    assert [event.name for event in events] == ["on_cold_start", "on_ready"]
    assert events[1].seconds == pytest.approx(55 + 20, abs=1.5)


async def test_calls_that_do_not_wait_tell_of_the_cold_start_too(make: Making) -> None:
    places = Places(modal=[COLD, COLD, said()], serverless=[said()])
    api = make(transport=places.transport, **HYBRID)
    events = told(api, "on_cold_start", "on_ready")
    for _ in range(5):
        await api.create()
        await api.runtime.sleep(1.5)
    assert [event.name for event in events] == ["on_cold_start", "on_ready"]
    assert (events[0].model, events[0].target) == ("assistant", MODAL_TARGET)


async def test_a_switch_tells_the_new_mode_and_the_one_before(make: Making) -> None:
    api = make(transport=ScriptedTransport([said()]), together_api_key="k", **MODAL)
    events = told(api, "on_switch")
    await api.switch("together-serverless")
    with pytest.raises(ConfigurationError):
        await api.switch("openai-compatible")
    (event,) = events
    assert (event.mode, event.before) == ("together-serverless", "modal")


async def test_overflow_tells_when_it_begins_and_when_it_has_ended(make: Making) -> None:
    healthy_at = 20.0

    def base(_: Any) -> Answer:
        return said() if places.transport.runtime.now() >= healthy_at else refused(429)

    places = Places(modal=[base], serverless=[said()])
    api = make(transport=places.transport, breaker=False, **HYBRID)
    events = told(api, "on_overflow")
    for _ in range(40):
        await api.create()
        await api.runtime.sleep(1)
    begin, end = events
    assert (begin.overflowing, end.overflowing) == (True, False)
    assert {event.target for event in events} == {SERVERLESS}
    assert begin.reason.startswith(f"{MODAL_TARGET}: ")
    assert begin.seconds is None
    assert end.seconds is not None and 20 + 5 - 2 <= end.seconds <= 20 + 5 + 2


async def test_without_overflow_nothing_is_told_of_it(make: Making) -> None:
    places = Places(modal=[said()], serverless=[said()])
    api = make(transport=places.transport, **HYBRID)
    events = told(api)
    await api.create()
    await api.create(mode="together-serverless")
    assert events == []


@given(st.floats(0, 10), st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=60))
def test_overflow_begins_and_ends_by_turns_and_never_ends_within_the_dwell(
    dwell: float, calls: list[tuple[bool, float]]
) -> None:
    tide, now, begun, last_out = Tide(dwell), 0.0, None, 0.0
    for over, gap in calls:
        now += gap
        if over:
            assert tide.out(now) == (begun is None)
            begun = now if begun is None else begun
            last_out = now
        elif (seconds := tide.back(now)) is not None:
            assert begun is not None and seconds == now - begun
            assert now - last_out >= dwell
            begun = None
        else:
            assert begun is None or now - last_out < dwell


@pytest.mark.parametrize("name", HOOKS)
async def test_every_hook_is_told_by_whoever_fires_it_in_the_order_of_registration(
    make: Making, name: Any
) -> None:
    api = make(transport=ScriptedTransport([said()]), **MODAL)
    heard: list[str] = []

    def first(event: HookEvent) -> None:
        heard.append(f"first {event.name}")

    register: Callable[..., Any] = getattr(api.client.hooks, name)
    assert register(first) is first
    register(first)  # once is enough
    register(lambda event: heard.append(f"second {event.name}"))
    hooks = api.client._core.hooks
    assert hooks is api.client.hooks is api.client.with_options(timeout=3).hooks
    await hooks.fire(HookEvent(name=name, at=datetime.now(UTC)))
    assert heard == [f"first {name}", f"second {name}"]
    assert [other for other in HOOKS if hooks.wants(other)] == [name]


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
        (awaited, "test_hooks.awaited"),
        (partial(awaited), "awaited"),
        (Listener(), "Listener"),
        (Listener().method, "test_hooks.Listener.method"),
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

    @api.client.hooks.on_cold_start
    @api.client.hooks.on_ready
    def breaks(event: HookEvent) -> None:
        raise ZeroDivisionError("planted")

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
