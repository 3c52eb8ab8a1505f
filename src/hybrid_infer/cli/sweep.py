"""`hybrid-infer sweep`: take down what processes left up that died."""

from __future__ import annotations

import typer

from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.machines import lease_json
from hybrid_infer.cli.terminal import AsJson, note, write_json


def sweep(as_json: AsJson = False, config: Config = None) -> None:
    """Take down machines that nobody needs any more.

    A process that needs a machine writes a lease, and renews it. Where one died, or only wanted it for a
    while, the lease ends, and this restores the machine's minimum of before, unless somebody else changed it
    meanwhile. Harmless at any time: run it from cron, with the settings and credentials of your application.

    The exit code is 1 where a machine could not be seen to.
    """
    from hybrid_infer.client import Client

    with Client(config=config_file(config), upkeep=False) as client:
        swept = client.sweep()
    if as_json:
        write_json(
            {
                "dropped": [lease_json(lease) for lease in swept.dropped],
                "changes": [
                    {
                        "machine": change.machine,
                        "before": change.before,
                        "after": change.after,
                        "warning": change.warning,
                    }
                    for change in swept.changes
                ],
                "problems": list(swept.problems),
            }
        )
    else:
        for lease in swept.dropped:
            typer.echo(f"{lease.machine}: the lease of {lease.holder} ({lease.why}) had ended")
        for change in swept.changes:
            if change.after is not None:
                typer.echo(f"{change.machine}: minimum {change.after}, before {change.before}")
            if change.warning is not None:
                note(f"{change.machine}: {change.warning}")
        for problem in swept.problems:
            note(f"not seen to: {problem}")
        if not swept.dropped and not swept.changes and not swept.problems:
            typer.echo("nothing to do")
    if swept.problems:
        raise typer.Exit(1)
