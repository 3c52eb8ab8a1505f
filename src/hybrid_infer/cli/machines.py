"""What the commands about machines have in common: options, a line for each step, and JSON."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_infer.calls.call import ModeChoice
from hybrid_infer.cli.terminal import note

if TYPE_CHECKING:
    from datetime import datetime

    from hybrid_infer.endpoints.state import EndpointEvent, EndpointState, OnEvent
    from hybrid_infer.stores.leases.base import Lease

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model of your settings, or the provider's own name of one.")
]
InMode = Annotated[
    ModeChoice | None,
    typer.Option("--mode", help="Where it runs, instead of the mode of your settings; of hybrid, the base."),
]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(text: str, option: str) -> float:
    """Seconds from ``90``, ``90s``, ``30m``, ``2h`` or ``1d``."""
    found = _SPAN.fullmatch(text.strip().lower())
    seconds = 0.0 if found is None else float(found[1]) * _SECONDS[found[2]]
    if seconds <= 0:
        raise typer.BadParameter(f'"{text}" is no span of time such as 90s, 30m, 2h or 1d', param_hint=option)
    return seconds


@contextmanager
def progress(*, quiet: bool) -> Generator[OnEvent | None]:
    """Shows what is told of a machine, on stderr: a bar in a terminal, else a line for each step. `quiet`
    shows nothing."""
    if quiet:
        yield None
    elif not sys.stderr.isatty():
        yield lambda event: note(str(event))
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("asking the provider", total=None)

            def told(event: EndpointEvent) -> None:
                state = getattr(event, "state", None)
                said = state.said if state is not None else getattr(event, "what", "")
                bar.update(task, description=said)

            yield told


def state_line(state: EndpointState) -> str:
    """A machine in one line."""
    ready, wanted = state.replicas.ready, state.replicas.wanted
    count = "" if ready is None else f", {ready} of {wanted} replicas" if wanted else f", {ready} replicas"
    price = "" if state.price is None else f", {state.price.usd:.2f} USD an hour each"
    return f"{state.name}: {state.life}{count}{price} ({state.said})"


def state_json(state: EndpointState | None) -> dict[str, Any] | None:
    """A machine, for scripts."""
    if state is None:
        return None
    return {
        "name": state.name,
        "life": state.life,
        "replicas": asdict(state.replicas),
        "minimum": state.minimum,
        "maximum": state.maximum,
        "routed": state.routed,
        "usd_per_hour_each": None if state.price is None else float(state.price.usd),
        "said": state.said,
        "since": _iso(state.since),
        "at": _iso(state.at),
    }


def lease_json(lease: Lease) -> dict[str, Any]:
    """A lease, for scripts; `expires` in UTC."""
    from datetime import UTC, datetime

    until = datetime.fromtimestamp(lease.expires, UTC)
    return {
        "machine": lease.machine,
        "holder": lease.holder,
        "replicas": lease.replicas,
        "why": lease.why,
        "kind": lease.kind,
        "expires": until.isoformat(timespec="seconds"),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
