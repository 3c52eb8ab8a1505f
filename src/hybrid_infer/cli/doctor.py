"""`hybrid-infer doctor`: what is missing, and how to mend it."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.terminal import AsJson, console, write_json

if TYPE_CHECKING:
    from hybrid_infer.cli.checks import Check
    from hybrid_infer.settings import Settings

MARKS = {"ok": ("ok", "green"), "missing": ("-", "dim"), "problem": ("!!", "bold red")}


def doctor(
    online: Annotated[
        bool,
        typer.Option("--online", help="Also connect to the addresses of all configured modes, and hang up."),
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Find what is missing, and how to mend it.

    It looks at the installation, the settings and every mode. Exit code 1 if the current mode cannot work.
    Keys are never shown, and without --online nothing leaves this machine.
    """
    from hybrid_infer.cli import checks

    path = config_file(config)
    settings, found = checks.settings_checks(path)
    if settings is not None:
        found += checks.mode_checks(settings, path)
    found += checks.network_checks(os.environ, settings)
    if settings is not None and online:
        found += _reach(settings)
    found = [checks.python(), *checks.extras(), *found]
    works = all(check.state != "problem" for check in found)
    if as_json:
        write_json({"works": works, "checks": [asdict(check) for check in found]})
    else:
        _show(found)
    if not works:
        raise typer.Exit(1)


def _reach(settings: Settings) -> list[Check]:
    """One check for each address. One that only other modes use is no problem of the current mode."""
    from hybrid_infer.cli.checks import Check
    from hybrid_infer.cli.places import current_modes, places
    from hybrid_infer.cli.reach import reach

    if settings.simulate:
        return [Check(subject="reach", state="ok", finding="not tried: providers are simulated")]
    known = [place for place in places(settings) if place.origin is not None]
    current = {place.origin for place in known if place.mode in current_modes(settings)}
    tried = [
        (origin, reach(origin, os.environ, timeout=settings.connect_timeout))
        for origin in dict.fromkeys(place.origin for place in known)
        if origin is not None
    ]
    return [
        check if origin in current or check.state == "ok" else replace(check, state="missing")
        for origin, check in tried
    ]


def _show(found: list[Check]) -> None:
    out = console()
    for check in found:
        mark, style = MARKS[check.state]
        out.print(f"{mark:<4}", style=style, end="")
        out.print(f"{check.subject:<25} {check.finding}")
        if check.fix is not None:
            out.print(f"{'':<30}-> {check.fix}")
    problems = sum(check.state == "problem" for check in found)
    out.print(
        f"\nThe current mode cannot work: {problems} to mend."
        if problems
        else "\nThe current mode can be used."
    )
