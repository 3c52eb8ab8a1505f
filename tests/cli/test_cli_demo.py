"""`hybrid-infer demo`: three modes, one table, the same for the same seed."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hybrid_infer
from hybrid_infer.cli.demo import SHOWN, load_example, percentile

Cli = Callable[..., Any]

FIELDS = ["mode", "calls", "cost_usd", "p50_s", "p95_s", "ttft_p50_s", "cold_starts", "failed"]


def rows(cli: Cli, *arguments: str) -> Any:
    result = cli("demo", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_json_is_one_object_a_mode_and_no_call_fails(cli: Cli) -> None:
    found = rows(cli)
    example, _ = load_example()
    meetings = len(list(example.TRANSCRIPTS.glob("*.txt")))
    assert [list(row) for row in found] == [FIELDS] * 3
    assert [row["mode"] for row in found] == list(SHOWN)
    for row in found:
        assert row["calls"] == 3 * meetings
        assert row["failed"] == 0
        assert row["cost_usd"] > 0
        assert 0 < row["ttft_p50_s"] <= row["p50_s"] <= row["p95_s"]


def test_only_modal_starts_cold(cli: Cli) -> None:
    cold = {row["mode"]: row["cold_starts"] for row in rows(cli)}
    assert cold["together-serverless"] == cold["together-dedicated"] == 0
    assert cold["modal"] > 0


def test_the_same_seed_gives_the_same_table_and_another_one_another(cli: Cli) -> None:
    assert cli("demo", "--seed", "7").stdout == cli("demo", "--seed", "7").stdout
    assert rows(cli, "--seed", "7") != rows(cli, "--seed", "8")


def test_the_users_own_settings_do_not_count(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(cli)
    (folder / "hybrid_infer.toml").write_text("nonsense")
    monkeypatch.setenv("HYBRID_INFER_MODE", "nonsense")
    monkeypatch.setenv("HYBRID_INFER_TIMEOUT", "0.001")
    monkeypatch.setenv("TOGETHER_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HYBRID_INFER_CONFIG", "nowhere.toml")
    assert rows(cli) == before
    assert os.environ["HYBRID_INFER_MODE"] == "nonsense"


def test_an_installed_package_brings_the_example_along(folder: Path) -> None:
    package = Path(hybrid_infer.__file__).parent
    shutil.copytree(package, folder / "site" / "hybrid_infer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(load_example()[1].parent, folder / "site" / "hybrid_infer" / "examples")
    done = subprocess.run(
        [sys.executable, "-c", "from hybrid_infer.cli import main; main()", "demo"],
        env={**os.environ, "PYTHONPATH": str(folder / "site")},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert str(folder / "site" / "hybrid_infer" / "examples" / "meeting_assistant.py") in done.stdout


def test_the_table_says_that_all_is_simulated_and_what_to_do_next(cli: Cli) -> None:
    shown = cli("demo").stdout
    assert all(mode in shown for mode in SHOWN)
    assert "Simulated: no provider was called" in shown
    assert "time is virtual" in shown
    assert "hybrid-infer doctor" in shown
    assert max(map(len, shown.splitlines())) <= 110


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], share: int
) -> None:
    found = percentile(values, share)
    assert found in values
    wanted = math.ceil(share * len(values) / 100)
    assert sum(value <= found for value in values) >= wanted
    assert sum(value < found for value in values) < wanted


def test_a_percentile_of_nothing_is_unknown() -> None:
    assert percentile([], 50) is None
