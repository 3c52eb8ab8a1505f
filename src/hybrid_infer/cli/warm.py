"""`hybrid-infer warm`: bring a machine up, and keep it for a while."""

from __future__ import annotations

from typing import Annotated

import typer

from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.machines import InMode, Model, progress, seconds_of, state_json, state_line
from hybrid_infer.cli.terminal import AsJson, note, write_json


def warm(
    model: Model,
    replicas: Annotated[int, typer.Option(min=1, help="At least so many.")] = 1,
    span: Annotated[
        str,
        typer.Option("--for", metavar="TIME", help="How long it stays up from now on, e.g. 30m, 2h or 1d."),
    ] = "1h",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until it answers requests; the default.")
    ] = True,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for that.")] = "30m",
    mode: InMode = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Bring up the machine of a model, and wait until it answers.

    It stays up for the time of --for, though this command ends, and longer where others need it. After that
    the next process that uses hybrid_infer for machines takes it down, or the command sweep: run that from
    time to time where no other process does.

    The exit code is 0 once it answers (with --no-wait: once the provider was told), else 1.
    """
    from hybrid_infer.client import Client

    keep, longest = seconds_of(span, "--for"), seconds_of(timeout, "--timeout")
    path = config_file(config)
    with Client(mode=mode, config=path, upkeep=False) as client, progress(quiet=as_json) as told:
        state = client.warm(model, replicas=replicas, wait=wait, timeout=longest, keep=keep, on_event=told)
    if as_json:
        write_json(state_json(state))
        return
    typer.echo(state_line(state))
    if state.price is not None:
        note(
            f"it stays up for {span}; then a sweep takes it down, and hybrid-infer stop {model} does at once"
        )
