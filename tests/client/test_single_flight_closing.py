"""Single flight: the last one out closes the answer, and nothing stays behind."""

from __future__ import annotations

import gc

import pytest

from both import Making
from crowd import together
from fakes import ScriptedTransport
from garbage import ROUNDS, counted
from hybrid_infer.errors import DeadlineExceededError
from sharing import FIXED, KEY, SLOW, asking, slow_stream, streaming


async def test_the_last_one_out_closes_the_answer(make: Making) -> None:
    transport = ScriptedTransport([slow_stream()])
    api = make(transport=transport, **KEY)
    streams = await together(api, *[lambda: api.stream(**FIXED)] * 3)
    for left in (2, 1, 0):
        assert transport.open == 1
        await streams[left].close()
    assert transport.open == 0
    assert (await api.stream(**FIXED)).hybrid.cache == "miss"


async def test_a_leader_that_leaves_loses_nothing_for_the_others(make: Making) -> None:
    transport = ScriptedTransport([slow_stream()])
    api = make(transport=transport, **KEY)
    leader, other = await together(api, *[lambda: api.stream(**FIXED)] * 2)
    await leader.close()
    assert await other.text() == "one two three"
    assert len(transport.sent) == 1
    assert (await api.create(**FIXED)).hybrid.cache == "hit"


async def test_streams_that_are_dropped_are_counted_too(make: Making) -> None:
    transport = ScriptedTransport([slow_stream()])
    api = make(transport=transport, **KEY)
    streams = await together(api, *[lambda: api.stream(**FIXED)] * 3)
    await streams[0].__anext__()
    await api.runtime.sleep(0)  # so that the tasks that made them are gone
    del streams[1:]
    gc.collect()
    assert transport.open == 1
    streams.clear()
    gc.collect()
    assert transport.open == 0


async def test_it_may_be_closed_while_the_next_event_is_drawn(make: Making) -> None:
    transport = ScriptedTransport([slow_stream(gap=10)])
    api = make(transport=transport, **KEY)

    async def impatient() -> None:
        stream = await api.stream(timeout=5, **FIXED)
        with pytest.raises(DeadlineExceededError):
            await stream.text()

    await together(api, impatient, impatient)
    await api.runtime.sleep(20)
    assert transport.open == 0


async def test_nothing_is_kept_of_what_has_ended(make: Making) -> None:
    transport = ScriptedTransport([slow_stream()])
    api = make(transport=transport, **KEY)
    found = await together(api, *[streaming(api)] * 3)
    flights = api.client._core._parts.flights
    assert not flights._flights
    assert all(not stream.held._reply._source._stream._events for stream, _ in found)


async def test_shared_calls_leave_no_reference_cycles(make: Making) -> None:
    transport = ScriptedTransport([SLOW, slow_stream(after=1.0)])
    api = make(transport=transport, max_retries=0, breaker=False, **KEY)

    async def crowd(first: int) -> None:
        await together(api, *[asking(api, seed=first)] * 3)
        await together(api, *[streaming(api, seed=first + 1)] * 3)

    await crowd(0)
    found: list[int] = []
    for round_ in range(ROUNDS):
        transport.script = [SLOW, slow_stream(after=1.0)]
        transport.sent.clear()
        with counted(found):
            await crowd(10 + 10 * round_)
    assert min(found) <= 5, "what calls make is freed when they end"
