"""The cache: an answer is given again where the provider would give it again, and nowhere else."""

from __future__ import annotations

import logging
import math
from decimal import Decimal
from typing import Any

import pytest

from both import Making
from fakes import ScriptedTransport, completion, refused, said
from hybrid_infer import CachePolicy
from hybrid_infer.calls.cached import CacheMode, Entry
from hybrid_infer.errors import APIConnectionError, BadRequestError, InvalidCallError
from hybrid_infer.transport.base import TransportError
from keeping import FIXED, KEY, in_virtual_time, store_of


async def test_it_is_off_unless_asked_for(make: Making) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, api_key="k", model="m")
    replies = [await api.create(cache=True, **FIXED) for _ in range(2)]
    assert [reply.hybrid.cache for reply in replies] == ["off", "off"]
    assert len(transport.sent) == 2


async def test_the_same_request_is_answered_once(make: Making) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, **KEY)
    first, second = await api.create(**FIXED), await api.create(**FIXED)
    assert len(transport.sent) == 1
    assert second == first and second is not first
    assert (first.hybrid.cache, second.hybrid.cache) == ("miss", "hit")


async def test_a_hit_tells_where_it_is_from_what_it_saved_and_that_nothing_was_asked(make: Making) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    paid = (await api.create(**FIXED)).hybrid
    hybrid = (await api.create(**FIXED)).hybrid
    assert (hybrid.mode, hybrid.target) == (paid.mode, paid.target)
    assert (hybrid.attempts, hybrid.history, hybrid.raw) == (0, (), None)
    assert (hybrid.cost.amount, hybrid.cost.basis) == (Decimal(0), "cache")
    assert hybrid.cost.saved == paid.cost.amount != 0
    assert paid.cost.saved is None
    assert hybrid.usage == paid.usage
    assert hybrid.model == paid.model
    assert "from the cache (memory)" in hybrid.why[-1]


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7}, {"temperature": None}, {"temperature": False}])
async def test_answers_that_differ_from_time_to_time_are_kept_only_where_asked(
    make: Making, options: dict[str, Any]
) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, **KEY)
    assert [(await api.create(**options)).hybrid.cache for _ in range(2)] == ["off", "off"]
    found = [(await api.create(cache=True, **options)).hybrid.cache for _ in range(2)]
    assert found == ["miss", "hit"]
    assert len(transport.sent) == 3


@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": 0.0}, {"seed": 7, "temperature": 1}])
async def test_a_seed_or_temperature_0_is_a_request_that_repeats(make: Making, options: Any) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    assert [(await api.create(**options)).hybrid.cache for _ in range(2)] == ["miss", "hit"]


async def test_what_stands_in_extra_body_decides_likewise(make: Making) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    found = [(await api.create(extra_body={"temperature": 0})).hybrid.cache for _ in range(2)]
    assert found == ["miss", "hit"]
    assert (await api.create(temperature=0, extra_body={"temperature": 1})).hybrid.cache == "off"


@pytest.mark.parametrize("options", [{"web_search_options": {"a": 1}}, {"tools": [{"type": "web_search"}]}])
async def test_what_the_provider_looks_up_meanwhile_is_not_kept(make: Making, options: Any) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    assert (await api.create(**options, **FIXED)).hybrid.cache == "off"


async def test_a_call_may_leave_the_cache_out(make: Making) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, **KEY)
    await api.create(**FIXED)
    assert (await api.create(cache=False, **FIXED)).hybrid.cache == "off"
    assert len(transport.sent) == 2


async def test_options_of_a_client_hold_for_its_calls(make: Making) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    api.client = api.client.with_options(cache=True)
    assert [(await api.create()).hybrid.cache for _ in range(2)] == ["miss", "hit"]
    assert (await api.create(cache=False)).hybrid.cache == "off"


CUT: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": "It"}}


