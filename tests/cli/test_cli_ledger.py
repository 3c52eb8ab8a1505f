"""`hybrid-infer ledger`: summary, export and merge of what was recorded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hybrid_infer.calls.records import correction, unix_ns
from stores.ledger_samples import COST, SECOND, WALL, WALL_NS, on_machine, simple, write

Cli = Callable[..., Any]


@pytest.fixture
def ledger(folder: Path) -> Path:
    """Three calls on two days, in a file that became full and in the current one."""
    first = simple(purpose="minutes", latency_ns=2 * SECOND)
    second = simple(mode="modal", cost_nano=None, outcome="OverloadedError", input_tokens=None)
    third = simple(began_ns=unix_ns(datetime(2026, 10, 21, 9, tzinfo=UTC)), cold_start=True)
    write(folder / "l-20261020T235959Z.sqlite", [first, second])
    write(folder / "l.sqlite", [third])
    return folder / "l.sqlite"


def summed(cli: Cli, ledger: Path, *arguments: str) -> Any:
    result = cli("ledger", "summary", "--json", "--ledger", str(ledger), *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_summary_is_of_all_files_in_one_line(cli: Cli, ledger: Path) -> None:
    found = summed(cli, ledger)
    (total,) = found["totals"]
    assert found["lines"] == []
    assert (total["calls"], total["failed"], total["attempts"]) == (3, 1, 3)
    assert (total["cost_usd"], total["cost_unknown"], total["cold_starts"]) == (0.00002469, 1, 1)
    assert (total["input_tokens"], total["tokens_unknown"], total["simulated"]) == (20, 1, False)
    assert total["p95_s"] == pytest.approx(2.0, rel=0.04)
    assert (found["settled"], found["lost"]) == ([], 0)


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("mode", ["modal", "together-serverless"]),
        ("model", ["m"]),
        ("purpose", [None, "minutes"]),
        ("day", ["2026-10-20", "2026-10-21"]),
    ],
)
def test_there_is_a_line_for_each(cli: Cli, ledger: Path, by: str, names: list[str | None]) -> None:
    found = summed(cli, ledger, "--by", by)
    assert [line[by] for line in found["lines"]] == names
    assert sum(line["calls"] for line in found["lines"]) == 3
    table = cli("ledger", "summary", "--by", by, "--ledger", str(ledger)).stdout
    assert all((name or "-") in table for name in names)


def test_the_table_has_the_columns_in_which_something_stands(cli: Cli, ledger: Path) -> None:
    table = cli("ledger", "summary", "--ledger", str(ledger)).stdout
    rows = [line.split() for line in table.splitlines()]
    assert ["all", "3", "1", "20", "9", "0.0000247", "1", "1.98", "1.98", "1"] in rows
    assert "unknown cost" in table
    assert "saved" not in table
    assert "and are not in the tokens: 1." in table


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        (("--since", "2026-10-21"), 1),
        (("--until", "2026-10-21"), 2),
        (("--since", "2026-10-20T12", "--until", "2026-10-20T13:00Z"), 2),
        (("--since", "2026-10-22"), 0),
    ],
)
def test_a_summary_of_some_days_or_hours(
    cli: Cli, ledger: Path, arguments: tuple[str, ...], calls: int
) -> None:
    assert sum(line["calls"] for line in summed(cli, ledger, *arguments)["totals"]) == calls


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-10-01T12:30", ""])
def test_a_time_that_is_none_is_refused(cli: Cli, ledger: Path, text: str) -> None:
    result = cli("ledger", "summary", "--since", text, "--ledger", str(ledger))
    assert result.exit_code == 2
    assert "is neither a day (2026-10-01) nor an hour (2026-10-01T14)" in " ".join(result.stderr.split())


def test_simulated_calls_stand_apart(cli: Cli, ledger: Path) -> None:
    write(ledger, [simple(simulated=True, cost_nano=10**12)])
    totals = summed(cli, ledger)["totals"]
    assert [(line["simulated"], line["calls"]) for line in totals] == [(False, 3), (True, 1)]
    assert totals[0]["cost_usd"] < 1
    assert "all (simulated)" in cli("ledger", "summary", "--ledger", str(ledger)).stdout


def test_shared_machines_corrections_and_losses_are_told(cli: Cli, folder: Path) -> None:
    path = folder / "l.sqlite"
    one = on_machine("a", WALL_NS, WALL_NS + 4 * SECOND, 4 * SECOND)
    other = on_machine("b", WALL_NS, WALL_NS + 4 * SECOND, 4 * SECOND)
    write(path, [one, other, correction(one, COST, reason="r", wall=WALL)], losses=[("p", 1, 7, "full")])
    result = cli("ledger", "summary", "--ledger", str(path))
    assert "modal h m: used by 2 processes at a time. They saw 8.0 s" in result.stdout
    assert "it was busy 4.0 s, and that is divided among all of them here." in result.stdout
    assert "Corrections in the cost: 1." in result.stdout
    assert "7 records could not be written" in result.stderr
    (settled,) = summed(cli, path)["settled"]
    assert settled == {"machine": "modal h m", "processes": 2, "seen": 8.0, "busy": 4.0}


def test_an_empty_ledger_says_so(cli: Cli, folder: Path) -> None:
    write(folder / "l.sqlite", [])
    result = cli("ledger", "summary", "--by", "mode", "--ledger", "l.sqlite")
    assert (result.exit_code, result.stdout) == (0, "There is no call.\n")


def test_export_writes_a_table(cli: Cli, ledger: Path) -> None:
    result = cli("ledger", "export", "--format", "csv", "--ledger", str(ledger))
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["mode"] for row in rows] == ["together-serverless", "modal", "together-serverless"]
    assert [row["cost_usd"] for row in rows] == ["0.000012345", "", "0.000012345"]
    assert rows[0]["purpose"] == "minutes"


@pytest.mark.parametrize(("kind", "count"), [("calls", 3), ("attempts", 3), ("corrections", 0)])
def test_export_writes_a_line_of_json_for_each_row(cli: Cli, ledger: Path, kind: str, count: int) -> None:
    result = cli(
        "ledger", "export", "--format", "jsonl", "--rows", kind, "--output", "out", "--ledger", str(ledger)
    )
    assert (result.exit_code, result.stdout) == (0, "")
    rows = [json.loads(line) for line in Path("out").read_text().splitlines()]
    assert len(rows) == count
    if kind == "calls":
        assert [row["cost_usd"] for row in rows] == [0.000012345, None, 0.000012345]
        assert [row["cold_start"] for row in rows] == [False, False, True]


def test_export_to_where_nothing_can_be_written(cli: Cli, ledger: Path, folder: Path) -> None:
    result = cli("ledger", "export", "--format", "csv", "--output", "no/out", "--ledger", str(ledger))
    assert result.exit_code == 1
    assert result.stderr == "error: --output: no/out cannot be written: No such file or directory\n"


def test_merge_may_be_repeated(cli: Cli, ledger: Path, folder: Path) -> None:
    files = [str(folder / "l-20261020T235959Z.sqlite"), str(ledger)]
    first = cli("ledger", "merge", *files, "--into", "all.sqlite")
    assert first.stdout == "3 records written to all.sqlite, 0 were there already\n"
    again = cli("ledger", "merge", *files, "--into", "all.sqlite", "--json")
    assert json.loads(again.stdout) == {"written": 0, "known": 3}
    assert summed(cli, folder / "all.sqlite", "--by", "day") == summed(cli, ledger, "--by", "day")


def test_a_ledger_that_is_not_there_is_one_clear_error(cli: Cli, folder: Path) -> None:
    for command in (["summary"], ["export", "--format", "csv"]):
        result = cli("ledger", *command, "--ledger", "none.sqlite")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: ledger: there is no file ")
    result = cli("ledger", "merge", "none.sqlite", "--into", "all.sqlite")
    assert (result.exit_code, (folder / "all.sqlite").exists()) == (1, False)


def test_the_ledger_of_the_settings_is_read(cli: Cli, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = cli("ledger", "summary")
    assert without.exit_code == 1
    assert "name it with --ledger FILE, or set HYBRID_INFER_LEDGER=FILE" in without.stderr
    monkeypatch.setenv("HYBRID_INFER_LEDGER", str(ledger))
    assert "all" in cli("ledger", "summary").stdout
    monkeypatch.delenv("HYBRID_INFER_LEDGER")
    Path("hybrid_infer.toml").write_text('ledger = "l.sqlite"\n')
    assert "reading ./hybrid_infer.toml" in cli("ledger", "summary").stderr
