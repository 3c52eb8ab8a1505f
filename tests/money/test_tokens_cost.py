"""Models that are paid by tokens: the sum of all calls is the provider's invoice."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_infer.calls.money import usd
from hybrid_infer.simulator.fault_rules import FaultPlan, FaultRule
from hybrid_infer.simulator.faults import Fault
from hybrid_infer.simulator.world import World
from money.fleet import Ask, Book, Fleet, folder

INPUT, OUTPUT = 170, 250
"""Nano-dollars a token of Qwen3.5-9B, as the shipped table has it."""

asks = st.builds(
    Ask,
    client=st.integers(0, 3),
    at=st.integers(0, 60).map(float),
    tokens=st.integers(1, 800),
    stream=st.booleans(),
)
traffic = st.lists(asks, min_size=1, max_size=25)
REFUSALS = (
    None,
    FaultRule(fault=Fault("status", status=503), every=3),
    FaultRule(fault=Fault("status", status=429, retry_after=1.0), every=2),
    FaultRule(fault=Fault("status", status=500), on=(1, 2, 3, 4)),
    FaultRule(fault=Fault("slow_first_token", seconds=9.0), every=5),
)
BREAKS = (
    FaultRule(fault=Fault("reset_mid_body"), every=3),
    FaultRule(fault=Fault("stall"), every=4),
    FaultRule(fault=Fault("truncate"), every=3),
)


def run(fleet: Fleet, asks: list[Ask]) -> int:
    """What the provider bills, in nano-dollars."""

    async def scenario() -> None:
        apis = [fleet.client() for _ in range(4)]
        await fleet.traffic(apis, asks)
        await fleet.close()

    fleet.run(scenario())
    used = fleet.world.invoice(fleet.world.latest + 1000.0).serverless
    return sum(one.input_tokens * INPUT + one.output_tokens * OUTPUT for one in used)


@pytest.mark.parametrize("colour", ["sync", "async"])
@given(asks=traffic, rule=st.sampled_from(REFUSALS), seed=st.integers(0, 99))
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_four_processes_pay_the_invoice_of_together_to_the_nano_dollar(
    colour: str, asks: list[Ask], rule: FaultRule | None, seed: int
) -> None:
    """Where every answer that was billed said what it used; refusals and repeats included."""
    with folder() as place:
        world = World(seed=seed, faults=None if rule is None else FaultPlan(rules=(rule,)))
        fleet = Fleet(colour, world, Path(place) / "l.sqlite", mode="together-serverless")
        billed = run(fleet, asks)
        total = Book(fleet.ledger).total
        assert total.cost == usd(billed)
        assert (total.calls, total.cost_unknown) == (len(asks), 0)


@pytest.mark.parametrize("colour", ["sync", "async"])
@given(asks=traffic, rule=st.sampled_from(BREAKS), seed=st.integers(0, 99))
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
def test_what_nobody_can_know_is_never_counted_as_known(
    colour: str, asks: list[Ask], rule: FaultRule, seed: int
) -> None:
    """Answers that break off are billed without saying how much. Where the bill is another one, the ledger
    says of how many calls the cost is unknown or an estimate."""
    with folder() as place:
        fleet = Fleet(
            colour, World(seed=seed, faults=FaultPlan(rules=(rule,))), Path(place) / "l.sqlite",
            mode="together-serverless", attempt_timeout=20.0, between_tokens_timeout=5.0,
        )  # fmt: skip
        billed = run(fleet, asks)
        total = Book(fleet.ledger).total
        if total.cost != usd(billed):
            assert total.cost_unknown + total.cost_estimated > 0