@pytest.mark.parametrize("reason", ["length", "content_filter", None, "something new"])
async def test_an_answer_that_was_cut_short_is_not_kept(make: Making, reason: str | None) -> None:
    transport = ScriptedTransport([said(completion(choices=[{**CUT, "finish_reason": reason}]))])
    api = make(transport=transport, **KEY)
    assert [(await api.create(**FIXED)).hybrid.cache for _ in range(2)] == ["miss", "miss"]
    assert len(store_of(api)) == 0


async def test_an_answer_with_one_choice_cut_short_is_not_kept(make: Making) -> None:
    whole = {**CUT, "finish_reason": "stop"}
    body = completion(choices=[whole, {**CUT, "index": 1, "finish_reason": "length"}])
    api = make(transport=ScriptedTransport([said(body)]), **KEY)
    await api.create(n=2, **FIXED)
    assert len(store_of(api)) == 0


async def test_an_error_is_never_kept(make: Making) -> None:
    transport = ScriptedTransport([refused(400), said()])
    api = make(transport=transport, **KEY)
    with pytest.raises(BadRequestError) as caught:
        await api.create(**FIXED)
    assert caught.value.hybrid.cache == "miss"
    assert (await api.create(**FIXED)).hybrid.cache == "miss"


async def test_everything_in_an_answer_comes_back(make: Making) -> None:
    message = {
        "role": "assistant",
        "content": 'line\nline \u2028 "q" \\ \U0001f600 e\u0301',
        "reasoning": "hm",
        "tool_calls": [
            {"id": "c1", "type": "function", "index": 0, "function": {"name": "f", "arguments": '{"a":1}'}}
        ],
        "new_field": {"deep": [1, 2.5, None, True]},
    }
    choice = {
        "index": 0,
        "finish_reason": "tool_calls",
        "message": message,
        "seed": 2**64 - 1,
        "logprobs": {"tokens": ["a"], "token_logprobs": [-math.inf, 0.1]},
    }
    body = completion(choices=[choice], prompt=[], system_fingerprint="fp", z={"a": None})
    api = make(transport=ScriptedTransport([said(body)]), **KEY)
    first, second = await api.create(**FIXED), await api.create(**FIXED)
    assert second.hybrid.cache == "hit"
    assert second == first
    assert second.model_dump() == first.model_dump()
    assert second.model_extra == first.model_extra
    assert second.choices[0].logprobs["token_logprobs"][0] == -math.inf
    assert second.choices[0].seed == 2**64 - 1


async def test_to_change_an_answer_does_not_change_the_next(make: Making) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    for _ in range(3):
        reply = await api.create(**FIXED)
        assert reply.choices[0].message.content == "It scatters."
        reply.choices[0].message.content = "changed"


async def test_no_credential_is_kept_not_even_one_that_the_server_repeats(make: Making) -> None:
    echo = completion("your key is secret-key")
    api = make(transport=ScriptedTransport([said(echo), said()]), **KEY)
    await api.create(**FIXED)
    assert len(store_of(api)) == 0
    await api.create(seed=1, messages=[{"role": "user", "content": "private"}])
    kept = [(key, entry) for key, entry in store_of(api)._entries.items()]
    assert len(kept) == 1
    for key, entry in kept:
        assert b"secret-key" not in key + entry.value
        assert b"private" not in key + entry.value


