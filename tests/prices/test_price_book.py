"""PriceBook: the amounts are those of a calculation by hand, and what is unknown says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.call import Attempt
from hybrid_infer.calls.money import Cost, Usage
from hybrid_infer.prices.book import CONTAINER_TIME, MACHINE_SHARE, PriceBook
from prices.places import DAY, DEDICATED, EARLY, MODAL, SERVERLESS, SHARED, call, of, tokens

BOOK = PriceBook()


def cost(*attempts: Attempt, at: date = DAY) -> Cost:
    return BOOK.cost(attempts, at=at)


def test_tokens_cost_what_the_table_says() -> None:
    found = cost(call(SERVERLESS, tokens(1_000, 500)))
    assert found.amount == Decimal("0.000295")
    assert (found.basis, found.priced_at, found.estimated, found.reason) == (
        "tokens",
        date(2026, 11, 23),
        False,
        None,
    )
    assert "LiteLLM 1.109.1" in str(found.source)


def test_cached_input_has_its_own_price() -> None:
    """GLM-5.3-Flash: 200 x 0.15 + 800 x 0.03 + 100 x 0.50 per million."""
    target = of(SERVERLESS, model="zai-org/GLM-5.3-Flash")
    assert cost(call(target, tokens(1_000, 100, 800))).amount == Decimal("0.000104")


def test_cached_input_costs_as_input_where_no_other_price_is_known() -> None:
    found = cost(call(SERVERLESS, tokens(1_000, 500, 800)))
    assert found.amount == Decimal("0.000295")
    assert not found.estimated


def test_more_cached_than_input_tokens_never_make_the_price_negative() -> None:
    target = of(SERVERLESS, model="zai-org/GLM-5.3-Flash")
    assert cost(call(target, tokens(100, 0, 5_000))).amount == Decimal("0.000003")


def test_reasoning_is_part_of_output() -> None:
    usage = Usage(input_tokens=1_000, output_tokens=500, reasoning_tokens=400)
    assert cost(call(SERVERLESS, usage)).amount == Decimal("0.000295")


def test_an_embedding_model_has_no_output_to_pay() -> None:
    target = of(SERVERLESS, model="intfloat/multilingual-e5-large-instruct")
    assert cost(call(target, tokens(1_000_000, None))).amount == Decimal("0.02")
    assert cost(call(target, tokens(1_000_000, 1))).amount is None


def test_a_shared_endpoint_of_modal_is_priced_by_the_row_it_names() -> None:
    """DeepSeek V4.1 Flash 1017: 1,000 cached at 0.005, 1,000 at 0.25, 1,000 out at 1.00 per million."""
    found = cost(call(SHARED, tokens(2_000, 1_000, 1_000)))
    assert found.amount == Decimal("0.001255")
    assert str(found.source).startswith("modal.com/docs/guide/supported-models")


def test_estimated_tokens_make_an_estimated_cost() -> None:
    found = cost(call(SERVERLESS, replace(tokens(1_000, 500), estimated=True)))
    assert found.amount == Decimal("0.000295")
    assert found.estimated
    assert "tokens are estimated" in str(found.reason)


@pytest.mark.parametrize(
    ("attempt", "reason"),
    [
        (
            call(of(SERVERLESS, model="x"), tokens(1, 1)),
            'no price known for model "x" on together-serverless',
        ),
        (
            call(of(SERVERLESS, model="qwen/qwen3.5-9b"), tokens(1, 1)),
            'no price known for model "qwen/qwen3.5-9b" on together-serverless',
        ),
        (
            call(of(SHARED, priced_as=None), tokens(1, 1)),
            'no price known for model "ws--ep.us-west.modal.direct" on modal',
        ),
        (
            call(of(SERVERLESS, model=None), tokens(1, 1)),
            "no price known for a model without a name on together-serverless",
        ),
        (
            call(of(SERVERLESS, mode="openai-compatible"), tokens(1, 1)),
            'no price known for model "Qwen/Qwen3.5-9B" on openai-compatible',
        ),
        (call(SERVERLESS), "the answer did not say how many tokens it used"),
        (call(SERVERLESS, tokens(1, None)), "the answer did not say how many tokens it used"),
        (call(SERVERLESS, tokens(None, 1)), "the answer did not say how many tokens it used"),
        (call(of(DEDICATED, gpu=None), machine_ns=1), "the GPU of together-dedicated/acme is not known"),
        (
            call(of(DEDICATED, gpu="L40S"), machine_ns=1),
            'no price known for GPU "L40S" on together-dedicated',
        ),
        (
            call(of(MODAL, gpu="A100"), machine_ns=1),
            'no price known for GPU "A100" on modal: say which of A100-40GB, A100-80GB',
        ),
        (
            call(DEDICATED, tokens(9, 9)),
            "the time on the machine of together-dedicated/acme was not measured",
        ),
        (call(of(MODAL, basis="unknown"), tokens(9, 9)), "it is not known how modal/llm is paid"),
    ],
)
def test_what_is_unknown_is_none_with_a_reason(attempt: Attempt, reason: str) -> None:
    found = cost(attempt)
    assert (found.amount, found.basis, found.reason) == (None, "unknown", reason)


def test_a_dedicated_endpoint_is_never_priced_by_the_name_of_its_model() -> None:
    found = cost(call(of(DEDICATED, basis="tokens", model="Qwen/Qwen3.5-9B"), tokens(1_000, 500)))
    assert found.amount is None


def test_an_unknown_billed_attempt_makes_the_sum_unknown() -> None:
    found = cost(call(of(SERVERLESS, model="x"), tokens(1, 1)), call(SERVERLESS, tokens(1_000, 500)))
    assert found.amount is None
    assert found.reason == 'no price known for model "x" on together-serverless'


def test_machine_time_costs_the_share_times_the_gpus() -> None:
    """Two seconds of two H100 at 5.49 an hour: 4 x 5.49 / 3600."""
    found = cost(call(DEDICATED, tokens(9, 9), machine_ns=2_000_000_000), at=EARLY)
    assert found.amount == Decimal("0.0061")
    assert (found.basis, found.priced_at) == ("machine-time", date(2026, 10, 2))
    assert (found.estimated, found.reason) == (True, MACHINE_SHARE)


def test_machine_time_on_modal_says_what_it_leaves_out() -> None:
    found = cost(call(MODAL, machine_ns=1_000_000_000), at=EARLY)
    assert found.amount == Decimal("0.001097")
    assert found.reason == f"{MACHINE_SHARE}; {CONTAINER_TIME}; GPU only: CPU and memory are not known"


@pytest.mark.parametrize(("machine_ns", "nano"), [(20_000, 30), (60_000, 92), (19_999, 30), (20_001, 31)])
def test_half_a_nano_dollar_goes_to_the_even_one(machine_ns: int, nano: int) -> None:
    """An H100 at 5.49 an hour costs 30.5 nano-dollars in 20 microseconds and 91.5 in 60."""
    found = cost(call(of(DEDICATED, gpus=1), machine_ns=machine_ns), at=EARLY)
    assert found.amount == Decimal(nano).scaleb(-9)


def test_what_was_not_billed_costs_nothing() -> None:
    refused = call(of(SERVERLESS, model="x"), billed=False)
    assert cost(refused).amount == 0
    found = cost(refused, call(SERVERLESS, tokens(1_000, 500)))
    assert (found.amount, found.estimated) == (Decimal("0.000295"), False)
    assert cost() == Cost(amount=Decimal(0), basis="unknown")


def test_failed_attempts_that_were_billed_count() -> None:
    answer = call(SERVERLESS, tokens(1_000, 500))
    assert cost(answer, answer, answer).amount == Decimal("0.000885")


def test_an_attempt_that_may_have_been_billed_makes_the_rest_an_estimate() -> None:
    timeout = call(SERVERLESS, billed=None)
    found = cost(timeout, timeout, call(SERVERLESS, tokens(1_000, 500)))
    assert (found.amount, found.basis, found.estimated) == (Decimal("0.000295"), "tokens", True)
    assert found.reason == "2 attempts may have been billed"


def test_where_only_such_attempts_exist_the_amount_is_unknown() -> None:
    found = cost(call(SERVERLESS, billed=None))
    assert (found.amount, found.basis, found.reason) == (None, "unknown", "1 attempt may have been billed")


def test_attempts_of_two_modes_are_added_and_the_last_names_basis_and_source() -> None:
    """Two seconds of two H100 at 5.49, then 0.000295 of tokens."""
    machine = call(DEDICATED, machine_ns=2_000_000_000)
    found = cost(machine, call(SERVERLESS, tokens(1_000, 500)), at=EARLY)
    assert (found.amount, found.basis, found.priced_at) == (Decimal("0.006395"), "tokens", date(2026, 11, 23))
    assert (found.estimated, found.reason) == (True, MACHINE_SHARE)
    assert cost(call(SERVERLESS, tokens(1_000, 500)), machine, at=EARLY).basis == "machine-time"


def test_a_price_past_its_retirement_is_an_estimate() -> None:
    """Llama 3.3 70B Turbo was to retire on 2026-10-22: 1.04 in and out."""
    attempt = call(of(SERVERLESS, model="meta-llama/Llama-3.3-70B-Instruct-Turbo"), tokens(1_000, 0))
    found = cost(attempt)
    assert (found.amount, found.estimated) == (Decimal("0.00104"), True)
    assert found.reason == "the offer was to retire on 2026-10-22"
    assert not cost(attempt, at=date(2026, 10, 22)).estimated


def test_a_price_read_more_than_thirty_days_ago_is_an_estimate() -> None:
    attempt = call(SERVERLESS, tokens(1_000, 500))
    assert not cost(attempt, at=date(2026, 12, 23)).estimated
    found = cost(attempt, at=date(2026, 12, 24))
    assert (found.amount, found.estimated) == (Decimal("0.000295"), True)
    assert found.reason == "the price was read on 2026-11-23, more than 30 days earlier"


def test_a_reason_is_given_once() -> None:
    attempt = call(DEDICATED, machine_ns=1)
    assert cost(attempt, attempt, at=EARLY).reason == MACHINE_SHARE


def test_the_simulator_costs_as_the_real_provider() -> None:
    attempt = call(SERVERLESS, tokens(1_000, 500))
    assert cost(call(of(SERVERLESS, simulated=True), tokens(1_000, 500))) == cost(attempt)


@pytest.mark.parametrize(
    "name", ["H100", "h100", "h100-80gb", "H100-80GB", "H100!", "NVIDIA H100 80GB", "nvidia-h100-80gb"]
)
def test_written_variants_of_a_gpu_are_the_same_card(name: str) -> None:
    for mode in ("together-dedicated", "modal"):
        price = BOOK.gpu_price(mode, name)
        assert price == BOOK.gpu_price(mode, "H100")
        assert price is not None
        assert price.gpu == "H100"


def test_cards_that_differ_in_memory_stay_apart() -> None:
    small, large = BOOK.gpu_price("modal", "a100-40gb"), BOOK.gpu_price("modal", "A100-80GB")
    assert small is not None
    assert large is not None
    assert (small.nano_per_hour, large.nano_per_hour) == (2_098_800_000, 2_498_400_000)


@pytest.mark.parametrize("name", ["A100", "H100-94GB", "L40", "A1", "H100:2", "", "100"])
def test_a_card_that_is_not_in_the_table_is_unknown(name: str) -> None:
    assert BOOK.gpu_price("modal", name) is None


def test_a_token_price_is_in_nano_dollars_per_million() -> None:
    price = BOOK.token_price("deepseek-ai/DeepSeek-V4.1-Flash", "together-serverless")
    assert price is not None
    assert (price.input, price.output, price.cached) == (300_000_000, 1_200_000_000, 6_000_000)
    assert BOOK.token_price("DeepSeek-V4.1-Flash", "together-serverless") is None


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=5),
    st.lists(st.integers(0, 10**14), min_size=1, max_size=5),
)
def test_any_sum_is_within_half_a_nano_dollar_of_the_exact_one(
    usages: list[tuple[int, int, int]], times: list[int]
) -> None:
    """GLM-5.3-Flash for the tokens, two H100 at 5.49 an hour for the time."""
    glm = of(SERVERLESS, model="zai-org/GLM-5.3-Flash")
    exact = Fraction(0)
    attempts: list[Attempt] = []
    for fresh, cached, output in usages:
        attempts.append(call(glm, tokens(fresh + cached, output, cached)))
        exact += 150 * fresh + 30 * cached + 500 * output
    for nanoseconds in times:
        attempts.append(call(DEDICATED, machine_ns=nanoseconds))
        exact += Fraction(2 * 5_490_000_000 * nanoseconds, 3600 * 10**9)
    amount = cost(*attempts).amount
    assert amount is not None
    assert abs(Fraction(amount) * 10**9 - exact) <= Fraction(1, 2)
