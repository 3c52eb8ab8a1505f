"""What all commands have in common: version, help, errors, completion, cheap imports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hybrid_infer

RUN = "from hybrid_infer.cli import main; main()"
COMMANDS = (
    *("demo", "call", "explain", "doctor", "status", "warm", "stop", "sweep", "switch"),
    *("simulate", "reconcile", "ledger", "prices", "cache"),
)

Cli = Callable[..., Any]


def python(code: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    source = str(Path(hybrid_infer.__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": source, **environ},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_version_is_printed_alone() -> None:
    done = python(RUN, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"hybrid-infer {hybrid_infer.__version__}\n",
        "",
    )


def test_version_is_an_option_among_others(cli: Cli) -> None:
    assert cli("--version").stdout == f"hybrid-infer {hybrid_infer.__version__}\n"


def test_version_and_the_commands_themselves_load_no_library_underneath() -> None:
    heavy = "'pydantic', 'httpx', 'httpcore', 'aiohttp', 'rich', 'opentelemetry', 'hybrid_infer.simulator'"
    look = f"import sys; print([name for name in ({heavy}) if name in sys.modules])"
    assert python(f"{RUN}; {look}", "--version").stdout.splitlines()[-1] == "[]"
    assert python(f"import hybrid_infer.cli.app; {look}").stdout == "[]\n"


def test_without_the_extra_one_line_says_what_to_install() -> None:
    done = python(f"import sys; sys.modules['typer'] = None; {RUN}", "demo")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == 'the command line needs typer and rich: pip install "hybrid-infer[cli]"\n'


def test_help_names_every_command_in_a_whole_line(cli: Cli) -> None:
    for arguments in (["--help"], ["-h"], []):
        shown = cli(*arguments).output
        lines = [line.strip() for line in shown.partition("Commands:")[2].splitlines() if line.strip()]
        assert [line.split()[0] for line in lines] == list(COMMANDS)
        assert all(line.endswith(".") and not line.endswith("...") for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(cli: Cli, command: str) -> None:
    shown = cli(command, "--help")
    assert shown.exit_code == 0
    options = [line for line in shown.stdout.partition("Options:")[2].splitlines() if line.strip()]
    texts = [line.split("  ", 3)[-1].strip() for line in options]
    assert all(texts)


def test_an_unknown_command_is_a_usage_error_with_a_suggestion(cli: Cli) -> None:
    result = cli("explian")
    assert result.exit_code == 2
    assert "explain" in result.stderr


def test_an_unknown_option_is_a_usage_error(cli: Cli) -> None:
    assert cli("demo", "--sed", "1").exit_code == 2


@pytest.mark.parametrize("command", [("call", "Hello"), ("explain",)])
def test_wrong_settings_are_one_message_on_stderr(
    cli: Cli, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRID_INFER_MODE", "modl")
    monkeypatch.setenv("HYBRID_INFER_TIMEOUTT", "5")
    result = cli(*command)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: several settings are wrong:\n")
    assert "did you mean HYBRID_INFER_TIMEOUT?" in result.stderr
    assert "did you mean modal?" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_file_in_the_working_directory_is_read_and_named(cli: Cli, folder: Path, simulated: None) -> None:
    (folder / "hybrid_infer.toml").write_text('mode = "together-dedicated"\n')
    result = cli("call", "Hello")
    assert result.exit_code == 0
    assert result.stderr.startswith("reading ./hybrid_infer.toml\ntogether-dedicated/")


def test_a_file_that_is_named_is_read_instead(
    cli: Cli, folder: Path, simulated: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "hybrid_infer.toml").write_text("nonsense")
    (folder / "mine.toml").write_text('mode = "together-dedicated"\n')
    assert "together-dedicated/" in cli("call", "--config", "mine.toml", "Hello").stderr
    monkeypatch.setenv("HYBRID_INFER_CONFIG", "mine.toml")
    assert cli("call", "Hello").stderr.startswith("together-dedicated/")


def test_a_file_that_is_not_there_is_an_error(cli: Cli) -> None:
    result = cli("explain", "--config", "nowhere.toml")
    assert result.exit_code == 1
    assert result.stderr.startswith('error: argument config="nowhere.toml": cannot read the file')


def test_modes_complete_in_the_shell() -> None:
    done = python(
        RUN, _HYBRID_INFER_COMPLETE="complete_bash", COMP_WORDS="hybrid-infer call --mode ", COMP_CWORD="3"
    )
    assert set(hybrid_infer.MODES) <= set(done.stdout.split())


def test_commands_complete_in_the_shell() -> None:
    done = python(RUN, _HYBRID_INFER_COMPLETE="complete_bash", COMP_WORDS="hybrid-infer ", COMP_CWORD="1")
    assert set(COMMANDS) <= set(done.stdout.split())
