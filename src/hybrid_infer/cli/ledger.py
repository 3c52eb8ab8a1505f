"""`hybrid-infer ledger`: what calls took and cost, from the file that HYBRID_INFER_LEDGER names."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from hybrid_infer.calls.money import usd
from hybrid_infer.calls.records import unix_ns
from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.terminal import AsJson, console, decimals, note, write_json
from hybrid_infer.errors import ConfigurationError

if TYPE_CHECKING:
    from hybrid_infer.calls.machines import Share
    from hybrid_infer.settings import Settings
    from hybrid_infer.stores.ledger.machines import Machine
    from hybrid_infer.stores.ledger.summary import Line, Summary

ledger = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Read the ledger: what calls took and cost. HYBRID_INFER_LEDGER=FILE switches it on.",
)

File = Annotated[
    Path | None,
    typer.Option(
        "--ledger",
        metavar="FILE",
        help="The ledger; without it the one that HYBRID_INFER_LEDGER names.",
    ),
]

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d)(?::00)?)?Z?")


@ledger.command()
def summary(
    by: Annotated[
        Literal["mode", "model", "purpose", "day"] | None,
        typer.Option(help="One line for each; without it one for all."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Calls from this day or hour on, UTC: 2026-10-01, 2026-10-01T14."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Calls before this day or hour, UTC.")
    ] = None,
    as_json: AsJson = False,
    file: File = None,
    config: Config = None,
) -> None:
    """Add up calls, tokens and cost.

    Cost is of the calls whose cost is known; how many have none stands beside it. Where several processes
    used one machine at a time, its time is divided anew among all of them, and the summary says so. Files
    that became full count too.
    """
    from hybrid_infer.prices.chosen import machine_division
    from hybrid_infer.stores.ledger.reader import ledger_files
    from hybrid_infer.stores.ledger.summary import summarise

    settings = settings_of(config)
    found = summarise(
        ledger_files(ledger_path(file, settings)),
        divide=machine_division(settings),
        by=by,
        since=_moment(since, "--since"),
        until=_moment(until, "--until"),
    )
    if as_json:
        write_json(_json(found, by))
    else:
        _show(found, by)


@ledger.command()
def machines(
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From this day or hour on, UTC: 2026-10-01, 2026-10-01T14."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before this day or hour, UTC.")] = None,
    as_json: AsJson = False,
    file: File = None,
    config: Config = None,
) -> None:
    """Show what machines cost that are paid by time: used, cold starts, idle.

    A machine's time is divided among the calls of all processes. Where nobody told its state, what it cost
    between calls is unknown, or estimated: the command says which.
    """
    from hybrid_infer.prices.chosen import machine_division
    from hybrid_infer.stores.ledger.machines import machines
    from hybrid_infer.stores.ledger.reader import ledger_files

    settings = settings_of(config)
    first, last = _moment(since, "--since"), _moment(until, "--until")
    if (first is None) != (last is None):
        raise typer.BadParameter("give both --since and --until, or neither")
    marks = () if first is None or last is None else (unix_ns(first), unix_ns(last))
    files = ledger_files(ledger_path(file, settings))
    found = list(machines(files, marks, divide=machine_division(settings)))
    if as_json:
        write_json([_machine_json(machine) for machine in found])
    else:
        _show_machines(found)


@ledger.command()
def export(
    format: Annotated[
        Literal["csv", "jsonl"], typer.Option("--format", help="A table, or a line of JSON a row.")
    ],
    rows: Annotated[Literal["calls", "attempts", "corrections"], typer.Option(help="Which rows.")] = "calls",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write, instead of standard output.")
    ] = None,
    file: File = None,
    config: Config = None,
) -> None:
    """Write all rows, for other programs.

    Names and units are explained in the documentation of the ledger. Nothing of what was said in a call is in
    the ledger.
    """
    from hybrid_infer.stores.ledger.export import export_columns, export_rows
    from hybrid_infer.stores.ledger.reader import LedgerReader, ledger_files

    columns = export_columns(rows)
    with _opened(output) as out:
        write = csv.writer(out, lineterminator="\n").writerow
        if format == "csv":
            write(columns)
        for path in ledger_files(_ledger(file, config)):
            with LedgerReader(path) as reader, _progress(reader.count(), path.name) as advance:
                for number, row in enumerate(export_rows(reader, rows), 1):
                    if format == "csv":
                        write([f"{cell:f}" if isinstance(cell, Decimal) else cell for cell in row])
                    else:
                        out.write(_line(dict(zip(columns, row, strict=True))))
                    if number % 1000 == 0:
                        advance(1000)


@ledger.command()
def merge(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The ledgers to read.")],
    into: Annotated[Path, typer.Option(metavar="FILE", help="The ledger to add them to, made if need be.")],
    as_json: AsJson = False,
) -> None:
    """Add ledgers to one.

    What is there already is left as it is, so that a merge may be repeated. Only the files named are read.
    """
    from hybrid_infer.stores.ledger.merging import merge
    from hybrid_infer.stores.ledger.reader import LedgerReader

    counted = 0
    for path in files:
        with LedgerReader(path) as reader:
            counted += reader.count()
    with _progress(counted, "merging") as advance:
        merged = merge(files, into, progress=advance)
    if as_json:
        write_json(asdict(merged))
    else:
        typer.echo(f"{merged.written} records written to {into}, {merged.known} were there already")


def _ledger(given: Path | None, config: Path | None) -> Path:
    return given if given is not None else ledger_path(None, settings_of(config))


def settings_of(config: Path | None) -> Settings:
    from hybrid_infer.settings import Settings

    return Settings.load(config=config_file(config))


def ledger_path(given: Path | None, settings: Settings) -> Path:
    """The ledger that a command reads.

    Raises:
        ConfigurationError: none is named.
    """
    if given is not None:
        return given
    path = settings.ledger
    if path is None:
        raise ConfigurationError(
            "there is no ledger: name it with --ledger FILE, or set HYBRID_INFER_LEDGER=FILE, which also "
            "switches it on"
        )
    return Path(path)


def _moment(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    parts = _MOMENT.fullmatch(text.strip())
    try:
        if parts is None:
            raise ValueError
        return datetime.fromisoformat(f"{parts[1]}T{parts[2] or '00'}:00:00").replace(tzinfo=UTC)
    except ValueError:
        raise typer.BadParameter(
            f'"{text}" is neither a day (2026-10-01) nor an hour (2026-10-01T14), UTC', param_hint=option
        ) from None


@contextmanager
def _opened(output: Path | None) -> Generator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    try:
        out = output.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigurationError(f"--output: {output} cannot be written: {error.strerror}") from None
    with out:
        yield out


@contextmanager
def _progress(length: int, label: str) -> Generator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    with typer.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update


def _nothing(_: int) -> None: ...


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, default=float) + "\n"


def _json(found: Summary, by: str | None) -> dict[str, Any]:
    return {
        "by": by,
        "lines": [] if by is None else [_line_json(line, by) for line in found.lines],
        "totals": [_line_json(line, None) for line in found.totals],
        "settled": [asdict(machine) for machine in found.settled],
        "lost": found.lost,
    }


def _line_json(line: Line, by: str | None) -> dict[str, Any]:
    shape = asdict(line)
    name = shape.pop("name")
    for money in ("cost", "estimated", "saved"):
        shape[f"{money}_usd"] = float(shape.pop(money))
    for time in ("p50", "p95"):
        shape[f"{time}_s"] = shape.pop(time)
    return shape if by is None else {by: name, **shape}


_COLUMNS: dict[str, Callable[[Line], str]] = {
    "calls": lambda line: f"{line.calls:,}",
    "failed": lambda line: f"{line.failed:,}",
    "attempts": lambda line: f"{line.attempts:,}" if line.attempts != line.calls else "",
    "tokens\nin": lambda line: f"{line.input_tokens:,}",
    "of it\ncached": lambda line: f"{line.cached_tokens:,}" if line.cached_tokens else "",
    "tokens\nout": lambda line: f"{line.output_tokens:,}",
    "cost\nUSD": lambda line: "unknown" if line.cost_unknown == line.calls else decimals(line.cost),
    "calls of\nunknown cost": lambda line: f"{line.cost_unknown:,}" if line.cost_unknown else "",
    "of it\nestimated": lambda line: f"{line.estimated / line.cost:.0%}" if line.estimated else "",
    "p50\ns": lambda line: "-" if line.p50 is None else f"{line.p50:.2f}",
    "p95\ns": lambda line: "-" if line.p95 is None else f"{line.p95:.2f}",
    "cold\nstarts": lambda line: f"{line.cold_starts:,}" if line.cold_starts else "",
    "cache\nhits": lambda line: f"{line.cache_hits:,}" if line.cache_hits else "",
    "saved\nUSD": lambda line: decimals(line.saved) if line.saved else "",
}
"""What is printed of a line; a column in which nothing stands is left out."""


def _show(found: Summary, by: str | None) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    out = console()
    if not found.totals:
        out.print("There is no call.")
        return
    named = [(line, line.name or "-") for line in found.lines] if by is not None else []
    if len(named) != 1:
        named += [(line, "all") for line in found.totals]
    rows = [
        [f"{name} (simulated)" if line.simulated else name, *(cell(line) for cell in _COLUMNS.values())]
        for line, name in named
    ]
    table = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    shown = [any(cells) for cells in zip(*rows, strict=True)]
    for place, name in enumerate((by or "", *_COLUMNS)):
        if shown[place]:
            table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(cell for cell, show in zip(row, shown, strict=True) if show))
    # As wide as it needs to be: a number that is cut short would be a wrong one.
    out.width = max(out.width, 250)
    out.print(table)
    for text in _remarks(found):
        out.print(text)
    if found.lost:
        note(f"warning: {found.lost:,} records could not be written: they are missing here")


def _remarks(found: Summary) -> Iterator[str]:
    silent = sum(line.tokens_unknown for line in found.totals)
    corrections = sum(line.corrections for line in found.totals)
    if silent:
        yield f"Calls that do not say how many tokens they used, and are not in the tokens: {silent:,}."
    if corrections:
        yield f"Corrections in the cost: {corrections:,}."
    for machine in found.settled:
        yield (
            f"{machine.machine}: used by {machine.processes} processes at a time. They saw "
            f"{machine.seen:,.1f} s of busy time, each for itself; it was busy {machine.busy:,.1f} s, "
            "and that is divided among all of them here."
        )


def _machine_json(machine: Machine) -> dict[str, Any]:
    (report,) = machine.reports
    shares = {
        "used": report.attributed,
        "cold_start_waited_for": report.waited,
        "cold_start_for_nobody": report.cold_start,
        "idle": report.idle,
        "total": report.total,
    }
    return {
        "machine": machine.name,
        "processes": machine.processes,
        "followed": machine.followed,
        "hourly_usd": None if machine.rate is None else float(usd(machine.rate)),
        **{f"{name}_s": None if share is None else share.seconds for name, share in shares.items()},
        **{
            f"{name}_usd": None if share is None or share.usd is None else float(share.usd)
            for name, share in shares.items()
        },
        "estimated": report.estimated,
        "reasons": list(report.reasons),
    }


def _show_machines(found: Sequence[Machine]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    out = console()
    if not found:
        out.print("There is no machine that is paid by time.")
        return
    table = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("machine", "used\nUSD", "cold starts\nUSD", "idle\nUSD", "total\nUSD", "processes"):
        table.add_column(name, justify="left" if name == "machine" else "right", no_wrap=True)
    for machine in found:
        (report,) = machine.reports
        table.add_row(
            machine.name,
            *(_usd(share) for share in (report.attributed, report.cold_start, report.idle, report.total)),
            str(machine.processes),
        )
    out.width = max(out.width, 250)
    out.print(table)
    out.print("Cold starts are those that nobody waited for; the others are used.")
    for machine in found:
        for reason in machine.reports[0].reasons:
            out.print(f"{machine.name}: {reason}.")


def _usd(share: Share | None) -> str:
    return "unknown" if share is None or share.usd is None else decimals(share.usd)
