"""Mode hybrid: the base answers while it can, the overflow takes the rest."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from both import Api, Making
from fakes import Answer, hello, refused, said
from hybrid_infer.aclient import AsyncClient
from hybrid_infer.errors import ColdError, InternalServerError, InvalidCallError, SaturatedError
from hybrid_infer.layers.route import Cap, Overflow
from places import DEDICATED, MODAL, SERVERLESS, SETTINGS, Places

HYBRID: dict[str, Any] = {
    **SETTINGS,
    "mode": "hybrid",
    "hybrid": {"base": "modal", "overflow": "together-serverless", "max_wait": 2.0},
}
COLD = Answer(503, (b"no container is running",), (("content-type", "text/plain"),))


async def at_once(api: Api, calls: int, **options: Any) -> list[Any]:
    if isinstance(api.client, AsyncClient):
        return list(await asyncio.gather(*(api.create(**options) for _ in range(calls))))

    def one() -> Any:
        return api.client.chat.completions.create(messages=[{"role": "user", "content": "hi"}], **options)

    return api.runtime.run(*[one] * calls)  # type: ignore[attr-defined, no-any-return]


def with_limits(**limits: Any) -> dict[str, Any]:
    """The models, with limits on the base."""
    of_model = SETTINGS["models"]["assistant"]
    return {"assistant": {**of_model, "modal": {**of_model["modal"], **limits}}}


async def test_the_base_comes_first(make: Making) -> None:
    places = Places(modal=[said()], serverless=[said()])
    reply = await make(transport=places.transport, **HYBRID).create()
    assert reply.hybrid.target == MODAL
    assert reply.hybrid.why[0].startswith("hybrid:")


async def test_a_cold_base_overflows_at_once(make: Making) -> None:
    places = Places(modal=[COLD], serverless=[said()])
    reply = await make(transport=places.transport, **HYBRID).create()
    assert reply.hybrid.target == SERVERLESS
    assert reply.hybrid.latency == pytest.approx(0, abs=0.01)
    assert reply.hybrid.cold_start
    assert any("cold" in line for line in reply.hybrid.why)


async def test_a_cold_base_is_waited_for_where_the_overflow_fails(make: Making) -> None:
    places = Places(modal=[COLD, COLD, said()], serverless=[refused(500)])
    reply = await make(transport=places.transport, **HYBRID).create(max_retries=1)
    assert reply.hybrid.target == MODAL
    assert reply.hybrid.cold_wait > 0
    assert places.count(SERVERLESS) == 2


async def test_it_is_waited_for_once(make: Making) -> None:
    places = Places(modal=[COLD], serverless=[refused(500)])
    with pytest.raises(ColdError) as caught:
        await make(transport=places.transport, cold_start_timeout=30, **HYBRID).create(max_retries=0)
    assert caught.value.hybrid.cold_wait <= 30
    assert caught.value.hybrid.latency <= 30
    places = Places(modal=[COLD], serverless=[refused(500)])
    with pytest.raises(InternalServerError):
        await make(transport=places.transport, cold_start_timeout=0, **HYBRID).create(max_retries=0)


async def test_of_many_calls_one_a_second_asks_the_cold_base(make: Making) -> None:
    places = Places(modal=[COLD], serverless=[said()])
    api = make(transport=places.transport, **HYBRID)
    for _ in range(20):
        await api.create()
        await api.runtime.sleep(0.1)
    assert places.count(SERVERLESS) == 20
    assert 2 <= places.count(MODAL) <= 4


async def test_calls_return_when_the_base_is_up(make: Making) -> None:
    places = Places(modal=[COLD, COLD, said()], serverless=[said()])
    api = make(transport=places.transport, **HYBRID)
    modes = []
    for _ in range(5):
        modes.append((await api.create()).hybrid.mode)
        await api.runtime.sleep(1.5)
    assert modes == ["together-serverless"] * 2 + ["modal"] * 3


async def test_a_cold_base_may_be_waited_for(make: Making) -> None:
    places = Places(modal=[COLD, said({"data": [{"id": "llm"}]}), said()], serverless=[said()])
    reply = await make(transport=places.transport, on_cold="wait", **HYBRID).create()
    assert reply.hybrid.target == MODAL
    assert reply.hybrid.cold_wait > 0
    assert places.count(SERVERLESS) == 0


async def test_where_nobody_else_takes_the_call_the_cold_base_is_waited_for(make: Making) -> None:
    """Overflow that is refused must not fail a call that has the time to wait."""
    places = Places(modal=[COLD, COLD, said({"data": [{"id": "llm"}]}), said()], serverless=[said()])
    settings = {**HYBRID, "hybrid": {**HYBRID["hybrid"], "cap": 1e-12}}
    api = make(transport=places.transport, **settings)
    replies = [await api.create() for _ in range(2)]
    assert replies[0].hybrid.mode == "together-serverless", "nothing has been spent yet"
    assert replies[1].hybrid.mode == "modal"
    assert replies[1].hybrid.cold_wait > 0
    assert any("USD" in line for line in replies[1].hybrid.why)


async def test_the_cap_holds_whatever_becomes_of_the_base(make: Making) -> None:
    places = Places(modal=[COLD, refused(500)], serverless=[said()])
    settings = {**HYBRID, "hybrid": {**HYBRID["hybrid"], "cap": 1e-12}}
    api = make(transport=places.transport, **settings)
    await api.create()
    for _ in range(5):
        with pytest.raises((InternalServerError, SaturatedError)):
            await api.create(max_retries=1)
    assert places.count(SERVERLESS) == 1


async def test_a_saturated_base_overflows(make: Making) -> None:
    places = Places(modal=[refused(429)], serverless=[said()])
    reply = await make(transport=places.transport, **HYBRID).create()
    assert reply.hybrid.target == SERVERLESS


async def test_a_full_queue_overflows(make: Making) -> None:
    places = Places(modal=[said(after=10)], serverless=[said(after=1)])
    models = with_limits(max_in_flight=2, max_queue=0)
    api = make(transport=places.transport, **{**HYBRID, "models": models})
    replies = await at_once(api, 6)
    assert sorted(reply.hybrid.mode for reply in replies) == ["modal"] * 2 + ["together-serverless"] * 4


async def test_a_predicted_wait_above_the_mark_overflows(make: Making) -> None:
    places = Places(modal=[said(after=4)], serverless=[said(after=1)])
    api = make(transport=places.transport, **{**HYBRID, "models": with_limits(max_in_flight=1)})
    await api.create()  # now it is known how long an answer takes
    replies = await at_once(api, 8)
    assert all(reply.hybrid.latency <= 2 + 4 + 4 for reply in replies)
    assert sum(reply.hybrid.mode == "together-serverless" for reply in replies) >= 5
    away = next(reply for reply in replies if reply.hybrid.mode == "together-serverless")
    assert any("busy" in line for line in away.hybrid.why)


async def test_an_open_circuit_overflows_and_the_base_is_back_within_30_s(make: Making) -> None:
    healthy_at = 60.0

    def base(_: Any) -> Any:
        return said() if places.transport.runtime.now() >= healthy_at else refused(500)

    places = Places(modal=[base], serverless=[said()])
    api = make(transport=places.transport, **HYBRID)
    back: float | None = None
    for _ in range(200):
        reply = await api.create()
        if reply.hybrid.mode == "modal" and back is None:
            back = api.runtime.now()
        await api.runtime.sleep(0.5)
    assert back is not None
    assert healthy_at <= back <= healthy_at + 30
    assert places.count(MODAL) - (200 - 120) < 60, "the base was left alone while it failed"


async def test_a_stream_overflows_too(make: Making) -> None:
    places = Places(modal=[COLD], serverless=[hello()])
    stream = await make(transport=places.transport, **HYBRID).stream()
    assert await stream.text() == "Hello"
    assert stream.hybrid.target == SERVERLESS


async def test_never_leave_waits_for_the_base(make: Making) -> None:
    places = Places(modal=[COLD, said({"data": [{"id": "llm"}]}), said()], serverless=[said()])
    reply = await make(transport=places.transport, **HYBRID).create(never_leave=True)
    assert reply.hybrid.target == MODAL
    assert places.count(SERVERLESS) == 0


async def test_never_leave_fails_rather_than_leave(make: Making) -> None:
    places = Places(modal=[COLD], serverless=[said()])
    with pytest.raises(ColdError):
        await make(transport=places.transport, cold_start_timeout=5, **HYBRID).create(never_leave=True)
    assert places.count(SERVERLESS) == 0


async def test_a_fallback_follows_the_overflow(make: Making) -> None:
    places = Places(modal=[COLD], serverless=[refused(500)], dedicated=[said()])
    api = make(transport=places.transport, fallback=["together-dedicated"], **HYBRID)
    reply = await api.create()
    assert reply.hybrid.target == DEDICATED


async def test_a_call_may_ask_for_hybrid_only_where_it_is_configured(make: Making) -> None:
    places = Places(serverless=[said()])
    with pytest.raises(InvalidCallError, match="HYBRID_INFER_HYBRID__BASE"):
        await make(transport=places.transport, **SETTINGS).create(mode="hybrid")


class TestOverflow:
    @given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 20)), max_size=100))
    def test_it_begins_above_the_mark_and_ends_after_a_calm_time(
        self, seen: list[tuple[float, float]]
    ) -> None:
        rule = Overflow(max_wait=4, return_below=0.5, dwell=5)
        now = 0.0
        for wait, gap in seen:
            now += gap
            was = rule.overflowing
            away = rule.away(wait, now)
            if wait > 4:
                assert away
            if not was and wait <= 4:
                assert not away
            if was and wait > 2:
                assert away
            if wait <= 2:
                assert not away

    def test_calls_do_not_swing_between_the_marks(self) -> None:
        rule = Overflow(max_wait=4, return_below=0.5, dwell=5)
        assert [rule.away(wait, 0) for wait in (5, 3.9, 2.1, 1.9, 3.9)] == [True, True, True, False, True]

    def test_the_upper_mark_counts_again_once_it_was_calm(self) -> None:
        rule = Overflow(max_wait=4, return_below=0.5, dwell=5)
        rule.away(5, 0)
        rule.away(1, 1)
        rule.away(1, 7)
        assert not rule.away(3.9, 8)


class TestCap:
    def test_it_counts_the_last_hour(self) -> None:
        cap = Cap(1.0)
        for _ in range(4):
            cap.begin()
            cap.end(Decimal("0.3"), 0)
        assert "1.2" in (cap.refusal(10) or "")
        assert cap.refusal(3601) is None

    def test_calls_underway_count_with_the_mean(self) -> None:
        cap = Cap(1.0)
        cap.begin()
        cap.end(Decimal("0.3"), 0)
        cap.begin()
        assert cap.refusal(1) is None
        cap.begin()
        assert cap.refusal(1) is not None

    def test_an_unknown_cost_ends_overflow(self) -> None:
        cap = Cap(1.0)
        cap.begin()
        cap.end(None, 0, "no price known")
        assert "no price known" in (cap.refusal(1) or "")
