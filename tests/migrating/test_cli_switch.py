"""`hybrid-infer switch`: says what it would do, does it, and finishes or takes back what is unfinished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hybrid_infer.cli.app import app

AS_FAST = ("--limit", "latency=none")
"""At this speed, what is measured is this machine."""


@pytest.fixture(autouse=True)
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Simulated providers, two hundred times faster, and leases that outlive a command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYBRID_INFER_SIMULATE", "1")
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_SPEED", "200")
    monkeypatch.setenv("HYBRID_INFER_MODE", "together-dedicated")
    monkeypatch.setenv("HYBRID_INFER_LEASES_PATH", str(tmp_path / "leases.sqlite"))
    (tmp_path / "prompts.jsonl").write_text('{"messages": [{"role": "user", "content": "Why?"}]}\n', "utf-8")
    return tmp_path


def cli(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["switch", *arguments])


def test_a_plan_names_steps_machines_prices_and_what_nobody_knows() -> None:
    result = cli("modal", "--plan", "--prompts", "prompts.jsonl", "--steps", "10,100", "--dwell", "30")
    assert result.exit_code == 0, result.output
    for text in (
        "together-dedicated/simulated/assistant: $",
        "modal/llm: $3.94",
        "1 prompts each",
        "10 %, 100 % of them, 30 s each",
        "HYBRID_INFER_MODE=modal",
        "cannot be known",
        "stop: together-dedicated/simulated/assistant, with --resume",
    ):
        assert text in result.stdout


def test_a_plan_in_json_has_prices_as_numbers() -> None:
    plan = json.loads(cli("modal", "--plan", "--json").stdout)
    assert plan["new"][0]["usd_per_hour"] == pytest.approx(3.9492)
    assert plan["exports"] == {"HYBRID_INFER_MODE": "modal"}


@pytest.mark.real_time
def test_a_switch_is_made_ready_then_finished() -> None:
    first = cli("modal", "--apply", "--prompts", "prompts.jsonl", *AS_FAST)
    assert first.exit_code == 0, first.output
    assert "handed over" in first.stdout
    assert "export HYBRID_INFER_MODE=modal" in first.stdout
    assert "verify: " in first.stderr
    again = cli("modal", "--apply")
    assert again.exit_code == 1
    assert "unfinished" in again.stderr
    last = json.loads(cli("--resume", "--json").stdout)
    assert (last["result"], last["unfinished"], last["exports"]) == ("done", False, None)
    assert cli("--resume").exit_code == 1


@pytest.mark.real_time
def test_a_switch_is_taken_back() -> None:
    report = json.loads(cli("modal", "--apply", "--json", "--prompts", "prompts.jsonl", *AS_FAST).stdout)
    assert report["unfinished"]
    assert report["verification"]["rows"][0]["prompt"] == "Why?"
    back = cli("--undo")
    assert back.exit_code == 0, back.output
    assert "undone" in back.stdout


@pytest.mark.real_time
def test_a_refusal_exits_with_its_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    (path := Path("long.jsonl")).write_text(
        json.dumps({"messages": [{"role": "user", "content": "word " * 200_000}]}) + "\n", "utf-8"
    )
    result = cli("modal", "--apply", "--prompts", str(path))
    assert result.exit_code == 1
    assert "nothing can be compared" in result.stderr
    shown = json.loads(cli("modal", "--apply", "--json", "--prompts", str(path)).stdout)
    assert shown["result"] == "refused"
    assert shown["reasons"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("modal",),
        ("--plan",),
        ("modal", "--plan", "--apply"),
        ("moon", "--plan"),
        ("modal", "--plan", "--limit", "size=3"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake_of_the_command(arguments: tuple[str, ...]) -> None:
    assert cli(*arguments).exit_code == 2
