"""A request that lost is part of what its call cost, also where it ends after the call."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hybrid_infer.calls.money import usd
from hybrid_infer.simulator.fault_rules import FaultPlan, FaultRule
from hybrid_infer.simulator.faults import Fault
from hybrid_infer.simulator.world import World
from hybrid_infer.stores.ledger.reader import LedgerReader
from money.fleet import Ask, Book, Fleet, nano_of

DEDICATED = 5_490_000_000
SLOW = FaultPlan(rules=(FaultRule(fault=Fault("slow_first_token", seconds=30.0), on=(*range(30, 60, 10),)),))
CALLS = [Ask(0, float(n), tokens=60, stream=n % 3 == 0) for n in range(60)]


def hedged(colour: str, mode: str, path: Path) -> tuple[Fleet, float]:
    """Sixty calls, one after the other, some of them slow; and the machine's seconds."""
    fleet = Fleet(colour, World(faults=SLOW), path, mode=mode, hedge=True)
    seconds: list[float] = []

    async def scenario() -> None:
        api = fleet.client()
        if mode == "together-dedicated":
            fleet.world.ready_dedicated(fleet.now)
            fleet.observe(api, "together-dedicated", 1)
        await fleet.traffic([api], CALLS)
        await api.runtime.sleep(100.0)
        if mode == "together-dedicated":
            fleet.world.stop_dedicated(fleet.now)
            fleet.observe(api, "together-dedicated", 0)
            seconds.append(fleet.invoice(fleet.now).dedicated[0].seconds)
        else:
            seconds.append(0.0)
        await fleet.close()

    fleet.run(scenario())
    return fleet, seconds[0]


def test_what_lost_on_a_machine_is_in_the_sum(colour: str, tmp_path: Path) -> None:
    fleet, seconds = hedged(colour, "together-dedicated", tmp_path / "l.sqlite")
    book = Book(fleet.ledger)
    with LedgerReader(fleet.ledger) as reader:
        calls, corrections = list(reader.calls()), list(reader.corrections())
    lost = [one for call in calls for one in call.tries if one.lost]
    late = [one for correction in corrections for one in correction.tries]
    assert lost or late
    if colour == "sync":  # threads cannot be cancelled: what lost ends by itself
        assert late
        assert {fix.reason for fix in corrections} == {"an attempt ended after its call"}
        assert all((fix.cost_nano or 0) > (fix.before_nano or 0) for fix in corrections)
    (report,) = book.machine().reports
    assert report.idle is not None
    assert report.idle.usd is not None
    assert abs(book.total.cost + report.idle.usd - usd(nano_of(seconds, DEDICATED))) <= usd(len(CALLS))
    assert book.total.attempts == sum(call.attempts for call in calls)
    assert book.total.corrections == len(corrections)


def test_every_attempt_stands_in_the_ledger_once(colour: str, tmp_path: Path) -> None:
    fleet, _ = hedged(colour, "together-serverless", tmp_path / "l.sqlite")
    with LedgerReader(fleet.ledger) as reader:
        tries = [one for record in reader.calls() for one in record.tries]
        tries += [one for record in reader.corrections() for one in record.tries]
    counted = Counter((one.call, one.number) for one in tries)
    assert set(counted.values()) == {1}
    assert len(tries) == fleet.world.seen().calls


def test_a_loser_that_was_answered_is_billed_and_corrected(tmp_path: Path) -> None:
    """In the blocking client it runs to its end: then nothing of the bill is unknown."""
    fleet, _ = hedged("sync", "together-serverless", tmp_path / "l.sqlite")
    (use,) = fleet.world.invoice(fleet.world.latest).serverless
    total = Book(fleet.ledger).total
    wanted = usd(use.input_tokens * 170 + use.output_tokens * 250)
    assert total.corrections > 0
    assert total.cost == wanted
    assert (total.cost_unknown, total.cost_estimated) == (0, 0)


def test_a_loser_that_was_cancelled_is_told_as_unknown(tmp_path: Path) -> None:
    """Nobody says how much of it was billed: the calls are marked, and the bill is a little higher."""
    fleet, _ = hedged("async", "together-serverless", tmp_path / "l.sqlite")
    (use,) = fleet.world.invoice(fleet.world.latest).serverless
    total = Book(fleet.ledger).total
    wanted = usd(use.input_tokens * 170 + use.output_tokens * 250)
    assert total.cost_estimated > 0
    assert total.cost <= wanted
    assert float(total.cost) == pytest.approx(float(wanted), rel=0.1)
