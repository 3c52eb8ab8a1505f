"""The command line, `hybrid-infer`: one command a file. What a command needs loads when it runs."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from hybrid_infer.version import VERSION


def main() -> None:
    """The console script."""
    if sys.argv[1:] == ["--version"]:  # works without the extra, and at once
        sys.stdout.write(f"hybrid-infer {VERSION}\n")
        return
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # A terminal may not know what a model writes: better a question mark than a lost answer.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        from hybrid_infer.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit('the command line needs typer and rich: pip install "hybrid-infer[cli]"')
    app(prog_name="hybrid-infer")
