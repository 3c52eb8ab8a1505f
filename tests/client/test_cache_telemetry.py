"""What is traced and measured of answers that are given again, or shared."""

from __future__ import annotations

from typing import Any

import pytest

from both import Making
from crowd import together
from fakes import ScriptedTransport, refused, said
from keeping import FIXED, KEY, in_virtual_time
from sharing import SLOW, asking
from telemetry.recorded import Measured, Recorded


def usage_in(attributes: Any) -> set[str]:
    return {name for name in attributes if name.startswith("gen_ai.usage.") and name != "gen_ai.usage.cost"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hit_is_a_span_without_usage_or_attempts_that_says_so(make: Making, stream: bool) -> None:
    recorded = Recorded()
    api = make(transport=ScriptedTransport([said()]), tracer_provider=recorded.provider, **KEY)
    await api.create(**FIXED)
    paid = dict(recorded.call.attributes or {})
    assert paid["hybrid_infer.cache"] == "miss"
    assert "gen_ai.usage.input_tokens" in paid
    recorded.clear()
    if stream:
        await (await api.stream(**FIXED)).text()
    else:
        await api.create(**FIXED)
    found = recorded.said
    assert not usage_in(found)
    assert found["hybrid_infer.cache"] == "hit"
    assert found["hybrid_infer.cache_hit"] is True
    assert "gen_ai.usage.cost" not in found
    assert (found["hybrid_infer.cost.amount"], found["hybrid_infer.cost.basis"]) == (0, "cache")
    assert found["hybrid_infer.cost.equivalent.tokens.amount"] == paid["hybrid_infer.cost.amount"]
    assert found["hybrid_infer.target"] == paid["hybrid_infer.target"]
    assert not recorded.attempts


async def test_of_calls_that_share_one_span_has_the_usage(make: Making) -> None:
    recorded = Recorded()
    api = make(transport=ScriptedTransport([SLOW]), tracer_provider=recorded.provider, **KEY)
    await together(api, *[asking(api)] * 5)
    spans = [dict(span.attributes or {}) for span in recorded.calls]
    assert sorted(str(span["hybrid_infer.cache"]) for span in spans) == ["miss", *["shared"] * 4]
    assert sum(bool(usage_in(span)) for span in spans) == 1
    assert len(recorded.attempts) == 1


async def test_an_answer_past_its_time_has_the_cost_of_the_attempts_and_no_usage(make: Making) -> None:
    recorded = Recorded()
    transport = ScriptedTransport([said(), refused(500)])
    given = {"cache_ttl": 60, "cache_stale_if_error": 60, "max_retries": 0, **KEY}
    api = in_virtual_time(make(transport=transport, tracer_provider=recorded.provider, **given))
    await api.create(**FIXED)
    await api.runtime.sleep(90)
    recorded.clear()
    await api.create(**FIXED)
    found = recorded.said
    assert found["hybrid_infer.cache"] == "stale"
    assert not usage_in(found)
    assert len(recorded.attempts) == 1


async def test_hits_are_counted_and_use_no_tokens(make: Making) -> None:
    measured = Measured()
    api = make(transport=ScriptedTransport([SLOW]), meter_provider=measured.provider, **KEY)
    await together(api, *[asking(api)] * 3)
    await api.create(**FIXED)
    points = measured.points("hybrid_infer.client.cache_hits")
    counts = {point.attributes["hybrid_infer.cache"]: point.value for point in points}
    assert counts == {"shared": 2, "hit": 1}
    assert measured.total("gen_ai.client.token.usage") == 15
