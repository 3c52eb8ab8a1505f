"""Hooks are code: a file that was not asked for may not name them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

COMMANDS = (["call", "Hello"], ["explain"], ["doctor"])
PLANTED = 'raise SystemExit("the planted code ran")\n'


@pytest.fixture
def planted(folder: Path, simulated: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of settings that names code, and the code."""
    (folder / "planted.py").write_text(PLANTED)
    (folder / "hybrid_infer.toml").write_text('[hooks]\non_ready = "planted:hook"\n')
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_the_file_in_the_working_directory_may_not_name_hooks(
    cli: Cli, planted: Path, command: list[str]
) -> None:
    result = cli(*command)
    assert result.exit_code == 1
    assert result.stderr == (
        "reading ./hybrid_infer.toml\n"
        "error: ./hybrid_infer.toml: hooks: names code to run, which a file that was not asked for may not "
        "do: name the file with --config hybrid_infer.toml, or take the table out\n"
    )


def test_a_file_that_is_named_may(cli: Cli, planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (planted / "planted.py").write_text("def hook(event):\n    pass\n")
    assert cli("call", "--config", "hybrid_infer.toml", "Hello").exit_code == 0
    monkeypatch.setenv("HYBRID_INFER_CONFIG", "hybrid_infer.toml")
    assert cli("call", "Hello").exit_code == 0


def test_the_environment_may_beside_a_file_that_was_not_asked_for(
    cli: Cli, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (planted / "hybrid_infer.toml").write_text('mode = "modal"\n')
    monkeypatch.setenv("HYBRID_INFER_HOOKS__ON_READY", "nowhere_at_all:f")
    assert "HYBRID_INFER_HOOKS__ON_READY" in cli("call", "Hello").stderr
