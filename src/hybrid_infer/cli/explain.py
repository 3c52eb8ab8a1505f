"""`hybrid-infer explain`: what the settings come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_infer.calls.call import Mode
from hybrid_infer.calls.operations import OPERATIONS
from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.places import current_modes, places
from hybrid_infer.cli.terminal import AsJson, console, write_json
from hybrid_infer.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from hybrid_infer.settings.explained import Explained


MARKS: Mapping[str | None, str] = {"current": "*", "base": "*", "overflow": "+"}


def explain(
    everything: Annotated[
        bool, typer.Option("--all", help="Show the settings that have their default, too.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show the settings, and where calls go.

    With each setting stands where it came from; then the place that each model has in each mode, what the
    current one does not offer, and what a call passes there. Of secrets it shows whether they are set.
    Nothing is sent.
    """
    from hybrid_infer.settings import Settings

    path = config_file(config)
    settings = Settings.load(config=path)
    rows = [row for row in settings.explain() if everything or row.source != "default"]
    found = places(settings)
    current = current_modes(settings)
    description, problem = _description(path)
    if as_json:
        write_json(
            {
                "mode": settings.mode,
                "simulate": settings.simulate,
                "settings": [asdict(row) for row in rows],
                "models": [
                    {
                        "model": place.model,
                        "mode": place.mode,
                        "part": current.get(place.mode),
                        "serves": place.serves,
                        "address": None if place.origin is None else str(place.origin),
                        "paid_by": place.paid_by,
                        "gpu": place.gpu,
                        "gpus": place.gpus,
                        "problem": place.problem,
                    }
                    for place in found
                ],
                "operations": {spec.called: spec.modes for spec in OPERATIONS.values()},
                "description": description,
                "problem": problem,
            }
        )
        return
    out = console()
    out.print(
        "Settings" if everything else "Settings that are not the default (--all shows every one)",
        style="bold",
    )
    widths = [
        max((len(text) for text in column), default=0) for column in zip(*map(_cells, rows), strict=True)
    ]
    for row in rows:
        out.print(
            "  "
            + "  ".join(f"{text:<{width}}" for text, width in zip(_cells(row), widths, strict=True)).rstrip()
        )
    if not rows:
        out.print("  none")
    for name, of_model in groupby(found, key=lambda place: place.model):
        out.print(f"\nModel {name}" if name is not None else "\nModels that are not configured", style="bold")
        for place in of_model:
            mark = MARKS.get(current.get(place.mode), " ")
            out.print(f"{mark} {place.mode:<21}{place}")
    out.print(f"\nNot offered in mode {settings.mode}", style="bold")
    out.print(f"  {', '.join(_not_offered(current)) or 'nothing: it has every operation'}")
    title = "The current mode (*)" if settings.mode != "hybrid" else "Mode hybrid: base (*) and overflow (+)"
    out.print(f"\n{title}", style="bold")
    out.print(description or f"cannot be used yet: {problem}")


def _not_offered(current: Mapping[Mode, str]) -> list[str]:
    """The methods that none of the current modes has."""
    lacking = (spec.called for spec in OPERATIONS.values() if not any(mode in spec.modes for mode in current))
    return list(dict.fromkeys(lacking))


def _cells(row: Explained) -> tuple[str, str, str]:
    return row.name, row.value, f"from {row.source}"


def _description(config: Path | None) -> tuple[str | None, str | None]:
    """`client.describe()`, or why there is no client."""
    from hybrid_infer.client import Client

    try:
        with Client(config=config, upkeep=False) as client:
            return client.describe(), None
    except ConfigurationError as error:
        return None, str(error)
