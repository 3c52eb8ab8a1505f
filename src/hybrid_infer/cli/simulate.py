"""`hybrid-infer simulate`: the simulated providers behind a real HTTP address."""

from __future__ import annotations

import math
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hybrid_infer.cli.terminal import note

if TYPE_CHECKING:
    from hybrid_infer.simulator.grpc_door import ModalDoor
    from hybrid_infer.simulator.world import World

FASTEST_FOR_MODAL = 50
"""Clients look once a real second whether a container is up; idle ones stop after 60 simulated seconds."""


def simulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 8300,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(min=0, help="Same seed and same calls, same behaviour.")] = 0,
    speed: Annotated[float, typer.Option(help="Simulated seconds per real second, above 0.")] = 1.0,
    dedicated: Annotated[
        Literal["ready", "stopped", "starting"], typer.Option(help="How the dedicated endpoint is found.")
    ] = "ready",
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What goes wrong on purpose: a TOML file, see the page on faults."),
    ] = None,
) -> None:
    """Serve the simulated providers over HTTP.

    Modal functions are served over gRPC, where `modal` is installed. Any client in any language can talk to
    them, until Ctrl-C. Stdout gets the variables to export and nothing else. To use them in the same shell:

    \b
    hybrid-infer simulate > simulator.env &
    sleep 2; . ./simulator.env
    """
    if not 0 < speed < math.inf:
        raise typer.BadParameter("must be above 0", param_hint="--speed")
    from hybrid_infer.simulator.fault_file import read_faults
    from hybrid_infer.simulator.server import exports, serve
    from hybrid_infer.simulator.world import World

    plan = None if faults is None else read_faults(faults)
    world = World(seed=seed, dedicated=dedicated, epoch=datetime.now(UTC), faults=plan)
    door = _functions_door(world, host, speed)

    def ready(bound: int) -> None:
        near = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
        for name, value in exports(bound, near).items():
            typer.echo(f"export {name}={shlex.quote(value)}")
        if door is None:
            note("no Modal functions: they need the package (pip install 'hybrid-infer[modal]')")
        else:
            for name, value in _modal_exports(door.url).items():
                typer.echo(f"export {name}={shlex.quote(value)}")
        note(f"simulated providers at http://{near}:{bound}, {speed:g} times real time; Ctrl-C ends them")
        if plan is not None:
            rules = len(plan.rules)
            note(f"{rules} rule{'' if rules == 1 else 's'} of faults from {faults}")
        if speed > FASTEST_FOR_MODAL:
            note(
                f"above {FASTEST_FOR_MODAL:g} times real time an idle Modal container has stopped again "
                "before a client looks a second time: Modal may stay cold"
            )

    try:
        serve(world, host=host, port=port, speed=speed, ready=ready)
    except KeyboardInterrupt:
        note("")
    finally:
        if door is not None:
            door.stop()


def _functions_door(world: World, host: str, speed: float) -> ModalDoor | None:
    """The door for Modal's own package, at a free port; None where it is not installed."""
    try:
        from hybrid_infer.simulator.grpc_door import ModalDoor
    except ImportError:
        return None
    return ModalDoor(world.functions, host=host, speed=speed).start()


def _modal_exports(url: str) -> dict[str, str]:
    """The variables that lead Modal's package to the door, whatever its own configuration says."""
    return {
        "MODAL_SERVER_URL": url,
        "MODAL_TOKEN_ID": "ak-simulated",
        "MODAL_TOKEN_SECRET": "as-simulated",
    }
