"""What goes to the terminal: answers to stdout, all that is said about them to stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from decimal import Decimal

    from rich.console import Console
    from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def note(text: str) -> None:
    """A line for the person at the terminal."""
    typer.echo(text, err=True)


def write_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def console() -> Console:
    """Stdout for tables. Nothing that is printed counts as markup."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns named in `right` are aligned there. Long values take several lines."""
    from rich.box import SIMPLE
    from rich.table import Table

    made = Table(box=SIMPLE, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def dollars(amount: Decimal) -> str:
    """USD with four decimals, or with three significant digits where that takes more."""
    return f"${amount:.{max(4, 2 - amount.adjusted()) if amount else 0}f}"
