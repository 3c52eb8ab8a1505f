"""Single flight: identical calls in flight share one request, whatever becomes of the one that asked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from both import Making
from crowd import together
from fakes import ScriptedTransport, completion, delta, refused, said, streamed
from hybrid_infer import CachePolicy
from hybrid_infer.errors import (
    BadRequestError,
    BudgetExceededError,
    DeadlineExceededError,
    InternalServerError,
    StreamError,
)
from hybrid_infer.transport.base import TransportError
from places import SETTINGS, Places
from sharing import FIXED, KEY, MODEL, SLOW, asking, slow_stream, streaming


def paid(hybrids: list[Any]) -> Decimal:
    return sum((hybrid.cost.amount for hybrid in hybrids), Decimal(0))


async def alone(make: Making, answer: Any, *, stream: bool = False) -> Any:
    """What one call with this answer comes to."""
    api = make(transport=ScriptedTransport([answer]), **KEY)
    found = await (streaming if stream else asking)(api)()
    return found[0].hybrid if stream else found.hybrid


class TestThousand:
    """1,000 concurrent identical calls, in threads and in tasks."""

    async def test_complete_answers(self, make: Making) -> None:
        transport = ScriptedTransport([SLOW])
        api = make(transport=transport, **KEY)
        replies = await together(api, *[asking(api)] * 1000)
        assert len(transport.sent) == 1
        assert all(reply == replies[0] for reply in replies)
        assert len({id(reply) for reply in replies}) == 1000
        hybrids = [reply.hybrid for reply in replies]
        assert sorted({hybrid.cache for hybrid in hybrids}) == ["miss", "shared"]
        assert sum(hybrid.cache == "miss" for hybrid in hybrids) == 1
        assert paid(hybrids) == (await alone(make, SLOW)).cost.amount != 0
        shared = next(hybrid for hybrid in hybrids if hybrid.cache == "shared")
        assert (shared.attempts, shared.target) == (0, f"together-serverless/{MODEL}")
        assert shared.cost.saved == paid(hybrids)

    async def test_streams(self, make: Making) -> None:
        transport = ScriptedTransport([slow_stream(after=1.0)])
        api = make(transport=transport, **KEY)
        found = await together(api, *[streaming(api)] * 1000)
        assert len(transport.sent) == 1
        assert {text for _, text in found} == {"one two three"}
        finals = [await stream.final() for stream, _ in found]
        assert all(final == finals[0] for final in finals)
        hybrids = [stream.hybrid for stream, _ in found]
        assert sum(hybrid.cache == "miss" for hybrid in hybrids) == 1
        assert sum(hybrid.cache == "shared" for hybrid in hybrids) == 999
        assert paid(hybrids) == (await alone(make, slow_stream(), stream=True)).cost.amount
        assert transport.open == 0

    @pytest.mark.parametrize("first", ["stream", "complete"])
    async def test_streams_and_complete_answers(self, make: Making, first: str) -> None:
        answer = slow_stream(after=1.0) if first == "stream" else said(completion("one two three"), after=1.0)
        transport = ScriptedTransport([answer])
        api = make(transport=transport, **KEY)
        bodies = [streaming(api), asking(api)] if first == "stream" else [asking(api), streaming(api)]
        found = await together(api, *bodies * 500)
        assert len(transport.sent) == 1
        replies = [await one[0].final() if isinstance(one, tuple) else one for one in found]
        assert all(reply == replies[0] for reply in replies)
        hybrids = [one[0].hybrid if isinstance(one, tuple) else one.hybrid for one in found]
        assert sum(hybrid.cache == "miss" for hybrid in hybrids) == 1
        assert transport.open == 0


async def test_what_is_shared_is_stored_once_and_found_by_the_next(make: Making) -> None:
    transport = ScriptedTransport([slow_stream()])
    api = make(transport=transport, **KEY)
    await together(api, *[streaming(api)] * 5)
    assert (await api.create(**FIXED)).hybrid.cache == "hit"
    assert len(transport.sent) == 1


@pytest.mark.parametrize("options", [{"temperature": 0.7}, {"cache": False}])
async def test_calls_that_do_not_use_the_cache_are_not_shared(make: Making, options: Any) -> None:
    transport = ScriptedTransport([SLOW])
    api = make(transport=transport, **KEY)
    await together(api, *[asking(api, **options)] * 3)
    assert len(transport.sent) == 3


async def test_calls_that_differ_are_not_shared(make: Making) -> None:
    transport = ScriptedTransport([SLOW])
    api = make(transport=transport, **KEY)
    options: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"max_retries": 0},
        {"priority": "batch"},
        {"purpose": "batch"},
        {"on_stream_break": "restart"},
        {"hedge": True},
        {"cache": CachePolicy(mode="read")},
    ]
    await together(api, *[asking(api, **option) for option in options])
    assert len(transport.sent) == len(options)


async def test_calls_that_may_be_answered_elsewhere_are_not_shared(make: Making) -> None:
    places = Places(serverless=[SLOW], modal=[SLOW])
    hybrid = {"base": "together-serverless", "overflow": "modal"}
    api = make(transport=places.transport, cache="memory", hybrid=hybrid, **SETTINGS)
    options: list[dict[str, Any]] = [
        {},
        {"fallback": ["modal"]},
        {"fallback": ["modal"], "never_leave": True},
        {"mode": "hybrid"},
        {"mode": "modal"},
    ]
    found = await together(api, *[asking(api, **option) for option in options])
    assert [one.hybrid.cache for one in found] == ["miss", "miss", "shared", "miss", "miss"]


class TestLate:
    async def test_a_late_call_gets_what_came_and_then_live_events(self, make: Making) -> None:
        transport = ScriptedTransport([slow_stream(gap=10)])
        api = make(transport=transport, **KEY)
        times: list[tuple[str, float]] = []

        async def late() -> str:
            await api.runtime.sleep(5)
            stream = await api.stream(**FIXED)
            text = ""
            async for chunk in stream:
                word = chunk.choices[0].delta.content or ""
                text += word
                times.append((word, api.runtime.now()))
            return text

        (_, first), text = await together(api, streaming(api), late)
        assert first == text == "one two three"
        assert [word for word, _ in times if word] == ["one ", "two ", "three"]
        assert [at for word, at in times if word] == pytest.approx([10, 10, 20], abs=0.5)
        assert len(transport.sent) == 1

    async def test_a_call_after_the_end_finds_it_in_the_cache(self, make: Making) -> None:
        transport = ScriptedTransport([slow_stream()])
        api = make(transport=transport, **KEY)
        _, (stream, text) = await together(api, streaming(api), streaming(api, after=10))
        assert (stream.hybrid.cache, text) == ("hit", "one two three")

    async def test_a_slow_reader_keeps_nobody_waiting(self, make: Making) -> None:
        transport = ScriptedTransport([slow_stream()])
        api = make(transport=transport, **KEY)

        async def slow() -> str:
            stream = await api.stream(**FIXED)
            words = ""
            async for chunk in stream:
                words += chunk.choices[0].delta.content or ""
                await api.runtime.sleep(100)
            return words

        async def fast() -> float:
            await streaming(api)()
            return api.runtime.now()

        words, done = await together(api, slow, fast)
        assert words == "one two three"
        assert done < 10

    async def test_a_stream_too_long_to_be_kept_takes_no_more_calls(
        self, make: Making, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hybrid_infer.layers.single_flight.stream.MOST_KEPT", 10)
        transport = ScriptedTransport([slow_stream(gap=10)])
        api = make(transport=transport, **KEY)
        found = await together(api, streaming(api), streaming(api), streaming(api, after=5))
        assert {text for _, text in found} == {"one two three"}
        assert len(transport.sent) == 2

    async def test_an_answer_stored_between_look_and_call_is_not_asked_for_again(self, make: Making) -> None:
        """The second call looks before the first has stored, and comes to ask after it has ended."""
        transport = ScriptedTransport([SLOW])
        api = make(transport=transport, **KEY)
        cache = api.client._core._parts.cache
        store, get = cache.store, cache.store.get
        looks = iter([0.0, 3.0])

        async def slow_get(key: bytes) -> Any:
            found = await get(key)
            await api.runtime.sleep(next(looks, 0.0))
            return found

        store.get = slow_get
        first, second = await together(api, asking(api), asking(api))
        assert len(transport.sent) == 1
        assert {first.hybrid.cache, second.hybrid.cache} == {"miss", "hit"}


class TestDeadlines:
    async def test_each_keeps_to_its_own(self, make: Making) -> None:
        transport = ScriptedTransport([said(after=10)])
        api = make(transport=transport, **KEY)
        patient, hasty = await together(api, asking(api, timeout=60), asking(api, timeout=5))
        assert isinstance(hasty, DeadlineExceededError)
        assert hasty.hybrid.latency == pytest.approx(5)
        assert hasty.billed is False
        assert (hasty.hybrid.attempts, hasty.hybrid.cost.amount) == (0, 0)
        assert patient.hybrid.latency == pytest.approx(10)

    async def test_a_leader_out_of_time_hands_over(self, make: Making) -> None:
        transport = ScriptedTransport([said(after=10)])
        api = make(transport=transport, **KEY)
        hasty, *others = await together(api, asking(api, timeout=5), *[asking(api, timeout=60)] * 3)
        assert isinstance(hasty, DeadlineExceededError)
        assert sorted(reply.hybrid.cache for reply in others) == ["miss", "shared", "shared"]
        assert len(transport.sent) == 2

    @pytest.mark.parametrize("joins", [0.0, 1.5])
    async def test_a_stream_outlives_the_deadline_of_its_leader(self, make: Making, joins: float) -> None:
        """Joined at its start, or while the leader alone waits for the next event."""
        transport = ScriptedTransport([slow_stream(gap=4)])
        api = make(transport=transport, **KEY)
        hasty, (_, text) = await together(
            api, streaming(api, timeout=6), streaming(api, after=joins, timeout=60)
        )
        assert isinstance(hasty, DeadlineExceededError)
        assert hasty.partial.choices[0].message.content == "one two "
        assert text == "one two three"
        assert len(transport.sent) == 1
        assert transport.open == 0

    async def test_one_that_joins_in_the_leaders_last_wait_asks_itself(self, make: Making) -> None:
        transport = ScriptedTransport([slow_stream(gap=20), slow_stream()])
        api = make(transport=transport, **KEY)
        hasty, (stream, text) = await together(
            api, streaming(api, timeout=6), streaming(api, after=5, timeout=60)
        )
        assert isinstance(hasty, DeadlineExceededError)
        assert (text, stream.hybrid.cache) == ("one two three", "miss")
        assert len(transport.sent) == 2

    async def test_a_follower_of_a_stream_keeps_to_its_own(self, make: Making) -> None:
        api = make(transport=ScriptedTransport([slow_stream(gap=10)]), **KEY)
        (_, text), hasty = await together(api, streaming(api), streaming(api, timeout=15))
        assert text == "one two three"
        assert isinstance(hasty, DeadlineExceededError)
        assert hasty.hybrid.latency == pytest.approx(15, abs=0.5)
        assert hasty.partial.choices[0].message.content == "one two "


class TestFailures:
    async def test_followers_fail_as_their_leader_with_errors_of_their_own(self, make: Making) -> None:
        transport = ScriptedTransport([refused(500, after=1.0)])
        api = make(transport=transport, max_retries=0, **KEY)
        errors = await together(api, *[asking(api)] * 20)
        assert len(transport.sent) == 1
        assert all(isinstance(error, InternalServerError) for error in errors)
        assert len({id(error) for error in errors}) == 20
        assert sorted(error.hybrid.cache for error in errors) == ["miss", *["shared"] * 19]
        assert all(error.status == 500 and error.where for error in errors)
        assert [error.hybrid.attempts for error in errors if error.hybrid.cache == "shared"] == [0] * 19

    async def test_the_leader_retries_for_all(self, make: Making) -> None:
        transport = ScriptedTransport([refused(500, after=1.0), SLOW])
        api = make(transport=transport, **KEY)
        replies = await together(api, *[asking(api)] * 5)
        assert {reply.choices[0].message.content for reply in replies} == {"It scatters."}
        assert len(transport.sent) == 2

    async def test_a_failure_is_not_remembered(self, make: Making) -> None:
        transport = ScriptedTransport([refused(400, after=1.0), said()])
        api = make(transport=transport, **KEY)
        errors = await together(api, *[asking(api)] * 3)
        assert all(isinstance(error, BadRequestError) for error in errors)
        assert (await api.create(**FIXED)).hybrid.cache == "miss"

    async def test_a_stream_that_breaks_breaks_for_all_who_share_it(self, make: Making) -> None:
        broken = streamed(delta("one "), 1.0, delta("two "), TransportError("reset", sent=True))
        transport = ScriptedTransport([broken])
        api = make(transport=transport, **KEY)
        errors = await together(api, *[streaming(api)] * 4)
        assert len(transport.sent) == 1
        assert all(isinstance(error, StreamError) for error in errors)
        assert {error.partial.choices[0].message.content for error in errors} == {"one two "}
        assert len({id(error) for error in errors}) == 4
        assert transport.open == 0

    async def test_a_stream_asked_for_again_tells_all_to_begin_again(self, make: Making) -> None:
        broken = streamed(delta("bad"), 1.0, TransportError("reset", sent=True))
        transport = ScriptedTransport([broken, slow_stream()])
        api = make(transport=transport, on_stream_break="restart", **KEY)

        async def body() -> tuple[str, int]:
            text, resets = "", 0
            async for chunk in await api.stream(**FIXED):
                if chunk.reset:
                    text, resets = "", resets + 1
                elif chunk.choices:
                    text += chunk.choices[0].delta.content or ""
            return text, resets

        assert await together(api, *[body] * 3) == [("one two three", 1)] * 3
        assert len(transport.sent) == 2

    async def test_a_refused_leader_hands_over_until_one_is_let_through(self, make: Making) -> None:
        """The budget counts for the purpose of two of the calls only."""
        budget = {"tokens": 1, "per": "day", "purpose": "poor"}
        transport = ScriptedTransport([SLOW])
        api = make(transport=transport, budgets={"b": budget}, **KEY)
        purposes = ["poor", "poor", "rich", "rich"]
        found = await together(api, *[asking(api, purpose=purpose) for purpose in purposes])
        assert [isinstance(one, BudgetExceededError) for one in found] == [True, True, False, False]
        assert len(transport.sent) == 1
