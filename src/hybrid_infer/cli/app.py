"""The application: its commands and what they have in common."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hybrid_infer.cli.cache import cache
from hybrid_infer.cli.call import call
from hybrid_infer.cli.demo import demo
from hybrid_infer.cli.doctor import doctor
from hybrid_infer.cli.explain import explain
from hybrid_infer.cli.ledger import ledger
from hybrid_infer.cli.prices import prices
from hybrid_infer.cli.reconcile import reconcile
from hybrid_infer.cli.simulate import simulate
from hybrid_infer.cli.status import status
from hybrid_infer.cli.stop import stop
from hybrid_infer.cli.sweep import sweep
from hybrid_infer.cli.switch import switch
from hybrid_infer.cli.terminal import note
from hybrid_infer.cli.warm import warm
from hybrid_infer.errors import HybridInferError
from hybrid_infer.version import VERSION


class _Commands(TyperGroup):
    """Errors of our tree are messages, not tracebacks."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HybridInferError as error:
            note(f"error: {error}")
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # messages stay on one line, to be searched for and copied
    pretty_exceptions_enable=False,  # they print the values of variables, keys among them
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hybrid-infer {VERSION}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Inference on Together serverless, Together dedicated endpoints or Modal: change the mode, not the code.

    Begin with the command demo: it needs no key and no network. The command doctor says what is missing for
    your own providers. HYBRID_INFER_SIMULATE=1 makes every command work without them.
    """


for _command in (demo, call, explain, doctor, status, warm, stop, sweep, switch, simulate, reconcile):
    app.command()(_command)
app.add_typer(ledger, name="ledger")
app.add_typer(prices, name="prices")
app.add_typer(cache, name="cache")
