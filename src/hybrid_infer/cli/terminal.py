"""What goes to the terminal: answers to stdout, all that is said about them to stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from decimal import Decimal

    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def note(text: str) -> None:
    """A line for the person at the terminal."""
    typer.echo(text, err=True)


def write_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def console() -> Console:
    """Stdout, for tables and styles. Nothing that is printed counts as markup, and lines stay whole."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False, soft_wrap=True)


def decimals(amount: Decimal) -> str:
    """An amount with four decimals, or with three significant digits where that takes more."""
    return f"{amount:.{max(4, 2 - amount.adjusted()) if amount else 4}f}"
