"""A budget for machines that are kept although nobody uses them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.machines import MACHINE, PRICE, Stage
from hybrid_infer.endpoints.errors import IdleBudgetError
from hybrid_infer.endpoints.idle import IdleBudget, IdleSpent, idle_spent
from hybrid_infer.endpoints.state import HourlyPrice

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
DOLLAR = IdleBudget(1)  # PRICE is 0.001 USD a second


def test_a_day_is_a_day_in_utc() -> None:
    """What another one cost does not count."""
    spent = DOLLAR.spend(idle_spent(None, NOON), 900.0, PRICE, 1)
    assert (spent.day, spent.usd) == ("2026-11-02", Decimal("0.9"))
    assert DOLLAR.allows(spent)
    spent = DOLLAR.spend(idle_spent(spent.text(), NOON), 50.0, PRICE, 2)
    assert not DOLLAR.allows(spent)
    tomorrow = idle_spent(spent.text(), datetime.fromisoformat("2026-11-03T00:30:00+00:00"))
    assert tomorrow == IdleSpent(day="2026-11-03", nano=0)
    assert idle_spent(spent.text(), datetime.fromisoformat("2026-11-03T00:30:00+01:00")) == spent


def test_a_budget_of_nothing_keeps_nothing_and_a_negative_one_is_wrong() -> None:
    assert not IdleBudget(0).allows(idle_spent(None, NOON))
    with pytest.raises(ValueError, match="-1 USD a day is negative; 0 keeps none"):
        IdleBudget(-1)
    assert IdleBudget(Decimal("2.5")).usd == IdleBudget(2.5).usd == Decimal("2.5")


@given(st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 10**11), st.integers(0, 8)), max_size=20))
def test_what_is_spent_is_what_it_costs(parts: list[tuple[float, int, int]]) -> None:
    """To half a nano-dollar each time; and it never becomes less."""
    spent, exact = idle_spent(None, NOON), 0.0
    for seconds, nano, replicas in parts:
        before = spent.nano
        spent = DOLLAR.spend(spent, seconds, HourlyPrice(nano=nano, source="test"), replicas)
        exact += seconds * nano * replicas / 3600
        assert spent.nano >= before
    assert spent.nano == pytest.approx(exact, rel=1e-9, abs=len(parts))


async def test_when_it_is_spent_what_nobody_asked_for_is_given_back(colour: str) -> None:
    """All processes count together; what somebody asked for is kept."""
    stage = Stage(colour)
    a, b = stage.process("a", budget=DOLLAR), stage.process("b", budget=DOLLAR)
    asked = await a.hold(1)
    await a.hold(2, kind="schedule")
    await a.hold(3, kind="keep")
    assert await a.keeper.idle(MACHINE, 300.0, price=PRICE)
    assert await b.keeper.idle(MACHINE, 300.0, price=PRICE, replicas=2)
    assert (await a.keeper.idle_spent()).usd == Decimal("0.9")
    assert stage.provider.minimum == 3
    assert not await a.keeper.idle(MACHINE, 100.0, price=PRICE)
    assert (stage.provider.minimum, a.keeper.held) == (1, (asked,))
    with pytest.raises(IdleBudgetError, match=r"is spent: 1\.00 of 1\.00 USD on 2026-11-02 \(UTC\)"):
        await b.hold(1, kind="keep")
    assert await a.keeper.renew(asked, 600.0) is not None
    await stage.later(86_400)
    assert (await b.hold(1, kind="keep")).kind == "keep"


async def test_a_lease_is_not_renewed_over_the_budget(colour: str) -> None:
    stage = Stage(colour)
    a, b = stage.process("a", budget=DOLLAR), stage.process("b", budget=DOLLAR)
    lease = await a.hold(1, kind="schedule")
    assert not await b.keeper.idle(MACHINE, 1000.0, price=PRICE)
    with pytest.raises(IdleBudgetError):
        await a.keeper.renew(lease, 600.0)


async def test_without_a_price_nothing_can_be_kept_to(colour: str) -> None:
    """It says so, and does not keep. What somebody asks for needs no price."""
    stage = Stage(colour, price=None)
    a = stage.process(budget=DOLLAR)
    with pytest.raises(IdleBudgetError, match="its price is unknown") as caught:
        await a.hold(1, kind="keep")
    assert "say what it costs an hour, or set no budget" in str(caught.value)
    assert await stage.clean()
    await a.hold(1)
    stage.provider.price = PRICE
    await a.hold(2, kind="keep")
    assert not await a.keeper.idle(MACHINE, 1.0, price=None)
    assert stage.provider.minimum == 1


async def test_without_a_budget_nothing_is_counted(colour: str) -> None:
    stage = Stage(colour, price=None)
    a = stage.process()
    await a.hold(1, kind="keep")
    assert await a.keeper.idle(MACHINE, 1e9, price=None)
    assert (await a.keeper.idle_spent()).nano == 0


async def test_a_store_that_is_down_stops_nothing(colour: str) -> None:
    stage = Stage(colour)
    a = stage.process(budget=DOLLAR)
    await a.hold(1, kind="keep")
    a.store_down = True
    assert await a.keeper.idle(MACHINE, 1e9, price=PRICE)
    assert stage.provider.minimum == 1
