"""PriceBook: the user's own prices, then live ones, then the shipped tables; and what a container costs."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from hybrid_infer.calls.call import Target
from hybrid_infer.calls.money import Cost
from hybrid_infer.prices.book import CONTAINER_TIME, GPU_ONLY, Containers, PriceBook
from hybrid_infer.prices.chosen import cache_file, price_book
from hybrid_infer.prices.live import LiveList, modal_rates
from hybrid_infer.prices.tables import GpuPrice, ResourcePrice, Tables, TokenPrice, gpu_names
from hybrid_infer.prices.user import UserPrice, user_prices
from hybrid_infer.settings import Settings
from prices.places import COMPATIBLE, DAY, DEDICATED, MODAL, SERVERLESS, call, of, tokens

SECOND = 1_000_000_000


def cost(book: PriceBook, target: Target, machine_ns: int | None = None) -> Cost:
    """1,000 tokens in, 500 out, or so much time."""
    return book.cost([call(target, tokens(1_000, 500), machine_ns=machine_ns)], at=DAY)


def own(**prices: Any) -> PriceBook:
    return PriceBook(user={"m": UserPrice(**prices)})


def test_the_users_price_comes_first_and_needs_no_date() -> None:
    book = PriceBook(user={"Qwen/Qwen3.5-9B": UserPrice(input=10**9, output=2 * 10**9)})
    found = cost(book, SERVERLESS)
    assert (found.amount, found.source) == (Decimal("0.002"), "your own prices")
    assert (found.priced_at, found.estimated) == (None, False)


def test_a_live_price_comes_before_the_shipped_one() -> None:
    row = TokenPrice(
        model="Qwen/Qwen3.5-9B", input=10**9, output=10**9, cached=None, as_of=DAY, source="live"
    )
    book = PriceBook(live=lambda: Tables(tokens={("together-serverless", "Qwen/Qwen3.5-9B"): row}))
    found = cost(book, SERVERLESS)
    assert (found.amount, found.source, found.priced_at) == (Decimal("0.0015"), "live", DAY)
    other = of(SERVERLESS, model="openai/gpt-oss-120b")
    assert "LiteLLM" in str(cost(book, other).source)


def test_live_prices_are_loaded_once_and_only_when_a_price_is_asked_for() -> None:
    loaded: list[int] = []

    def load() -> Tables:
        loaded.append(1)
        return Tables()

    book = PriceBook(live=load)
    assert loaded == []
    for model in ("a", "b", "c"):
        cost(book, of(SERVERLESS, model=model))
    assert loaded == [1]


@pytest.mark.parametrize(
    ("target", "prices", "amount", "basis"),
    [
        (of(DEDICATED, model="m"), {"input": 2 * 10**8, "output": 2 * 10**8}, "0.0003", "tokens"),
        (of(DEDICATED, model="m"), {"hour": 3_600 * 10**6}, "0.002", "machine-time"),
        (of(DEDICATED, model="m"), {"input": 10**9, "hour": 3_600 * 10**6}, "0.002", "machine-time"),
        (of(SERVERLESS, model="m"), {"input": 10**9, "output": 0, "hour": 1}, "0.001", "tokens"),
        (of(SERVERLESS, model="m"), {"request": 2 * 10**6}, "0.002", "request"),
        (of(SERVERLESS, model="m"), {"input": 10**9, "output": 0, "request": 2 * 10**6}, "0.003", "tokens"),
        (COMPATIBLE, {"input": 10**9, "output": 0}, "0.001", "tokens"),
        (COMPATIBLE, {"hour": 3_600 * 10**6}, "0.002", "machine-time"),
        (COMPATIBLE, {"request": 5}, "0.000000005", "request"),
    ],
)
def test_under_the_providers_name_the_users_price_says_how_it_is_paid(
    target: Target, prices: dict[str, int], amount: str, basis: str
) -> None:
    found = cost(own(**prices), target, 2 * SECOND)
    assert (found.amount, found.basis) == (Decimal(amount), basis)


@pytest.mark.parametrize(
    ("target", "prices", "basis"),
    [
        (of(SERVERLESS, logical="m"), {"hour": 10**9}, "tokens"),
        (of(DEDICATED, logical="m"), {"input": 10**9, "output": 10**9}, "machine-time"),
    ],
)
def test_under_the_logical_name_it_counts_only_where_that_is_how_the_target_is_paid(
    target: Target, prices: dict[str, int], basis: str
) -> None:
    found = cost(own(**prices), target, SECOND)
    assert found.basis == basis
    assert found.source != "your own prices"


@pytest.mark.parametrize(
    ("target", "prices"),
    [
        (of(SERVERLESS, logical="m"), {"input": 10**9, "output": 10**9}),
        (of(DEDICATED, logical="m"), {"hour": 10**9}),
        (of(COMPATIBLE, model="other", logical="m"), {"request": 10**9}),
    ],
)
def test_under_the_logical_name_it_counts_where_it_fits(target: Target, prices: dict[str, int]) -> None:
    assert cost(own(**prices), target, SECOND).source == "your own prices"


def test_a_private_endpoint_is_not_priced_by_the_model_in_its_name() -> None:
    for model in ("acme/Qwen/Qwen3.5-9B", "Qwen/Qwen3.5-9B-FP8-bb04c904", "acme/qwen3.5-9b"):
        assert cost(PriceBook(), of(SERVERLESS, model=model)).amount is None


def test_a_container_pays_for_gpu_cpu_and_memory() -> None:
    """0.001097 + 4 x 0.0000131 + 32 x 0.00000222 a second."""
    target = of(MODAL, cpu=4.0, memory=32.0)
    found = cost(PriceBook(), target, SECOND)
    assert found.amount == Decimal("0.001097") + Decimal("0.0000524") + Decimal("0.00007104")
    assert GPU_ONLY not in str(found.reason)
    assert found.priced_at == date(2026, 9, 1), "as old as the oldest price in it"
    assert GPU_ONLY in str(cost(PriceBook(), MODAL, SECOND).reason)


def test_region_and_preemption_are_settings() -> None:
    """1.75 x (0.001097 + 3 x (4 x 0.0000131 + 32 x 0.00000222))."""
    book = PriceBook(containers=Containers(region_multiplier=1.75, nonpreemptible=True))
    found = cost(book, of(MODAL, cpu=4.0, memory=32.0), SECOND)
    assert found.amount == Decimal("0.00256781")
    assert cost(book, of(MODAL), SECOND).amount == Decimal("0.00191975")


def test_a_machine_has_terms_and_what_is_paid_by_tokens_has_none() -> None:
    book = PriceBook(containers=Containers(scaledown_window=300.0, concurrency=8))
    assert book.terms(SERVERLESS) is None
    dedicated, modal = book.terms(DEDICATED), book.terms(MODAL)
    assert dedicated is not None
    assert (dedicated.nano_per_hour, dedicated.cold_start, dedicated.window) == (10_980_000_000, False, None)
    assert modal is not None
    assert (modal.cold_start, modal.window, modal.concurrency) == (True, 300.0, 8)
    assert modal.estimated == CONTAINER_TIME


def test_a_machine_without_a_price_has_terms_all_the_same() -> None:
    terms = PriceBook().terms(of(DEDICATED, gpu=None))
    assert terms is not None
    assert terms.nano_per_hour is None


def test_who_pays_a_machine_by_tokens_needs_no_meter() -> None:
    assert own(input=1, output=1).terms(of(DEDICATED, model="m")) is None
    assert own(hour=1).terms(COMPATIBLE) is not None


def test_live_rates_of_modal_replace_the_shipped_ones() -> None:
    rates = {"gpu_hour_cost_h100": "7.2", "cpu_hour_cost": "0.36", "mem_gib_hour_cost": "0.036"}
    book = PriceBook(live=lambda: modal_rates(rates, datetime(2026, 11, 24, tzinfo=UTC)).rows)
    assert cost(book, of(MODAL, cpu=1.0, memory=10.0), SECOND).amount == Decimal("0.0022")


def test_a_live_card_is_found_under_every_name_the_table_knows() -> None:
    assert set(gpu_names("together-dedicated", "h100-80gb")) == {"h100", "h100-80gb"}
    assert gpu_names("together-dedicated", "gb300") == ("gb300",)


def test_settings_become_prices() -> None:
    """A float is the decimal number that its user wrote."""
    settings = Settings.load(
        {
            "prices": {
                "m": {"input": 0.2, "output": 0.3},
                "n": {"second": 0.0011},
                "o": {"request": 0.002},
                "p": {},
            }
        },
        environ={},
    )
    assert user_prices(settings.prices) == {
        "m": UserPrice(input=200_000_000, output=300_000_000),
        "n": UserPrice(hour=3_960_000_000),
        "o": UserPrice(request=2_000_000),
    }


def test_the_book_of_the_settings_has_all_they_say(tmp_path: object) -> None:
    settings = Settings.load(
        {
            "prices": {"m": {"hour": 3.6}},
            "prices_cache": f"{tmp_path}/prices.json",
            "modal_region_multiplier": 2,
            "modal_scaledown_window": 10,
        },
        environ={},
    )
    book = price_book(settings, environ={})
    assert cost(book, of(DEDICATED, model="m"), SECOND).amount == Decimal("0.001")
    assert cost(book, MODAL, SECOND).amount == Decimal("0.002194")
    terms = book.terms(MODAL)
    assert terms is not None
    assert terms.window == 10.0


def test_live_prices_are_kept_where_the_settings_say_or_in_the_cache_folder() -> None:
    plain = Settings.load(environ={})
    assert str(cache_file(plain, {"XDG_CACHE_HOME": "/c"})) == "/c/hybrid_infer/prices.json"
    assert str(cache_file(plain, {"XDG_CACHE_HOME": "relative"})).endswith(".cache/hybrid_infer/prices.json")
    assert str(cache_file(Settings.load({"prices_cache": "/p.json"}, environ={}), {})) == "/p.json"


def test_rows_of_other_sources_never_count() -> None:
    h100 = PriceBook().gpu_price("together-dedicated", "H100")
    assert isinstance(h100, GpuPrice)
    assert h100.nano_per_hour == 5_490_000_000
    assert {other.source for other in h100.others}
    assert all(not isinstance(other, ResourcePrice) for other in h100.others)


def test_a_list_says_when_it_was_fetched() -> None:
    one = modal_rates({"gpu_hour_cost_t4": 0.6}, datetime(2026, 11, 24, 9, tzinfo=UTC))
    assert isinstance(one, LiveList)
    assert {row.as_of for _, row in one.rows.rows()} == {date(2026, 11, 24)}
