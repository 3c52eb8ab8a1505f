"""A second request is sent for a call that takes unusually long, and the first answer counts."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from both import Making
from fakes import DONE, ScriptedTransport, completion, delta, hello, refused, said, streamed
from hybrid_infer.errors import InternalServerError
from hybrid_infer.layers.hedge import HedgeDelay
from places import MODAL, SERVERLESS, SETTINGS, Places

KEY: dict[str, Any] = {"api_key": "k", "model": "m"}
USUAL = said(after=1.0)
WARM_UP = 30


def learnt(*then: Any) -> list[Any]:
    """A script in which 30 calls take a second each, so that more than that is known to be slow."""
    return [USUAL] * WARM_UP + list(then)


async def warm_up(api: Any) -> None:
    for _ in range(WARM_UP):
        await api.create()


async def test_it_is_off_unless_asked_for(make: Making) -> None:
    transport = ScriptedTransport(learnt(said(after=30.0), said()))
    api = make(transport=transport, **KEY)
    await warm_up(api)
    reply = await api.create()
    assert reply.hybrid.attempts == 1
    assert reply.hybrid.latency == pytest.approx(30)


async def test_a_slow_call_is_answered_by_the_second_request(make: Making) -> None:
    transport = ScriptedTransport(learnt(said(after=30.0), said(completion("second"), after=1.0)))
    api = make(transport=transport, hedge=True, attempt_timeout=60, **KEY)
    await warm_up(api)
    reply = await api.create()
    assert reply.choices[0].message.content == "second"
    assert reply.hybrid.latency == pytest.approx(2, abs=0.1)
    lost, won = reply.hybrid.history
    assert (lost.lost, won.lost) == (True, False)
    assert "may have been billed" in (reply.hybrid.cost.reason or ""), "what the loser cost is not known"
    assert any("second request" in line for line in reply.hybrid.why)


async def test_the_first_request_may_still_win(make: Making) -> None:
    transport = ScriptedTransport(learnt(said(completion("first"), after=1.5), said(after=30.0)))
    api = make(transport=transport, hedge=True, **KEY)
    await warm_up(api)
    reply = await api.create()
    assert reply.choices[0].message.content == "first"
    assert [tried.lost for tried in reply.hybrid.history] == [False, True]


async def test_a_second_request_that_fails_is_not_seen(make: Making) -> None:
    transport = ScriptedTransport(learnt(said(completion("first"), after=3.0), refused(500)))
    api = make(transport=transport, hedge=True, **KEY)
    await warm_up(api)
    reply = await api.create()
    assert reply.choices[0].message.content == "first"
    assert len(transport.sent) == WARM_UP + 2


async def test_a_failure_within_the_delay_is_a_failure_like_any_other(make: Making) -> None:
    transport = ScriptedTransport(learnt(refused(500)))
    api = make(transport=transport, hedge=True, **KEY)
    await warm_up(api)
    with pytest.raises(InternalServerError):
        await api.create(max_retries=0)
    assert len(transport.sent) == WARM_UP + 1


async def test_a_stream_is_hedged_until_its_first_content(make: Making) -> None:
    usual = streamed(1.0, delta("x"), delta(finish="stop"), DONE)
    transport = ScriptedTransport([usual] * WARM_UP + [streamed(30.0, delta("late")), hello()])
    api = make(transport=transport, hedge=True, first_token_timeout=60, **KEY)
    for _ in range(WARM_UP):
        await (await api.stream()).text()
    stream = await api.stream()
    assert await stream.text() == "Hello"
    assert stream.hybrid.time_to_first_token == pytest.approx(1, abs=0.1)


async def test_the_second_request_goes_elsewhere_where_it_may(make: Making) -> None:
    places = Places(modal=learnt(said(after=30.0)), serverless=[said()])
    settings = {**SETTINGS, "mode": "modal", "fallback": ["together-serverless"], "attempt_timeout": 60}
    api = make(transport=places.transport, hedge=True, **settings)
    await warm_up(api)
    reply = await api.create()
    assert reply.hybrid.target == SERVERLESS
    assert [tried.target for tried in reply.hybrid.history] == [MODAL, SERVERLESS]


async def test_hedges_are_paid_from_the_retry_budget(make: Making) -> None:
    transport = ScriptedTransport(learnt(said(after=30.0)))
    api = make(transport=transport, hedge=True, retry_budget=0, **KEY)
    await warm_up(api)
    assert (await api.create()).hybrid.attempts == 1


async def test_the_tail_halves_for_little_more_load(make: Making) -> None:
    """5 % of the calls take ten times as long: the 99th percentile at least halves, for at most 6 % more."""
    draw = random.Random(7)
    calls = 2000

    def service(_: Any) -> Any:
        usual = 1.0 + draw.uniform(0, 0.2)
        return said(after=usual * (10 if draw.random() < 0.05 else 1))

    async def p99(hedge: bool) -> tuple[float, int]:
        transport = ScriptedTransport([service])
        api = make(transport=transport, hedge=hedge, **KEY)
        seconds = sorted([(await api.create()).hybrid.latency or 0.0 for _ in range(calls)])
        return seconds[int(0.99 * calls)], len(transport.sent)

    plain, _ = await p99(False)
    hedged, sent = await p99(True)
    assert hedged <= plain / 2
    assert sent <= 1.06 * calls


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=700))
def test_the_delay_is_a_high_percentile_of_what_was_seen(seconds: list[float]) -> None:
    delays = HedgeDelay(least=1, remembered=500)
    for each in seconds:
        delays.add(each)
    after = delays.call()
    recent = sorted(seconds[-500:])
    assert after is not None
    assert recent[0] <= after <= recent[-1] * 1.05
    assert sum(each <= after for each in recent) >= min(len(recent) * 0.7, len(recent) * 0.95 - 12)
