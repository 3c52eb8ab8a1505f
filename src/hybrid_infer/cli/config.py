"""The file of settings that a command reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hybrid_infer.cli.terminal import note
from hybrid_infer.errors import ConfigurationError

HERE = Path("hybrid_infer.toml")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=f"File with settings; without it HYBRID_INFER_CONFIG, then ./{HERE} if there is one.",
    ),
]


def config_file(given: Path | None) -> Path | None:
    """The file for `config=`.

    The one in the working directory is read by the command line alone, never by the library, and it says so.

    Raises:
        ConfigurationError: that one names hooks. It may be anybody's, and hooks are code that runs.
    """
    if given is not None or os.environ.get("HYBRID_INFER_CONFIG") or not HERE.is_file():
        return given
    note(f"reading ./{HERE}")
    if "hooks" in _read(HERE):
        raise ConfigurationError(
            f"./{HERE}: hooks: names code to run, which a file that was not asked for may not do: "
            f"name the file with --config {HERE}, or take the table out"
        )
    return HERE


def _read(path: Path) -> dict[str, object]:
    """What stands in the file; nothing where it cannot be read, which the settings tell better."""
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
