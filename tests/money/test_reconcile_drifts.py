"""A bill that is not what the ledger has: the cause is named. The bill is the simulator's, with a drift."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from both import Api
from hybrid_infer.prices.bills import read_bill
from hybrid_infer.prices.chosen import machine_division
from hybrid_infer.prices.matching import matched
from hybrid_infer.prices.reconcile import Drift, reconcile
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.modal import ModalPlan
from hybrid_infer.simulator.world import World
from hybrid_infer.stores.ledger.days import days
from hybrid_infer.stores.ledger.merging import merge
from hybrid_infer.stores.ledger.writer import open_ledger
from money.billing import (
    DAYS,
    FIRST,
    H100_MODAL,
    LAST,
    Account,
    dedicated_items,
    modal_report,
    serverless_items,
    together_report,
)
from money.fleet import Ask, Fleet

ONE = Decimal(1)


def morning(day: int, calls: int = 30) -> list[Ask]:
    """Two processes at work, more each day."""
    return [Ask(n % 2, n * 20.0, tokens=200, stream=n % 3 == 0) for n in range(calls + 10 * day)]


def compared(ledger: Path, *bills: object, **settings: Any) -> list[Drift]:
    """As the command does it."""
    loaded = Settings.load(settings, environ={})
    recorded, gaps = days(
        [ledger], FIRST, LAST.replace(day=LAST.day + 1), divide=machine_division(loaded), simulated=True
    )
    bill = read_bill(json.dumps(bills[0]))
    for more in bills[1:]:
        bill.extend(read_bill(json.dumps(more)))
    known, others = matched(bill.lines, recorded)
    assert not others
    return reconcile(
        recorded, known, gaps, covers=bill.covers, region_multiplier=loaded.modal_region_multiplier
    )


def causes(drifts: Sequence[Drift]) -> list[str | None]:
    """Of each day; "" where it agrees."""
    return ["" if one.agrees else one.cause for one in drifts]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "l.sqlite"


def serverless(ledger: Path, *, unseen: int = 0) -> Account:
    """Some days of two processes, and of so many others whose calls nobody records."""
    fleet = Fleet("sync", World(), ledger, mode="together-serverless")
    account = Account(fleet)

    async def scenario() -> None:
        apis = [fleet.client(), fleet.client(), *(fleet.client(ledger=None) for _ in range(unseen))]

        def calls(day: int) -> list[Ask]:
            others = [
                Ask(2 + n, at * 300.0, tokens=400) for n in range(unseen) for at in range(5 + 7 * (day % 2))
            ]
            return [*(Ask(ask.client % 2, ask.at, tokens=ask.tokens) for ask in morning(day)), *others]

        await account.days(apis, calls)
        await fleet.close()

    # `ask` takes the client by its number among all of them.
    fleet.run(scenario())
    return account


@pytest.mark.parametrize("unit", [1, 1000, 1_000_000])
def test_a_bill_that_agrees_has_no_drift(ledger: Path, unit: int) -> None:
    """In whatever unit tokens are counted."""
    account = serverless(ledger)
    found = compared(
        ledger, together_report([serverless_items(account.tokens(day), unit=unit) for day in range(DAYS)])
    )
    assert causes(found) == [""] * DAYS
    assert [one.drift for one in found] == [0] * DAYS


def test_a_change_of_the_price_is_named(ledger: Path) -> None:
    account = serverless(ledger)
    factors = [ONE, ONE, Decimal("1.7"), Decimal("1.7")]
    found = compared(
        ledger,
        together_report([serverless_items(account.tokens(n), factor=factors[n]) for n in range(DAYS)]),
    )
    assert causes(found) == ["", "", "price", "price"]
    assert "the same tokens were billed at $0.38" in found[2].why


def test_calls_that_were_made_outside_the_client_are_named(ledger: Path) -> None:
    account = serverless(ledger, unseen=1)
    found = compared(ledger, together_report([serverless_items(account.tokens(day)) for day in range(DAYS)]))
    assert causes(found) == ["outside"] * DAYS
    assert "for which the ledger has no call" in found[0].why


def test_a_model_that_only_others_use_is_named(ledger: Path) -> None:
    account = serverless(ledger)
    items = [serverless_items(account.tokens(day)) for day in range(DAYS)]
    items[1] += serverless_items((10**6, 10**5), model="acme/Unheard-7B")
    found = compared(ledger, together_report(items))
    assert [(one.model, one.cause) for one in found if not one.agrees] == [("acme/Unheard-7B", "outside")]


def test_calls_that_a_process_made_and_lost_are_named_by_their_numbers(ledger: Path) -> None:
    """Part of the file is gone, as after a disk that was full."""
    account = serverless(ledger)
    with sqlite3.connect(ledger) as db:
        ids = [row[0] for row in db.execute("SELECT id FROM call_rows ORDER BY id")]
        process = ids[0][:22]
        lost = [one for one in ids if one.startswith(process)][3:18]
        _forget(db, lost)
    found = compared(ledger, together_report([serverless_items(account.tokens(day)) for day in range(DAYS)]))
    assert causes(found) == ["lost-process", "lost-process", "", ""]
    assert found[0].why.startswith("15 calls are missing")


def _forget(db: sqlite3.Connection, ids: Sequence[str]) -> None:
    for one in ids:
        total, nano = db.execute("SELECT total, cost_nano FROM call_rows WHERE id = ?", (one,)).fetchone()
        db.execute(
            "UPDATE totals SET calls = calls - 1, cost_nano = cost_nano - ? WHERE id = ?", (nano, total)
        )
        db.execute("DELETE FROM call_rows WHERE id = ?", (one,))
        db.execute("DELETE FROM attempt_rows WHERE call = ?", (one,))


def test_a_process_that_was_lost_is_named(ledger: Path) -> None:
    """It wrote to a ledger of its own, of which there is only a copy from its second day."""
    fleet = Fleet("sync", World(), ledger, mode="together-serverless")
    account = Account(fleet)
    own, copy = ledger.with_name("own.sqlite"), ledger.with_name("copy.sqlite")

    async def scenario() -> None:
        apis = [fleet.client(), fleet.client(ledger=str(own))]

        async def backup(day: int) -> None:
            if day == 2:  # early in the morning, before its first call
                assert open_ledger(own).close(timeout=60)
                merge([own], copy)

        def calls(day: int) -> list[Ask]:
            theirs = [Ask(1, n * 900.0, tokens=300) for n in range(48)]
            return [*(Ask(0, n * 60.0, tokens=200) for n in range(40)), *theirs]

        await account.days(apis, calls, each_day=backup)
        await fleet.close()

    fleet.run(scenario())
    merge([copy], ledger)
    found = compared(ledger, together_report([serverless_items(account.tokens(day)) for day in range(DAYS)]))
    assert causes(found) == ["", "", "lost-process", "lost-process"]
    assert "was last heard of on 2026-11-03 at 21:4" in found[2].why


def dedicated(ledger: Path, runs: int, minutes: float) -> tuple[Account, list[list[float]]]:
    """An endpoint that is started and stopped so many times a day, and followed."""
    fleet = Fleet("sync", World(dedicated="stopped"), ledger, mode="together-dedicated")
    account = Account(fleet)
    lengths: list[list[float]] = []

    async def scenario() -> None:
        apis: list[Api] = [fleet.client(), fleet.client()]

        async def operate(day: int) -> None:
            lengths.append([])
            await apis[0].runtime.sleep(16 * 3600.0 + (day - 1) * 86_400.0 + 35_900.0 - fleet.now)
            for run in range(runs):
                fleet.world.ready_dedicated(fleet.now)
                fleet.observe(apis[0], "together-dedicated", 1)
                length = minutes * 60.0 + 7.0 * run
                await apis[0].runtime.sleep(length)
                fleet.world.stop_dedicated(fleet.now)
                fleet.observe(apis[0], "together-dedicated", 0)
                lengths[-1].append(length)
                await apis[0].runtime.sleep(600.0)

        await account.days(apis, lambda day: [Ask(n % 2, n * 5.0) for n in range(8)], each_day=operate)
        await fleet.close()

    fleet.run(scenario())
    return account, lengths


def test_the_time_of_a_machine_agrees(ledger: Path) -> None:
    account, lengths = dedicated(ledger, 3, 61.5)
    assert account.dedicated(1) == pytest.approx(sum(lengths[1]))
    found = compared(
        ledger,
        together_report([dedicated_items(Decimal(str(account.dedicated(day)))) for day in range(DAYS)]),
    )
    assert causes(found)[1:] == [""] * (DAYS - 1)
    assert (found[0].ledger, found[0].cause) == (
        None,
        "idle",
    )  # nobody knows what it was before it was followed


def test_rounding_up_to_minutes_is_named(ledger: Path) -> None:
    """Each run of a replica is billed in whole minutes."""
    _, lengths = dedicated(ledger, 4, 3.25)
    rounded = [sum(math.ceil(length / 60) * 60 for length in day) for day in lengths]
    found = compared(ledger, together_report([dedicated_items(Decimal(seconds)) for seconds in rounded]))
    assert causes(found)[1:] == ["rounding"] * (DAYS - 1)
    assert found[1].why == "16 whole minutes were billed; it ran 13.70, in 4 runs"


def test_another_price_of_a_machine_is_named(ledger: Path) -> None:
    account, _ = dedicated(ledger, 1, 90.0)
    prices = [Decimal("5.49"), Decimal("5.49"), Decimal("6.49"), Decimal("6.49")]
    items = [dedicated_items(Decimal(str(account.dedicated(n))), prices[n]) for n in range(DAYS)]
    found = compared(ledger, together_report(items))
    assert causes(found)[1:] == ["", "price", "price"]
    assert "at $6.49" in found[3].why


def test_a_machine_that_others_started_is_named(ledger: Path) -> None:
    account, _ = dedicated(ledger, 1, 90.0)
    items = [dedicated_items(Decimal(str(account.dedicated(n))) + 7200 * (n == 2)) for n in range(DAYS)]
    found = compared(ledger, together_report(items))
    assert causes(found)[1:] == ["", "outside", ""]


@pytest.mark.parametrize("followed", [True, False])
@pytest.mark.parametrize("multiplier", ["1", "1.15", "1.5", "1.75", "2.5"])
def test_a_region_multiplier_is_named(ledger: Path, followed: bool, multiplier: str) -> None:
    """Also where container-seconds are an estimate: it is the same factor each day."""
    account = modal(ledger, followed=followed)
    costs = [_modal_cost(account.modal(day)) * Decimal(multiplier) for day in range(DAYS)]
    found = compared(ledger, modal_report(costs, app="llm"))
    if multiplier == "1":
        assert causes(found) == [""] * DAYS
        assert all("an estimate" in one.why for one in found)
        return
    assert causes(found) == ["region"] * DAYS
    assert f"set modal_region_multiplier = {multiplier}" in found[0].why


def test_cpu_and_memory_that_the_ledger_leaves_out_are_named(ledger: Path) -> None:
    account = modal(ledger, followed=True)
    costs = [_modal_cost(account.modal(day)) * Decimal("1.25") for day in range(DAYS)]
    shares = {"gpu_h100": Decimal("0.8"), "cpu": Decimal("0.15"), "memory": Decimal("0.05")}
    found = compared(ledger, modal_report(costs, app="llm", **shares))
    assert causes(found) == ["cpu-memory"] * DAYS


def _modal_cost(seconds: float) -> Decimal:
    return Decimal(str(seconds)) / 3600 * H100_MODAL


def modal(ledger: Path, *, followed: bool) -> Account:
    """One server, cold each morning."""
    fleet = Fleet(
        "sync", World(modal=ModalPlan(max_containers=1)), ledger,
        mode="modal", modal_url="https://acme--llm-serve.us-east.modal.direct",
    )  # fmt: skip
    account = Account(fleet)

    async def scenario() -> None:
        apis = [fleet.client(), fleet.client()]

        async def watch(day: int) -> None:
            ten = 16 * 3600.0 + (day - 1) * 86_400.0 + 36_000.0
            await apis[0].runtime.sleep(ten - 1.0 - fleet.now)
            await fleet.follow(apis[0], "modal", ten + 3600.0, 0.5)

        await account.days(apis, morning, each_day=watch if followed else None)
        await fleet.close()

    fleet.run(scenario())
    return account


def test_idle_time_that_nobody_followed_is_named(ledger: Path) -> None:
    """The endpoint is up all day; the ledger knows what calls used of it."""
    fleet = Fleet("sync", World(), ledger, mode="together-dedicated")
    account = Account(fleet)

    async def scenario() -> None:
        apis = [fleet.client(), fleet.client()]
        await account.days(apis, morning)
        await fleet.close()

    fleet.run(scenario())
    items = [dedicated_items(Decimal(str(account.dedicated(day)))) for day in range(DAYS)]
    found = compared(ledger, together_report(items))
    assert causes(found) == ["idle"] * DAYS
    assert found[0].ledger is None


def test_what_nothing_speaks_for_is_unknown(ledger: Path) -> None:
    """Fewer tokens than the answers said: no rule explains that, and none is made up."""
    account = serverless(ledger)
    tokens = [account.tokens(day) for day in range(DAYS)]
    fewer = [(int(into * 0.9), int(out * 0.9)) for into, out in tokens]
    found = compared(ledger, together_report([serverless_items(one) for one in fewer]))
    assert causes(found) == [None] * DAYS
    assert "fewer tokens were billed" in found[0].why


def test_days_that_the_bill_does_not_have_yet_are_told(ledger: Path) -> None:
    account = serverless(ledger)
    items = [serverless_items(account.tokens(day)) for day in range(DAYS - 1)]
    assert causes(compared(ledger, together_report(items))) == ["", "", "", "not-billed-yet"]
