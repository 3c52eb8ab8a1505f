"""`hybrid-infer explain`: what the settings come to."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.places import places
from hybrid_infer.cli.terminal import AsJson, console, table, write_json
from hybrid_infer.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def explain(
    everything: Annotated[
        bool, typer.Option("--all", help="Show the settings that have their default, too.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show the settings, and where calls go.

    With each setting stands where it came from; then the place that each model has in each mode, and the stack
    that a call passes in the current one. Of secrets it shows whether they are set. Nothing is sent.
    """
    from hybrid_infer.settings import Settings

    path = config_file(config)
    settings = Settings.load(config=path)
    rows = [row for row in settings.explain() if everything or row.source != "default"]
    found = places(settings)
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
                        "serves": place.serves,
                        "address": None if place.origin is None else str(place.origin),
                        "paid_by": place.paid_by,
                        "gpu": place.gpu,
                        "gpus": place.gpus,
                        "problem": place.problem,
                    }
                    for place in found
                ],
                "description": description,
                "problem": problem,
            }
        )
        return
    out = console()
    if rows:
        made = table("setting", "value", "from")
        for row in rows:
            made.add_row(row.name, row.value, row.source)
        out.print(made)
    else:
        out.print("Every setting has its default; --all shows them.\n")
    made = table("model", "mode", "where its calls go")
    for place in found:
        current = " (current)" if place.mode == settings.mode else ""
        made.add_row(place.model or "none named", place.mode + current, str(place))
    out.print(made)
    out.print(description or f"Mode {settings.mode} cannot be used yet: {problem}", soft_wrap=True)


def _description(config: Path | None) -> tuple[str | None, str | None]:
    """`client.describe()`, or why there is no client."""
    from hybrid_infer.client import Client

    try:
        with Client(config=config) as client:
            return client.describe(), None
    except ConfigurationError as error:
        return None, str(error)
