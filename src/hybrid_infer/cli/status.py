"""`hybrid-infer status`: machines, and what they cost now and today."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.machines import lease_json, seconds_of, state_json
from hybrid_infer.cli.terminal import AsJson, console, write_json

if TYPE_CHECKING:
    from decimal import Decimal

    from rich.console import Group

    from hybrid_infer.endpoints.state import Replicas
    from hybrid_infer.warming.status import MachineStatus


def status(
    once: Annotated[bool, typer.Option("--once", help="Look once, also in a terminal.")] = False,
    every: Annotated[str, typer.Option(metavar="TIME", help="How often to look, in a terminal.")] = "10s",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show machines: their state, and what they cost.

    They are those of all models of your settings, in all modes. In a terminal it looks again and again, until
    Ctrl-C; else, and with --once or --json, once. It starts nothing: a server on Modal is not asked, since
    that would start it.

    What today (UTC) has cost, and the share of it that nobody used, come from the ledger, where there is one.
    """
    from hybrid_infer.client import Client

    pause = seconds_of(every, "--every")
    with Client(config=config_file(config), upkeep=False) as client:
        if as_json:
            write_json([_json(row) for row in client.status()])
            return
        if once or not sys.stdout.isatty():
            _show(client.status())
            return
        from rich.live import Live

        try:
            with Live(_view(client.status()), auto_refresh=False, screen=False) as live:
                while True:
                    _sleep(pause)
                    live.update(_view(client.status()), refresh=True)
        except KeyboardInterrupt:
            return


def _sleep(seconds: float) -> None:
    import time

    time.sleep(seconds)


def _show(rows: Sequence[MachineStatus]) -> None:
    out = console()
    if not rows:
        out.print("no model of your settings has a machine: see mode together-dedicated and mode modal")
        return
    out.print(_view(rows))


def _view(rows: Sequence[MachineStatus]) -> Group:
    """The table, and below it what the provider says of each machine, and who needs it."""
    from rich.box import SIMPLE
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    made.add_column("machine", overflow="fold")
    made.add_column("state", no_wrap=True)
    for name in ("replicas", "in\nflight", "USD an\nhour now", "USD\ntoday", "idle\ntoday"):
        made.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        state = row.state
        made.add_row(
            Text(row.name),
            "unknown" if state is None else state.life,
            "-" if state is None else _replicas(state.replicas),
            str(row.in_flight),
            _usd(row.usd_per_hour),
            _usd(row.usd_today),
            "unknown" if row.idle_share is None else f"{row.idle_share:.0%}",
        )
    return Group(made, Text(), *(Text(line) for row in rows for line in _said(row)))


def _replicas(replicas: Replicas) -> str:
    ready, wanted = replicas.ready, replicas.wanted
    return "-" if ready is None else str(ready) if not wanted else f"{ready}/{wanted}"


def _said(row: MachineStatus) -> list[str]:
    called = "" if row.model in (None, row.name.partition("/")[2]) else f" ({row.model})"
    said = row.problem or ("" if row.state is None else row.state.said)
    needed = [f"  needed by {lease.holder} ({lease.why})" for lease in row.leases]
    return [said if said.startswith(row.name) else f"{row.name}{called}: {said}", *needed]


def _usd(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{amount:.2f}"


def _json(row: MachineStatus) -> dict[str, Any]:
    return {
        "name": row.name,
        "mode": row.mode,
        "model": row.model,
        "state": state_json(row.state),
        "in_flight": row.in_flight,
        "usd_per_hour": None if row.usd_per_hour is None else float(row.usd_per_hour),
        "usd_today": None if row.usd_today is None else float(row.usd_today),
        "idle_share": row.idle_share,
        "leases": [lease_json(lease) for lease in row.leases],
        "problem": row.problem,
    }
