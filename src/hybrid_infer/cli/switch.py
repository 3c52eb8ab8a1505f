"""`hybrid-infer switch`: get another mode ready and verified, so that processes can be moved there."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_infer.calls.call import ModeChoice
from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.terminal import AsJson, console, decimals, note, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hybrid_infer.migrating.plan import MigrateOptions, MigrationPlan, Place
    from hybrid_infer.migrating.report import MigrationReport
    from hybrid_infer.migrating.verify import Limits, Row, Verification

_SHOWN = 60
"""Characters of a prompt that are shown."""


def switch(
    target: Annotated[
        ModeChoice | None, typer.Argument(help="The mode to move to; --resume and --undo know it.")
    ] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan", help="Say what would be done, and do nothing.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Warm, verify, and say how to move.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what is unfinished: also stop the old machine.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what is unfinished.")] = False,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help='JSONL of {"messages": […]} to compare both modes by.')
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="How far it may be off: similarity, length, tolerated, latency, cost; =none for no limit.",
        ),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Compare both modes.")] = True,
    steps: Annotated[
        str, typer.Option(metavar="PERCENT,…", help="Of the processes or calls.")
    ] = "5,25,50,100",
    dwell: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Of each step.")] = 300.0,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Replicas that stay up in the new mode.")
    ] = None,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Do not stop the old machine.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Plan, prepare, finish or undo a move to another mode.

    --apply brings the machine of the new mode up, asks both modes the same, and compares; then it says what
    to export to move your processes, some of them first. This command cannot reach into them. When all are
    moved, --resume stops the old machine, unless one of them still holds it. --undo takes all of it back.
    An application that calls client.migrate() moves its own calls step by step.
    """
    from hybrid_infer.client import Client
    from hybrid_infer.migrating.errors import MigrationError

    if sum((plan_only, apply, resume, undo)) != 1:
        raise typer.BadParameter("give one of --plan, --apply, --resume and --undo")
    if target is None and (plan_only or apply):
        raise typer.BadParameter("name the mode to move to", param_hint="TARGET")
    options: MigrateOptions = {
        "prompts": prompts,
        "limits": _limits(limit or []),
        "verify": verify,
        "steps": steps,
        "dwell": dwell,
        "replicas": replicas,
        "keep_old": keep_old,
        "shift": False,
    }
    with Client(config=config_file(config), upkeep=False) as client:
        if plan_only and target is not None:
            _show_plan(client.migration_plan(target, **options), as_json=as_json)
            return
        if not as_json:
            options["on_progress"] = lambda progress: note(str(progress))
        try:
            report = client.migrate(target, resume=resume, undo=undo, **options)
        except MigrationError as error:
            if error.report is None:
                raise
            _show(error.report, as_json=as_json)
            if as_json:
                raise typer.Exit(1) from None
            raise
    _show(report, as_json=as_json)


def _limits(given: list[str]) -> Limits:
    from hybrid_infer.migrating.verify import Limits

    found: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            found[name] = None if value == "none" and name != "tolerated" else float(value)
            replace(Limits(), **{name: found[name]})
        except (TypeError, ValueError):
            raise typer.BadParameter(
                f'"{text}" is no limit such as latency=3 or cost=none', param_hint="--limit"
            ) from None
    return Limits(**found)


def _show_plan(plan: MigrationPlan, *, as_json: bool) -> None:
    now, then = _hourly(plan.old), _hourly(plan.new)
    if as_json:
        shape = asdict(plan)
        for place in (*shape["old"], *shape["new"]):
            price = place["usd_per_hour"]
            place["usd_per_hour"] = None if price is None else float(price)
        write_json({**shape, "exports": _exports(plan.after)})
        return
    out = console()
    out.print(f"From {plan.before} to {plan.after}", style="bold")
    for title, places, price in (("now ", plan.old, now), ("then", plan.new, then)):
        for place in places:
            out.print(f"  {title}  {place.target}: {_price(place)}")
        if len(places) > 1:
            out.print(f"  {title}  together: {price}")
    out.print("\nWhat --apply and --resume would do", style="bold")
    for line in plan.todo:
        out.print(f"  {line}")
    out.print("\nWhat cannot be known before", style="bold")
    for line in plan.unknown:
        out.print(f"  {line}")


def _price(place: Place) -> str:
    if not place.by_time:
        return "not paid by time"
    if place.usd_per_hour is None:
        return "price unknown"
    return f"${decimals(place.usd_per_hour)} an hour for each replica that is up"


def _hourly(places: Sequence[Place]) -> str:
    prices = [place.usd_per_hour for place in places if place.by_time]
    known = [price for price in prices if price is not None]
    if len(known) < len(prices):
        return "unknown"
    return f"${decimals(sum(known[1:], known[0]))} an hour, one replica each" if known else "not paid by time"


def _show(report: MigrationReport, *, as_json: bool) -> None:
    moving = report.result == "handed over"
    if as_json:
        write_json(
            {
                "result": report.result,
                "before": report.before,
                "after": report.after,
                "models": report.models,
                "reasons": report.reasons,
                "warnings": report.warnings,
                "seconds": report.seconds,
                "unfinished": report.unfinished,
                "verification": None if report.verification is None else _verified(report.verification),
                "exports": _exports(report.after) if moving else None,
            }
        )
        return
    out = console()
    out.print(f"{report.result}: {report.before} to {report.after}", style="bold")
    if report.verification is not None:
        for number, row in enumerate(report.verification.rows, 1):
            out.print(f"  {number}  {_row(row)}")
    for warning in report.warnings:
        note(f"warning: {warning}")
    if moving:
        out.print("\nProcesses that are started with this go to the new mode; begin with a part of them:")
        for name, value in _exports(report.after).items():
            out.print(f"  export {name}={value}")
    if report.unfinished:
        out.print("When all are moved: hybrid-infer switch --resume")
        out.print("To take it back:    hybrid-infer switch --undo")


def _exports(mode: ModeChoice) -> dict[str, str]:
    return {"HYBRID_INFER_MODE": mode}


def _row(row: Row) -> str:
    if row.problems:
        return "; ".join(row.problems)
    if row.old.error is not None:
        return f"not compared: the old mode does not answer ({row.old.error})"
    parts = [
        ("alike", row.similarity),
        ("times the length", row.length_ratio),
        ("times the time", row.latency_ratio),
        ("times the cost", row.cost_ratio),
    ]
    return ", ".join(f"{value:.2f} {name}" for name, value in parts if value is not None)


def _verified(found: Verification) -> dict[str, Any]:
    return {
        "passed": found.passed,
        "reasons": found.reasons,
        "similarity": found.similarity,
        "length_ratio": found.length_ratio,
        "latency_ratio": found.latency_ratio,
        "cost_ratio": found.cost_ratio,
        "rows": [
            {
                "prompt": str(row.prompt.messages[-1].get("content"))[:_SHOWN],
                "similarity": row.similarity,
                "length_ratio": row.length_ratio,
                "latency_ratio": row.latency_ratio,
                "cost_ratio": row.cost_ratio,
                "problems": row.problems,
            }
            for row in found.rows
        ],
    }
