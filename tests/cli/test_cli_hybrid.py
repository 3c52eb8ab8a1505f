"""`hybrid-infer explain` and `doctor` in mode hybrid: which mode is base, and which one is overflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def hybrid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_INFER_MODE", "hybrid")
    monkeypatch.setenv("HYBRID_INFER_HYBRID__BASE", "together-dedicated")
    monkeypatch.setenv("HYBRID_INFER_HYBRID__OVERFLOW", "openai-compatible")


def test_explain_shows_the_table_and_marks_base_and_overflow(cli: Cli, simulated: None) -> None:
    found = json.loads(cli("explain", "--json").stdout)
    assert (found["mode"], found["problem"]) == ("hybrid", None)
    rows = {row["name"]: row["value"] for row in found["settings"]}
    assert (rows["hybrid.base"], rows["hybrid.overflow"]) == ("together-dedicated", "openai-compatible")
    parts = {place["mode"]: place["part"] for place in found["models"]}
    assert parts == {
        "together-serverless": None,
        "together-dedicated": "base",
        "modal": None,
        "openai-compatible": "overflow",
    }
    shown = cli("explain").stdout
    assert "Mode hybrid: base (*) and overflow (+)" in shown
    assert "* together-dedicated" in shown and "+ openai-compatible" in shown and "  modal" in shown


def test_doctor_looks_at_both_before_the_modes_that_are_not_used(cli: Cli, simulated: None) -> None:
    result = cli("doctor", "--json")
    assert result.exit_code == 0
    checks = {check["subject"]: check for check in json.loads(result.stdout)["checks"]}
    assert [name for name in checks if name.startswith("mode ")] == [
        "mode hybrid", "mode together-dedicated", "mode openai-compatible", "mode together-serverless",
        "mode modal",
    ]  # fmt: skip
    assert checks["mode hybrid"]["finding"] == (
        "current: base together-dedicated, overflow openai-compatible"
    )
    assert checks["mode together-dedicated"]["finding"].startswith("base: ")
    assert checks["mode openai-compatible"]["finding"].startswith("overflow: ")


def test_an_overflow_that_is_not_configured_is_a_problem(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "k")
    result = cli("doctor", "--json")
    assert result.exit_code == 1
    checks = {check["subject"]: check for check in json.loads(result.stdout)["checks"]}
    states = {name: check["state"] for name, check in checks.items() if name.startswith("mode ")}
    assert states["mode openai-compatible"] == "problem"
    assert states["mode together-dedicated"] == "ok"
    assert states["mode modal"] == "missing"
    assert "HYBRID_INFER_BASE_URL" in checks["mode openai-compatible"]["fix"]
    assert checks["mode openai-compatible"]["finding"] == "overflow: cannot be used"


def test_online_the_addresses_of_base_and_overflow_must_be_reachable(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRID_INFER_HYBRID__BASE", "modal")
    monkeypatch.setenv("HYBRID_INFER_MODAL_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HYBRID_INFER_BASE_URL", "http://127.0.0.1:9/other")
    checks = json.loads(cli("doctor", "--json", "--online").stdout)["checks"]
    reached = {check["subject"]: check["state"] for check in checks if check["subject"].startswith("reach")}
    assert reached == {"reach http://127.0.0.1:9": "problem"}


def test_without_base_and_overflow_both_commands_say_what_is_needed(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYBRID_INFER_HYBRID__BASE")
    assert "needs hybrid.base" in cli("doctor").stdout
    assert "needs hybrid.base" in cli("explain").stderr
