"""The file of settings that a command reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hybrid_infer.cli.terminal import note

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
    """
    if given is not None or os.environ.get("HYBRID_INFER_CONFIG") or not HERE.is_file():
        return given
    note(f"reading ./{HERE}")
    return HERE
