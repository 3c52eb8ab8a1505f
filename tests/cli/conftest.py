"""The command line as a person runs it, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hybrid_infer.cli.app import app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory: no file of settings of the person who runs the tests."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated providers, forty times faster."""
    monkeypatch.setenv("HYBRID_INFER_SIMULATE", "1")
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_SPEED", "40")


@pytest.fixture
def cli() -> Callable[..., Any]:
    """`hybrid-infer` with arguments; the result holds `exit_code`, `stdout` and `stderr`."""

    def invoke(*arguments: str, stdin: str | None = None) -> Any:
        return CliRunner().invoke(app, list(arguments), input=stdin)

    return invoke
