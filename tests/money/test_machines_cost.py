"""Machines that are paid by time: what the calls cost, and what was idle, is the provider's own invoice."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from both import Api
from hybrid_infer.calls.money import usd
from hybrid_infer.simulator.dedicated import EndpointPlan
from hybrid_infer.simulator.fault_rules import FaultPlan, FaultRule
from hybrid_infer.simulator.faults import Fault
from hybrid_infer.simulator.world import World
from money.fleet import NANO, Ask, Book, Fleet, folder, nano_of

HOURLY = 5_490_000_000
"""Of the simulated dedicated endpoint: one H100, as the shipped table has it."""

whole_seconds = st.integers(0, 90).map(float)
asks = st.builds(
    Ask,
    client=st.integers(0, 2),
    at=whole_seconds,
    tokens=st.integers(20, 2000),
    stream=st.booleans(),
    leave_after=st.sampled_from([None, None, 1, 5]),
    timeout=st.sampled_from([None, None, None, 3.0]),
)
traffic = st.lists(asks, min_size=1, max_size=14)
FAULTS = (
    None,
    FaultRule(fault=Fault("status", status=503), every=3),
    FaultRule(fault=Fault("reset_mid_body"), every=4),
    FaultRule(fault=Fault("status", status=429, retry_after=2.0), every=3),
    FaultRule(fault=Fault("slow_first_token", seconds=20.0), every=4),
    FaultRule(fault=Fault("silence"), on=2),
)
"""What a GPU is not to be paid for, and what it is."""
faults = st.sampled_from(FAULTS)


def plan(rule: FaultRule | None) -> FaultPlan | None:
    return None if rule is None else FaultPlan(rules=(rule,))


def within(found: float, wanted: float, share: float) -> bool:
    return abs(found - wanted) <= share * wanted


def test_six_calls_at_a_time_cost_together_what_the_machine_cost(colour: str, tmp_path: Path) -> None:
    """Not six times over. Once with a state that is followed, once without."""
    costs: list[Decimal] = []
    for followed in (True, False):
        fleet = Fleet(colour, World(), tmp_path / f"{followed}.sqlite", mode="together-dedicated")

        async def scenario(fleet: Fleet = fleet, followed: bool = followed) -> None:
            api = fleet.client()
            if followed:
                fleet.world.ready_dedicated(fleet.now)
                fleet.observe(api, "together-dedicated", 1)
            await fleet.traffic([api], [Ask(0, 0.0, tokens=300) for _ in range(6)])
            report, invoice = fleet.report(api, "together-dedicated"), fleet.invoice(fleet.now)
            (machine,) = invoice.dedicated
            told = sum((hybrid.cost.amount or Decimal(0) for hybrid in fleet.told), Decimal(0))
            assert machine.busy_seconds == pytest.approx(machine.seconds)
            assert report.attributed.usd == told == usd(nano_of(machine.seconds, HOURLY))
            assert machine.requests == 6, [h.history for h in fleet.told]
            if followed:
                assert report.total == report.attributed
            costs.append(told)
            await fleet.close()

        fleet.run(scenario())
        assert Book(fleet.ledger).total.cost == costs[-1]
    assert costs[0] == costs[1] > 0


@pytest.mark.parametrize("colour", ["sync", "async"])
@given(phases=st.lists(traffic, min_size=1, max_size=3), rule=faults, hedge=st.booleans())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_attributed_and_idle_are_the_invoice_of_together_to_the_nano_dollar(
    colour: str, phases: list[list[Ask]], rule: FaultRule | None, hedge: bool
) -> None:
    """The endpoint is started and stopped at known moments, in between whatever happens."""
    with folder() as place:
        world = World(dedicated="stopped", faults=plan(rule))
        fleet = Fleet(
            colour, world, Path(place) / "l.sqlite", mode="together-dedicated", hedge=hedge, timeout=120.0
        )

        async def scenario() -> None:
            api = fleet.client()
            fleet.observe(api, "together-dedicated", 0)
            for asks in phases:
                world.ready_dedicated(fleet.now)
                fleet.observe(api, "together-dedicated", 1)
                await fleet.traffic([api], asks)
                await api.runtime.sleep(200.0)  # losers of hedges have ended by now
                world.stop_dedicated(fleet.now)
                fleet.observe(api, "together-dedicated", 0)
                await api.runtime.sleep(50.0)
            report, (machine,) = fleet.report(api, "together-dedicated"), fleet.invoice(fleet.now).dedicated
            assert report.idle is not None
            assert report.total is not None
            parts = report.attributed.nano, report.cold_start.nano, report.idle.nano
            assert sum(part or 0 for part in parts) == report.total.nano
            assert abs((report.total.nano or 0) - nano_of(machine.seconds, HOURLY)) <= 1
            assert not report.estimated
            await fleet.close()

        fleet.run(scenario())
        book = Book(fleet.ledger)
        machine = book.machine()
        (whole,) = machine.reports
        # What the ledger adds up to is what was attributed: each call's cost, and its corrections.
        assert whole.attributed.usd is not None
        assert abs(book.total.cost - whole.attributed.usd) <= usd(2 + len(fleet.told))
        assert book.total.cost_unknown == 0
        assert machine.rate == HOURLY


@pytest.mark.parametrize("colour", ["sync", "async"])
@given(asks=traffic, rule=faults, hedge=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
def test_several_processes_together_pay_the_invoice_of_together(
    colour: str, asks: list[Ask], rule: FaultRule | None, hedge: bool, seed: int
) -> None:
    """Each divides the machine among its own calls; one of them is told its state, at known moments. What the
    ledger adds up to, and what it calls idle, is the bill."""
    with folder() as place:
        world = World(seed=seed, dedicated="stopped", faults=plan(rule))
        fleet = Fleet(
            colour, world, Path(place) / "l.sqlite", mode="together-dedicated", hedge=hedge, timeout=120.0
        )
        billed: list[int] = []

        async def scenario() -> None:
            apis = [fleet.client() for _ in range(3)]
            world.ready_dedicated(fleet.now)
            fleet.observe(apis[0], "together-dedicated", 1)
            await fleet.traffic(apis, asks)
            await apis[0].runtime.sleep(200.0)
            world.stop_dedicated(fleet.now)
            fleet.observe(apis[0], "together-dedicated", 0)
            (machine,) = fleet.invoice(fleet.now).dedicated
            billed.append(nano_of(machine.seconds, HOURLY))
            await fleet.close()

        fleet.run(scenario())
        book = Book(fleet.ledger)
        (report,) = book.machine().reports
        assert report.idle is not None
        assert report.total is not None
        assert report.settled
        # The time of day is told in microseconds, and a microsecond of this machine costs 1.5 nano-dollars.
        assert abs((report.total.nano or 0) - billed[0]) <= 4
        spent = book.total.cost + (report.idle.usd or 0)
        assert abs(spent - usd(billed[0])) <= usd(2 * len(asks) + 6)
        assert book.total.cost_unknown == 0
        assert len(book.processes) == len({ask.client for ask in asks})


@pytest.mark.parametrize("colour", ["sync", "async"])
@given(asks=traffic, rule=faults, seed=st.integers(0, 99))
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
def test_a_state_that_is_looked_at_every_second_meets_together_to_half_a_percent(
    colour: str, asks: list[Ask], rule: FaultRule | None, seed: int
) -> None:
    """The endpoint takes minutes to come up, which is not billed, and stops once its work is done."""
    with folder() as place:
        world = World(
            seed=seed,
            dedicated="stopped",
            endpoint=EndpointPlan(provisioning=20.0, scaling=40.0),
            faults=plan(rule),
        )
        fleet = Fleet(
            colour, world, Path(place) / "l.sqlite", mode="together-dedicated", hedge=True, timeout=300.0
        )
        seconds: list[float] = []

        async def operator() -> None:
            world.start_dedicated(fleet.now)
            await apis[0].runtime.sleep(900.0)
            world.stop_dedicated(fleet.now)

        async def scenario() -> None:
            apis.extend(fleet.client() for _ in range(2))
            await fleet.together(
                operator(),
                fleet.follow(apis[0], "together-dedicated", 1200.0, 1.0),
                *(fleet.ask(apis, ask, 0.0) for ask in asks),
            )
            (machine,) = fleet.invoice(fleet.now).dedicated
            seconds.append(machine.seconds)
            await fleet.close()

        apis: list[Api] = []
        fleet.run(scenario())
        (report,) = Book(fleet.ledger).machine().reports
        assert report.total is not None
        assert within(report.total.seconds, seconds[0], 0.005)
        assert report.idle is not None
        spent = Book(fleet.ledger).total.cost + (report.idle.usd or 0)
        assert within(float(spent), nano_of(seconds[0], HOURLY) / NANO, 0.005)
