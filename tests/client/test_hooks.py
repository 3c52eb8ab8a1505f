"""Hooks: functions of the user's are told what happens, and never fail a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from both import Api, Making
from client.telling import COLD, MODAL, MODELS, Machine, told
from fakes import Answer, ScriptedTransport, refused, said
from hybrid_infer import AsyncClient, HookEvent
from hybrid_infer.errors import ColdError, ConfigurationError, DeadlineExceededError
from hybrid_infer.hooks import HOOKS
from hybrid_infer.layers.route import Tide
from hybrid_infer.runtime.step import step
from places import MODAL as MODAL_TARGET
from places import SERVERLESS, SETTINGS, Places

HYBRID: dict[str, Any] = {
    **SETTINGS,
    "mode": "hybrid",
    "hybrid": {"base": "modal", "overflow": "together-serverless", "dwell": 5},
}


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
        assert event.at.utcoffset() == timedelta(0)
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
