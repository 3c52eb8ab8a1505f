"""`hybrid-infer stop`: stop a machine."""

from __future__ import annotations

from typing import Annotated

import typer

from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.machines import InMode, Model, progress, seconds_of, state_json, state_line
from hybrid_infer.cli.terminal import AsJson, write_json


def stop(
    model: Model,
    force: Annotated[bool, typer.Option("--force", help="Also where other processes need it.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has stopped.")] = True,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for that.")] = "15m",
    mode: InMode = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Stop the machine of a model; what it works on is finished.

    Where other processes need it, nothing is done, and the exit code is 1: the message says who they are, and
    until when. With --force they lose it.
    """
    from hybrid_infer.client import Client

    longest = seconds_of(timeout, "--timeout")
    path = config_file(config)
    with Client(mode=mode, config=path, upkeep=False) as client, progress(quiet=as_json) as told:
        state = client.stop(model, force=force, wait=wait, timeout=longest, on_event=told)
    if as_json:
        write_json(state_json(state))
    else:
        typer.echo(state_line(state))
