"""`hybrid-infer reconcile`: the providers' bills against the ledger, and what a drift comes from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_infer.cli.config import Config
from hybrid_infer.cli.ledger import File, ledger_path, settings_of
from hybrid_infer.cli.terminal import AsJson, console, decimals, note, write_json
from hybrid_infer.errors import APIError, ConfigurationError

if TYPE_CHECKING:
    from hybrid_infer.calls.bills import Billed, Recorded
    from hybrid_infer.prices.bills import Bill
    from hybrid_infer.prices.reconcile import Drift
    from hybrid_infer.settings import Settings


def reconcile(
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="DAY", help="First day, UTC; without it the first of this month."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="Last day, UTC; without it yesterday.")
    ] = None,
    bills: Annotated[
        list[Path] | None,
        typer.Option(
            "--bill",
            metavar="FILE",
            help="A bill that was exported, instead of asking the providers; may be given several times.",
        ),
    ] = None,
    named: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            metavar="NAME=MODE/MODEL",
            help="What a name in the bill is in the ledger, e.g. dep_1a2b=together-dedicated/acme/assistant.",
        ),
    ] = None,
    as_json: AsJson = False,
    file: File = None,
    config: Config = None,
) -> None:
    """Compare the providers' bills with the ledger.

    By day, mode and model. Together is asked with TOGETHER_API_KEY, Modal through the package `modal`. Where
    the two differ, the likely cause is named, and what speaks for it.
    """
    from hybrid_infer.prices.chosen import machine_division
    from hybrid_infer.prices.matching import matched
    from hybrid_infer.prices.reconcile import reconcile as compare
    from hybrid_infer.stores.ledger.days import days
    from hybrid_infer.stores.ledger.reader import ledger_files

    names = _named(named or [])
    settings = settings_of(config)
    today = datetime.now(UTC).date()
    first, after = _range(since, until, today)
    files = ledger_files(ledger_path(file, settings))
    recorded, gaps = days(files, first, after, divide=machine_division(settings), simulated=settings.simulate)
    bill = _bill(settings, bills or [], recorded, first, after)
    lines = [line for line in bill.lines if first <= line.day < after]
    known, others = matched(lines, recorded, named=names)
    found = compare(
        recorded,
        known,
        gaps,
        covers=bill.covers,
        region_multiplier=settings.modal_region_multiplier,
    )
    if as_json:
        write_json(_json(found, others))
    else:
        _show(found, others)


def _range(since: str | None, until: str | None, today: date) -> tuple[date, date]:
    """The first day, and the one after the last."""
    last = _day(until, "--to") or today - timedelta(days=1)
    first = _day(since, "--from") or min(today, last).replace(day=1)
    if last < first:
        raise typer.BadParameter(f"{last} is before {first}", param_hint="--to")
    return first, last + timedelta(days=1)


def _day(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f'"{text}" is no day such as 2026-10-01', param_hint=option) from None


def _named(texts: Sequence[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for text in texts:
        name, _, place = text.partition("=")
        mode, _, model = place.partition("/")
        if not (name and mode and model):
            raise typer.BadParameter(f'"{text}" is not NAME=MODE/MODEL', param_hint="--as")
        found[name] = mode, model
    return found


def _bill(
    settings: Settings, files: Sequence[Path], recorded: Sequence[Recorded], first: date, after: date
) -> Bill:
    """From the files, or from each provider that the ledger has calls to."""
    from hybrid_infer.cli import bills
    from hybrid_infer.prices.bills import Bill

    if files:
        return bills.bill_of_files(files)
    if settings.simulate:
        raise ConfigurationError("simulated providers send no bills: give one with --bill")
    modes = {one.mode for one in recorded}
    bill = Bill()
    for name, fetch, wanted in (
        ("Together", bills.together_bill, any(mode.startswith("together") for mode in modes)),
        ("Modal", bills.modal_bill, "modal" in modes),
    ):
        if not wanted:
            continue
        try:
            bill.extend(fetch(settings, first, after))
        except (APIError, ConfigurationError) as error:
            note(f"{name}: not compared: {error}")
    if not bill.covers:
        raise ConfigurationError(
            "there is no bill to compare with"
            + ("" if modes else f": the ledger has no calls from {first} to {after - timedelta(days=1)}")
        )
    return bill


def _json(found: Sequence[Drift], others: Sequence[Billed]) -> dict[str, Any]:
    return {
        "rows": [
            {
                "day": one.day.isoformat(),
                "mode": one.mode,
                "model": one.model,
                "ledger_usd": None if one.ledger is None else float(one.ledger),
                "billed_usd": None if one.billed is None else float(one.billed),
                "drift_usd": float(one.drift),
                "agrees": one.agrees,
                "cause": one.cause,
                "why": one.why,
            }
            for one in found
        ],
        "not_compared": [
            {
                "day": line.day.isoformat(),
                "provider": line.provider,
                "product": line.product,
                "names": sorted(line.names),
                "billed_usd": float(line.cost),
            }
            for line in others
        ],
    }


def _show(found: Sequence[Drift], others: Sequence[Billed]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    out = console()
    if not found:
        out.print("There is nothing to compare.")
    else:
        table = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
        for name in ("day", "mode", "model", "ledger\nUSD", "billed\nUSD", "drift\nUSD", "%", "cause"):
            right = name in ("ledger\nUSD", "billed\nUSD", "drift\nUSD", "%")
            table.add_column(name, justify="right" if right else "left", no_wrap=True)
        for one in found:
            table.add_row(
                one.day.isoformat(),
                one.mode,
                one.model,
                _amount(one.ledger),
                _amount(one.billed),
                "" if one.agrees else decimals(one.drift),
                "" if one.agrees or one.share is None else f"{one.share:+.1%}",
                "" if one.agrees else one.cause or "unknown",
            )
        out.width = max(out.width, 250)
        out.print(table)
        reasons = dict.fromkeys(
            f"{one.cause or 'unknown'}: {one.mode}/{one.model}: {one.why}." for one in found if not one.agrees
        )
        for reason in reasons:
            out.print(reason)
        ledger = sum((one.ledger or Decimal(0) for one in found), Decimal(0))
        billed = sum((one.billed or Decimal(0) for one in found), Decimal(0))
        differ = sum(not one.agrees for one in found)
        out.print(
            f"The ledger has ${decimals(ledger)}, the bills ${decimals(billed)}; "
            f"{differ} of {len(found)} lines differ."
        )
    if others:
        amount = sum((line.cost for line in others), Decimal(0))
        names = ", ".join(
            dict.fromkeys(f"{line.product} ({', '.join(sorted(line.names))})" for line in others)
        )
        note(f"Not compared, since the ledger has nothing of these names: ${decimals(amount)}: {names}.")
        note("Say what they are with --as NAME=MODE/MODEL.")


def _amount(amount: Decimal | None) -> str:
    return "-" if amount is None else decimals(amount)
