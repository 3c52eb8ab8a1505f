"""Cost: what an amount is made of, what else the call could have cost, and whether that is the last word."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.call import Attempt, Target, Wait
from hybrid_infer.calls.money import Cost, CostParts, Usage
from hybrid_infer.prices.book import PriceBook
from hybrid_infer.prices.rates import Offer, Offered
from prices.places import DAY, DEDICATED, EARLY, MODAL, SERVERLESS, call, of, tokens

GLM = of(SERVERLESS, name="together-serverless/glm", model="zai-org/GLM-5.3-Flash", logical="assistant")
ON_DEDICATED = of(DEDICATED, logical="assistant")
ON_MODAL = Offer(
    name="modal/llm", mode="modal", model="llm", basis="machine-time", gpu="H100", gpus=2, logical="assistant"
)
LARGER = replace(ON_MODAL, name="modal/large", gpu="B200", gpus=1)
PLACES: tuple[Offered, ...] = (GLM, ON_DEDICATED, ON_MODAL, LARGER)
BOOK = PriceBook()
EVERYWHERE = PriceBook(others=lambda target: PLACES if target.logical == "assistant" else ())


def cost(*attempts: Attempt, waits: Sequence[Wait] = ()) -> Cost:
    return BOOK.cost(attempts, at=DAY, waits=waits)


def parts(found: Cost) -> dict[str, Decimal]:
    """The parts that are not 0."""
    assert found.parts is not None
    return {kind: amount for kind, amount in asdict(found.parts).items() if amount}


def test_tokens_are_input_cached_and_output() -> None:
    """GLM-5.3-Flash: 200 x 0.15 + 800 x 0.03 + 100 x 0.50 per million."""
    found = parts(cost(call(GLM, tokens(1_000, 100, 800))))
    assert found == {
        "input": Decimal("0.00003"), "cached": Decimal("0.000024"), "output": Decimal("0.00005"),
    }  # fmt: skip


def test_other_attempts_are_a_part_of_their_own() -> None:
    failed, lost = call(GLM, tokens(1_000, 0)), call(GLM, tokens(0, 100), lost=True)
    found = parts(cost(failed, call(GLM, tokens(0, 200)), lost))
    assert found == {"output": Decimal("0.0001"), "attempts": Decimal("0.0002")}


def test_a_cold_start_is_a_part_of_its_own_wherever_it_was_waited_for() -> None:
    """One H100 at 0.001097 a second: 2 s before the attempt, 3 s in it, then 1 s of work."""
    second = 1_000_000_000
    answered = call(MODAL, machine_ns=second, cold_ns=3 * second)
    found = cost(
        answered, waits=[Wait(target=MODAL, started=0.0, ended=9.0, cold_ns=2 * second, machine_nano=None)]
    )
    assert parts(found) == {"machine_time": Decimal("0.001097"), "cold_start": Decimal("0.005485")}
    assert found.amount == Decimal("0.006582")
    assert not found.final


def test_a_call_that_only_waited_costs_its_wait() -> None:
    found = cost(
        call(MODAL, billed=False),
        waits=[Wait(target=MODAL, started=0.0, ended=9.0, cold_ns=10**9, machine_nano=1_097_000)],
    )
    assert (found.amount, found.basis) == (Decimal("0.001097"), "machine-time")
    assert parts(found) == {"cold_start": Decimal("0.001097")}


def test_what_the_meter_told_counts_to_the_nano_dollar() -> None:
    found = cost(call(DEDICATED, machine_ns=1_000, cold_ns=0, machine_nano=4))
    assert found.amount == Decimal("0.000000004")


def test_nothing_has_no_parts_and_unknown_has_none() -> None:
    assert cost().parts == CostParts()
    assert cost(call(of(SERVERLESS, model="x"), tokens(1, 1))).parts is None


ATTEMPTS = st.lists(
    st.builds(
        lambda target, usage, busy, cold, lost: call(
            target, tokens(*usage), machine_ns=busy, cold_ns=cold, lost=lost
        ),
        st.sampled_from([GLM, SERVERLESS, DEDICATED, MODAL]),
        st.tuples(st.integers(0, 999), st.integers(0, 999), st.integers(0, 999)),
        st.integers(0, 10**7),
        st.integers(0, 10**7),
        st.booleans(),
    ),
    max_size=5,
)


@given(ATTEMPTS, st.lists(st.integers(0, 10**7), max_size=3))
def test_parts_add_up_to_the_amount_exactly(attempts: list[Attempt], cold: list[int]) -> None:
    found = cost(
        *attempts,
        waits=[Wait(target=MODAL, started=0.0, ended=9.0, cold_ns=ns, machine_nano=None) for ns in cold],
    )
    assert found.parts is not None
    amounts = asdict(found.parts).values()
    assert sum(amounts, Decimal(0)) == found.amount
    assert all(amount >= 0 for amount in amounts)


@given(ATTEMPTS)
def test_a_cost_survives_pickling_with_all_it_can_tell(attempts: list[Attempt]) -> None:
    found = EVERYWHERE.cost(attempts, at=DAY)
    copy = pickle.loads(pickle.dumps(found))
    assert (copy, copy.parts, copy.equivalent) == (found, found.parts, found.equivalent)


def equivalents(attempt: Attempt, book: PriceBook = EVERYWHERE) -> dict[str, Any]:
    return {one.where: one for one in book.cost([attempt], at=EARLY).equivalent}


def test_a_call_on_a_machine_tells_what_its_tokens_would_have_cost() -> None:
    """1,000 in and 100 out at 0.15 and 0.50; two H100 of Modal for 2 s at 0.001097 each."""
    found = equivalents(call(ON_DEDICATED, tokens(1_000, 100), machine_ns=2 * 10**9))
    assert set(found) == {GLM.name, ON_MODAL.name, LARGER.name}
    by_tokens, same, larger = found[GLM.name], found[ON_MODAL.name], found[LARGER.name]
    assert (by_tokens.amount, by_tokens.basis, by_tokens.estimated) == (Decimal("0.0002"), "tokens", False)
    assert (same.amount, same.basis, same.estimated) == (Decimal("0.004388"), "machine-time", True)
    assert "the seconds are those it took where it ran" in same.reason
    assert larger.amount is None
    assert larger.reason == "it ran on 2 x H100; how long it takes on 1 x B200 is not known"


def test_what_a_call_by_tokens_would_cost_on_a_machine_is_not_guessed() -> None:
    found = equivalents(call(GLM, tokens(1_000, 100)))
    assert set(found) == {ON_DEDICATED.name, ON_MODAL.name, LARGER.name}
    assert {one.amount for one in found.values()} == {None}
    assert "how long it keeps the machine" in found[ON_DEDICATED.name].reason


def test_a_model_that_is_known_nowhere_else_has_no_equivalent() -> None:
    assert equivalents(call(SERVERLESS, tokens(1, 1))) == {}
    assert equivalents(call(GLM, tokens(1, 1)), BOOK) == {}


def test_equivalents_are_looked_up_once_for_a_target() -> None:
    asked: list[Target] = []

    def others(target: Target) -> Sequence[Offered]:
        asked.append(target)
        return PLACES

    book = PriceBook(others=others)
    for _ in range(3):
        book.cost([call(GLM, tokens(1, 1))], at=DAY)
    assert len(asked) == 1


def test_a_cache_hit_costs_nothing_and_tells_what_it_saved() -> None:
    found = EVERYWHERE.saved(GLM, tokens(1_000, 100), at=DAY)
    assert (found.amount, found.basis, found.parts) == (Decimal(0), "cache", CostParts())
    saved = found.equivalent[0]
    assert (saved.where, saved.amount) == (GLM.name, Decimal("0.0002"))
    assert EVERYWHERE.saved(GLM, None, at=DAY).equivalent[0].amount is None


def test_tokens_are_final_and_a_share_of_a_machine_is_not() -> None:
    assert cost(call(SERVERLESS, tokens(1, 1))).final
    assert not cost(call(DEDICATED, machine_ns=1)).final


def test_the_loser_of_a_hedge_that_is_still_at_work_keeps_the_cost_open() -> None:
    winner = call(SERVERLESS, tokens(1_000, 500))
    loser = call(SERVERLESS, billed=None, lost=True)
    found = cost(loser, winner)
    assert (found.amount, found.estimated, found.final) == (Decimal("0.000295"), True, False)
    loser.ended = 1.0
    assert cost(loser, winner).final


def test_a_machine_is_paid_for_an_attempt_of_which_nobody_knows_whether_it_was_billed() -> None:
    """It timed out: the machine was at work all the same."""
    found = cost(call(of(DEDICATED, gpus=1), machine_ns=2 * 10**9, billed=None, ended=2.0))
    assert found.amount == Decimal("0.00305")


@given(st.builds(Usage, input_tokens=st.integers(0, 10**6), output_tokens=st.integers(0, 10**6)))
def test_an_equivalent_is_what_the_call_would_have_cost_there(usage: Usage) -> None:
    on_machine = EVERYWHERE.cost([call(ON_DEDICATED, usage, machine_ns=1)], at=DAY)
    by_tokens = EVERYWHERE.cost([call(GLM, usage)], at=DAY)
    assert next(one for one in on_machine.equivalent if one.where == GLM.name).amount == by_tokens.amount
