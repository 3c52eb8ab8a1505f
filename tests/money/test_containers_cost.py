"""Modal's containers: what the calls cost, cold starts and idle time included, is its invoice to a tenth."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_infer.simulator.fault_rules import FaultPlan, FaultRule
from hybrid_infer.simulator.faults import Fault
from hybrid_infer.simulator.modal import ModalPlan
from hybrid_infer.simulator.world import World
from money.fleet import NANO, Ask, Book, Fleet, folder, nano_of

HOURLY = 3_949_200_000
"""Of an H100, as the shipped table has it."""

asks = st.builds(
    Ask,
    client=st.integers(0, 2),
    at=st.integers(0, 400).map(float),
    tokens=st.integers(20, 2000),
    stream=st.booleans(),
    leave_after=st.sampled_from([None, None, 1, 5]),
)
traffic = st.lists(asks, min_size=1, max_size=20)
FAULTS = (
    None,
    FaultRule(fault=Fault("status", status=500), every=4),
    FaultRule(fault=Fault("reset_mid_body"), every=4),
    FaultRule(fault=Fault("saturated"), every=5),
)
faults = st.sampled_from(FAULTS)
END = 1200.0
"""By then all containers have gone."""


def run(
    fleet: Fleet, asks: list[Ask], clients: int, *, followed: bool, **options: float | int | bool
) -> float:
    """What Modal bills, in container-seconds."""
    seconds: list[float] = []

    async def scenario() -> None:
        apis = [fleet.client(**options) for _ in range(clients)]
        watch = [fleet.follow(apis[0], "modal", END, 0.5)] if followed else []
        await fleet.together(*watch, *(fleet.ask(apis, ask, 0.0) for ask in asks))
        await apis[0].runtime.sleep(max(0.0, END - fleet.now))
        seconds.append(fleet.invoice(fleet.now).modal.seconds)
        await fleet.close()

    fleet.run(scenario())
    return seconds[0]


def check(fleet: Fleet, billed: float, **options: float | int) -> None:
    book = Book(fleet.ledger, **options)
    (report,) = book.machine(MARKS).reports
    assert report.idle is not None
    assert report.total is not None
    assert abs(report.total.seconds - billed) <= 0.1 * billed
    assert report.estimated
    # Cold starts that somebody waited for are in the cost of the calls.
    spent = book.total.cost + (report.idle.usd or 0) + (report.cold_start.usd or 0)
    wanted = Decimal(nano_of(billed, HOURLY)) / NANO
    assert abs(spent - wanted) <= wanted / 10
    assert book.total.estimated == book.total.cost
    assert book.total.cost_unknown == 0


HOUR_NS = 3600 * NANO
BEGAN_NS = 1_793_606_400 * NANO
"""2026-11-02 08:00 UTC, when virtual time begins."""
MARKS = (BEGAN_NS, BEGAN_NS + HOUR_NS)


@pytest.mark.parametrize("colour", ["sync", "async"])
@given(asks=traffic, rule=faults, seed=st.integers(0, 99), containers=st.integers(1, 3))
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
def test_processes_that_scale_a_server_up_pay_its_invoice(
    colour: str, asks: list[Ask], rule: FaultRule | None, seed: int, containers: int
) -> None:
    """Three processes, up to three containers, and one process that looks how many there are."""
    with folder() as place:
        world = World(
            seed=seed,
            modal=ModalPlan(concurrency=2, max_containers=containers),
            faults=None if rule is None else FaultPlan(rules=(rule,)),
        )
        fleet = Fleet(colour, world, Path(place) / "l.sqlite", mode="modal", hedge=True)
        check(fleet, run(fleet, asks, 3, followed=True))


@pytest.mark.parametrize("colour", ["sync", "async"])
@given(asks=traffic, rule=faults, seed=st.integers(0, 99))
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
def test_one_container_is_estimated_from_the_calls_alone(
    colour: str, asks: list[Ask], rule: FaultRule | None, seed: int
) -> None:
    """Nobody tells its state: it is taken to be up for a minute after it was last used."""
    with folder() as place:
        world = World(
            seed=seed,
            modal=ModalPlan(max_containers=1),
            faults=None if rule is None else FaultPlan(rules=(rule,)),
        )
        fleet = Fleet(colour, world, Path(place) / "l.sqlite", mode="modal")
        check(fleet, run(fleet, asks, 2, followed=False))


def test_calls_that_wait_for_the_same_container_share_its_cold_start(colour: str, tmp_path: Path) -> None:
    """Also those of different processes, each of which saw all of it as its own."""
    fleet = Fleet(colour, World(), tmp_path / "l.sqlite", mode="modal")
    billed = run(fleet, [Ask(n % 2, 0.0) for n in range(6)], 2, followed=True)
    (report,) = Book(fleet.ledger).machine(MARKS).reports
    cold = sum(hybrid.cost.parts.cold_start for hybrid in fleet.told if hybrid.cost.parts is not None)
    assert report.waited.usd is not None
    assert float(cold) == pytest.approx(2 * float(report.waited.usd), rel=0.05)
    assert report.waited.seconds == pytest.approx(20.0, rel=0.25)
    check(fleet, billed)
