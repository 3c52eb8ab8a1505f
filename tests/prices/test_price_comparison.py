"""Comparison: everything that sources say of a price, the one that counts first."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from hybrid_infer.prices.compare import Quote, Quoted, quoted
from hybrid_infer.prices.live import LiveList
from hybrid_infer.prices.tables import GpuPrice, Tables, TokenPrice
from hybrid_infer.prices.user import UserPrice

AT = date(2026, 11, 25)
QWEN = "Qwen/Qwen3.5-9B"


def live(name: str, price: int) -> LiveList:
    row = TokenPrice(model=QWEN, input=price, output=price, cached=None, as_of=AT, source=name)
    return LiveList(
        name="together-models" if name == "v1" else "together-supported-models",
        fetched=datetime(2026, 11, 25, tzinfo=UTC),
        rows=Tables(tokens={("together-serverless", QWEN): row}),
    )


def found(name: str, mode: str, *lists: LiveList, **user: UserPrice) -> Quoted:
    (one,) = [one for one in quoted(user, lists) if (one.name, one.mode) == (name, mode)]
    return one


def test_shipped_prices_are_compared_with_what_other_sources_say() -> None:
    """An H100 of Together: 5.49, and elsewhere 5.40, 6.49 and 3.99."""
    one = found("H100", "together-dedicated")
    assert one.used.origin == "shipped"
    differences = [one.difference(quote) for quote in one.quotes[1:]]
    assert differences == pytest.approx([-0.016, 0.182, -0.273], abs=0.001)
    assert one.disagreement == pytest.approx(0.273, abs=0.001)


def test_all_sources_stand_in_the_order_in_which_they_count() -> None:
    own = {QWEN: UserPrice(input=1)}
    one = found(QWEN, "together-serverless", live("v1", 2 * 10**8), live("v2", 10**8), **own)
    assert [quote.origin for quote in one.quotes] == [
        "yours",
        "together-supported-models",
        "together-models",
        "shipped",
    ]


def test_the_list_that_counts_stands_before_the_other() -> None:
    one = found(QWEN, "together-serverless", live("v1", 2 * 10**8), live("v2", 10**8))
    assert [quote.origin for quote in one.quotes] == [
        "together-supported-models",
        "together-models",
        "shipped",
    ]
    assert one.difference(one.quotes[1]) == 1.0


def test_the_largest_difference_of_a_source_is_told() -> None:
    """Qwen3.7-Max: genai-prices is two thirds above in all; models.dev 57 % below for cached input."""
    one = found("Qwen/Qwen3.7-Max", "together-serverless")
    assert [round(one.difference(quote) or 0, 2) for quote in one.quotes[1:]] == [0.67, -0.57]


def test_sources_that_count_different_things_have_no_difference() -> None:
    one = found(QWEN, "together-serverless")
    other = Quote(origin="x", source="x", as_of=None, amounts={"hour": 1})
    assert one.difference(other) is None
    assert Quoted(mode=None, name="x", quotes=[one.used, other]).disagreement == 0.0


def test_a_card_is_one_however_a_list_writes_it() -> None:
    row = GpuPrice(gpu="nvidia-h100-80gb", nano_per_hour=6 * 10**9, as_of=AT, source="live")
    rows = Tables(gpus={("together-dedicated", key): row for key in ("h100", "h100-80gb")})
    instances = LiveList(name="together-instances", fetched=datetime(2026, 11, 25, tzinfo=UTC), rows=rows)
    one = found("H100", "together-dedicated", instances)
    assert [quote.origin for quote in one.quotes[:2]] == ["together-instances", "shipped"]


def test_a_price_of_the_users_own_stands_by_itself_where_nobody_else_knows_one() -> None:
    (first, *_) = quoted({"acme/assistant": UserPrice(hour=10**9)}, [])
    assert (first.mode, first.name, first.used.origin) == (None, "acme/assistant", "yours")


def test_another_price_set_is_compared_and_never_counts() -> None:
    other = Quote(origin="genai", source="genai", as_of=None, amounts={"input": 10**9})
    rows = quoted({}, [], [("together-serverless", QWEN, other), ("together-serverless", "unknown", other)])
    (one,) = [one for one in rows if one.name == QWEN]
    assert [quote.origin for quote in one.quotes] == ["shipped", "genai"]
    assert all(one.name != "unknown" for one in rows)


def test_age_and_doubts_are_told() -> None:
    llama = found("meta-llama/Llama-3.3-70B-Instruct-Turbo", "together-serverless").used
    assert llama.age(AT) == 2
    assert llama.doubts(AT) == ["the offer was to retire on 2026-10-22"]
    assert Quote(origin="x", source="x", as_of=None, amounts={}).age(AT) is None
