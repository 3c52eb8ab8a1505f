"""What was found, as tables: in a terminal, and as the text of RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from cases import BARE, CASES, OURS, PEERS, SCALES, Case
from found import Found, Spread

COLUMNS = {
    "wall_us": "wall, µs",
    "cpu_us": "CPU, µs",
    "rate": "calls/s",
    "p99_us": "p99, µs",
    "first_us": "first chunk, µs",
    "loads_us": "json.loads, µs",
    "memory_mb": "MB",
    "growth_mb": "MB",
}
WORDS = {True: "reached", False: "NOT reached", None: "not measured"}


@dataclass(slots=True)
class Table:
    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""


def tables(found: Found) -> Iterator[Table]:
    if left_out := found.absent.get(""):
        yield Table("Left out", ["what", "why"], [[peer, why] for peer, why in left_out.items()])
    if found.rounds or found.ladder:
        yield _goals(found)
    for case in CASES:
        if case.name in found.rounds or case.name in found.absent:
            yield _case(found, case)
    if found.ladder:
        rows = [[name, f"{cost:.1f}"] for name, cost in found.ladder.items()]
        yield Table("The ladder: what each layer costs, without I/O", ["layer", "CPU, µs"], rows)
    if found.scales:
        yield _scales(found)
    if found.server:
        yield _server(found)


def _goals(found: Found) -> Table:
    rows = [
        [
            verdict.goal.text,
            "-" if verdict.value is None else _with_spread(verdict.value, verdict.goal.unit),
            "-" if verdict.cpu is None else _with_spread(verdict.cpu),
            verdict.limit,
            WORDS[verdict.reached],
            verdict.goal.earlier or "-",
        ]
        for verdict in found.verdicts(OURS)
        if verdict.value is not None or not found.partial
    ]
    return Table("Goals", ["what", "found", "by CPU", "goal", "", "prototype"], rows)


def _case(found: Found, case: Case) -> Table:
    measured = found.rounds.get(case.name, {})
    figures = [name for name in COLUMNS if any(name in rounds[0] for rounds in measured.values())]
    first = found.spread(case.name, BARE[0], "first_us")
    rows = []
    for peer in PEERS:
        if peer not in measured:
            continue
        cells = [peer]
        for figure in figures:
            spread = found.spread(case.name, peer, figure)
            cells.append("-" if spread is None else _with_spread(spread))
        if first is not None:
            own = found.spread(case.name, peer, "first_us")
            cells.append("-" if own is None or peer == BARE[0] else _short(own.middle - first.middle))
        ratio = found.ratio((OURS, case.name, case.figure), (peer, case.name, case.figure))
        cells.append("-" if ratio is None or peer == OURS else _with_spread(ratio))
        busy = [one["server"] for one in measured[peer] if "server" in one]
        cells.append(f"{max(busy):.0%}" if busy else "-")
        rows.append(cells)
    why = [
        f"{peer}: {reason}"
        for peer in PEERS
        if (reason := found.absent.get(case.name, {}).get(peer)) is not None
    ]
    head = [
        "client",
        *(COLUMNS[figure] for figure in figures),
        *([] if first is None else [f"first chunk, more than {BARE[0]}, µs"]),
        f"ours / it, {COLUMNS[case.figure].split(',')[0]}",
        "server",
    ]
    return Table(f"{case.name}: {case.text}", head, rows, "Left out: " + "; ".join(why) if why else "")


def _scales(found: Found) -> Table:
    fits = found.fits()
    rows = []
    for scale in SCALES:
        if scale.name in found.scales:
            costs = found.scales[scale.name]
            cells = ", ".join(f"{size:,}: {min(costs[size]):.0f}" for size in sorted(costs))
            fitted = fits[scale.name]
            rows.append([scale.text, cells, fitted.kind, f"{fitted.growth:.2f}"])
    return Table(
        "Scaling: what a call costs, without I/O",
        ["more and more", "CPU of a call in µs (least of the rounds), by size", "growth", "last / first"],
        rows,
    )


def _server(found: Found) -> Table:
    rows = [
        [name, f"{one['rate']:,.0f}", f"{one['cpu_us']:.1f}", f"{1e6 / one['cpu_us']:,.0f}"]
        for name, one in found.server.items()
    ]
    return Table(
        "The server, asked by a raw client",
        ["connections", "requests/s", "its CPU a request, µs", "requests/s its CPU allows"],
        rows,
        "The raw client, in Python too, is the slower of the two. The column `server` of the other tables is "
        "the share of a run's time in which the server was busy, in the busiest round.",
    )


def _with_spread(spread: Spread, unit: str = "") -> str:
    middle = _short(spread.middle)
    if spread.least == spread.most:
        return f"{middle}{unit}"
    return f"{middle}{unit} ({_short(spread.least)}-{_short(spread.most)})"


def _short(value: float) -> str:
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3f}"


def show(found: Found) -> None:
    """All tables in the terminal: with rich where that is installed."""
    for table in tables(found):
        if find_spec("rich") is None:
            _plain(table)
        else:
            _rich(table)


def _plain(table: Table) -> None:
    rows = [table.head, *table.rows]
    wide = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    print(f"\n{table.title}")
    for row in rows:
        print("  ".join(cell.ljust(size) for cell, size in zip(row, wide, strict=True)).rstrip())
    if table.note:
        print(table.note)


def _rich(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, caption=table.note)
    drawn.caption_justify = "left"
    for column in table.head:
        drawn.add_column(column)
    for row in table.rows:
        style = {"reached": "green", "NOT reached": "red"}.get(
            next((c for c in row if c in WORDS.values()), "")
        )
        drawn.add_row(*row, style=style)
    terminal = Console()
    if not terminal.is_terminal:
        terminal = Console(width=180)
    terminal.print(drawn)


def markdown(found: Found) -> str:
    """The text of RESULTS.md."""
    lines = [
        "# Benchmark results",
        "",
        "Written by `make bench`; not edited by hand. What is measured and what the ratios mean: "
        "[docs/benchmarks.md](../docs/benchmarks.md).",
        "",
    ]
    if found.quick:
        lines += [
            "**A quick run: few rounds, to see that everything works. Its figures are not to be quoted.**",
            "",
        ]
    lines += ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in found.about.items()), ""]
    for table in tables(found):
        lines += [f"## {table.title}", "", _row(table.head), _row(["---"] * len(table.head))]
        lines += [*(_row(row) for row in table.rows), ""]
        if table.note:
            lines += [table.note, ""]
        if table.title.startswith("Scaling"):
            lines += [
                f"![{scale.text}](plots/{scale.name}.svg)" for scale in SCALES if scale.name in found.scales
            ]
            lines.append("")
    lines += ["## Versions", "", _row(["client", "packages"]), _row(["---", "---"])]
    lines += [
        _row([peer, ", ".join(f"{name} {version}" for name, version in versions.items())])
        for peer, versions in found.versions.items()
    ]
    return "\n".join([*lines, ""])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