class TestTime:
    async def test_an_answer_is_given_for_its_time_and_not_longer(self, make: Making) -> None:
        api = in_virtual_time(make(transport=ScriptedTransport([said()]), cache_ttl=60, **KEY))
        await api.create(**FIXED)
        await api.runtime.sleep(59)
        assert (await api.create(**FIXED)).hybrid.cache == "hit"
        await api.runtime.sleep(2)
        assert (await api.create(**FIXED)).hybrid.cache == "miss"

    async def test_a_call_may_give_its_answer_another_time(self, make: Making) -> None:
        api = in_virtual_time(make(transport=ScriptedTransport([said()]), **KEY))
        await api.create(cache=CachePolicy(ttl=5), **FIXED)
        await api.runtime.sleep(6)
        assert (await api.create(**FIXED)).hybrid.cache == "miss"

    async def test_a_call_may_ask_for_a_younger_answer(self, make: Making) -> None:
        api = in_virtual_time(make(transport=ScriptedTransport([said()]), **KEY))
        await api.create(**FIXED)
        await api.runtime.sleep(10)
        assert (await api.create(cache=CachePolicy(max_age=11), **FIXED)).hybrid.cache == "hit"
        assert (await api.create(cache=CachePolicy(max_age=9), **FIXED)).hybrid.cache == "miss"
        assert (await api.create(cache=CachePolicy(max_age=9), **FIXED)).hybrid.cache == "hit"


@pytest.mark.parametrize(
    ("mode", "looks", "stores"),
    [("both", True, True), ("read", True, False), ("write", False, True), ("refresh", False, True)],
)
async def test_what_the_modes_do(make: Making, mode: CacheMode, looks: bool, stores: bool) -> None:
    transport = ScriptedTransport([said(completion("first")), said(completion("second"))])
    api = make(transport=transport, **KEY)
    await api.create(**FIXED)
    reply = await api.create(cache=CachePolicy(mode=mode), **FIXED)
    assert (reply.hybrid.cache == "hit") == looks
    other = {"seed": 1}
    await api.create(cache=CachePolicy(mode=mode), **other)
    assert ((await api.create(**other)).hybrid.cache == "hit") == stores
    if not looks:
        assert (await api.create(**FIXED)).choices[0].message.content == "second"


@pytest.mark.parametrize(
    "cache",
    [1, "both", CachePolicy(ttl=0), CachePolicy(max_age=-1), CachePolicy(mode="often")],  # type: ignore[arg-type]  # what is refused
)
async def test_what_is_no_policy_is_refused(make: Making, cache: Any) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    with pytest.raises(InvalidCallError, match="cache="):
        await api.create(cache=cache)


class Failing:
    """A store whose entries cannot be read."""

    name = "failing"

    def __init__(self) -> None:
        self.removed: list[bytes] = []

    async def get(self, key: bytes) -> Entry | None:
        return Entry(value=b"[1]\n{", stored=0, expires=None, target="t", operation="chat", saved_nano=None)

    async def put(self, key: bytes, entry: Entry) -> None:
        return None

    async def remove(self, key: bytes) -> None:
        self.removed.append(key)

    async def aclose(self) -> None:
        return None


async def test_an_entry_that_cannot_be_read_is_a_miss_and_is_dropped(
    make: Making, caplog: pytest.LogCaptureFixture
) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    store = Failing()
    api.client._core._parts.cache.store = store
    with caplog.at_level(logging.WARNING):
        assert (await api.create(**FIXED)).hybrid.cache == "miss"
    assert len(store.removed) == 1
    assert "cannot be read" in caplog.text


async def test_what_cannot_be_sent_is_refused_as_without_a_cache(make: Making) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    with pytest.raises(InvalidCallError, match="cannot be sent as JSON"):
        await api.create(my_option=object(), **FIXED)


async def test_a_closed_client_has_let_go_of_its_answers(make: Making) -> None:
    api = make(transport=ScriptedTransport([said()]), **KEY)
    await api.create(**FIXED)
    store = store_of(api)
    await api.close()
    assert (len(store), store.size) == (0, 0)


async def test_no_connection_is_needed_for_what_is_kept(make: Making) -> None:
    api = make(transport=ScriptedTransport([said(), TransportError("no route", sent=False)]), **KEY)
    await api.create(**FIXED)
    assert (await api.create(**FIXED)).hybrid.cache == "hit"
    with pytest.raises(APIConnectionError):
        await api.create(seed=3, max_retries=0)
