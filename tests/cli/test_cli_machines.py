"""`hybrid-infer status`, `warm`, `stop` and `sweep`, on simulated machines."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hybrid_infer import Client

Cli = Callable[..., Any]

DEDICATED = "together-dedicated/simulated/assistant"


@pytest.fixture(autouse=True)
def machines(simulated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dedicated endpoint that is stopped, two hundred times faster."""
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_DEDICATED", "stopped")
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_SPEED", "200")
    monkeypatch.setenv("HYBRID_INFER_MODE", "together-dedicated")
    monkeypatch.setenv("COLUMNS", "120")


def test_status_shows_every_machine_and_starts_none(cli: Cli) -> None:
    result = cli("status", "--once")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [DEDICATED, "cold", "0", "0", "0.00", "unknown", "unknown"] in rows
    assert any(row[:2] == ["modal/llm", "cold"] for row in rows)
    assert f"{DEDICATED} (assistant): STOPPED: Deployment is stopped" in result.stdout


def test_status_as_json(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_DEDICATED", "ready")
    found = {row["name"]: row for row in json.loads(cli("status", "--json").stdout)}
    row = found[DEDICATED]
    assert (row["model"], row["mode"], row["problem"]) == ("assistant", "together-dedicated", None)
    assert (row["state"]["life"], row["state"]["replicas"]["ready"]) == ("warm", 1)
    assert row["usd_per_hour"] == pytest.approx(5.49)
    assert (row["usd_today"], row["idle_share"], row["leases"], row["in_flight"]) == (None, None, [], 0)


def until(look: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
    """What `look` finds once it is enough, or after 30 s."""
    end = time.monotonic() + 30
    while not enough(found := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def today(cli: Cli) -> Any:
    rows = json.loads(cli("status", "--json").stdout)
    return next(row for row in rows if row["name"] == DEDICATED)


@pytest.mark.real_time
def test_status_knows_today_from_the_ledger(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What clients saw of a machine is written down, and the command adds it up."""
    monkeypatch.setenv("HYBRID_INFER_LEDGER", str(folder / "calls.sqlite"))
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_DEDICATED", "ready")
    monkeypatch.setenv("HYBRID_INFER_LEASES_PATH", str(folder / "leases.sqlite"))
    with Client() as client, client.warmed():
        row = until(lambda: today(cli), lambda row: (row["usd_today"] or 0.0) > 1.0 * 5.49 / 3600)
        assert client.state().life == "warm"
        shown = cli("status", "--once").stdout
    assert 1.0 * 5.49 / 3600 < row["usd_today"] < 0.1
    assert row["idle_share"] > 0.9, "nobody uses it"
    assert [lease["why"] for lease in row["leases"]] == ["warmed"]
    assert re.search(rf"needed by \S+:{os.getpid()}:\w+ \(warmed\)", shown)


@pytest.mark.real_time
def test_in_a_terminal_status_looks_again_until_interrupted() -> None:
    ours, theirs = pty.openpty()
    code = "from hybrid_infer.cli import main; main()"
    command = [sys.executable, "-c", code, "status", "--every", "0.2s"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(os.environ))
    os.close(theirs)
    shown, end = b"", time.monotonic() + 30
    try:
        while shown.count(b"modal/llm") < 4 and time.monotonic() < end:
            shown += os.read(ours, 4096)
        process.send_signal(2)
        assert process.wait(15) == 0
    finally:
        process.kill()
        os.close(ours)
    assert shown.count(b"modal/llm") >= 4


@pytest.mark.real_time
def test_warm_waits_and_tells_each_step(cli: Cli) -> None:
    result = cli("warm", "assistant", "--for", "2h")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{DEDICATED}: warm, 1 of 1 replicas, 5.49 USD an hour each")
    assert "keep at least 1 up" in result.stderr
    assert "READY: All replicas ready" in result.stderr
    assert "it stays up for 2h" in result.stderr


@pytest.mark.real_time
def test_warm_as_json_says_nothing_else(cli: Cli) -> None:
    result = cli("warm", "assistant", "--json", "--mode", "modal")
    assert (json.loads(result.stdout)["life"], result.stderr) == ("warm", "")


@pytest.mark.real_time
def test_what_does_not_come_up_in_time_is_an_error(cli: Cli) -> None:
    result = cli("warm", "assistant", "--timeout", "0.1s")
    assert result.exit_code == 1
    assert re.search(rf"error: {DEDICATED}: not warm in time", result.stderr)


def test_without_waiting_it_is_only_told(cli: Cli) -> None:
    result = cli("warm", "assistant", "--no-wait")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{DEDICATED}: warming")


@pytest.mark.parametrize("wrong", ["soon", "0", "-1h", "1y"])
def test_a_span_that_is_none_is_refused(cli: Cli, wrong: str) -> None:
    result = cli("warm", "assistant", f"--for={wrong}")
    assert result.exit_code == 2
    assert "no span of time" in result.stderr


@pytest.mark.real_time
def test_stop_is_harmless_and_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_DEDICATED", "ready")
    result = cli("stop", "assistant")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{DEDICATED}: cold")
    assert json.loads(cli("stop", "assistant", "--json").stdout)["life"] == "cold"


def test_sweep_with_nothing_to_do(cli: Cli) -> None:
    assert cli("sweep").stdout == "nothing to do\n"
    assert json.loads(cli("sweep", "--json").stdout) == {"dropped": [], "changes": [], "problems": []}


@pytest.mark.real_time
def test_sweep_takes_down_what_a_command_left_up(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease of `warm --for` ends; another process finds it in the file and restores the minimum."""
    monkeypatch.setenv("HYBRID_INFER_LEASES_PATH", str(folder / "leases.sqlite"))
    assert cli("warm", "assistant", "--no-wait", "--for", "1s").exit_code == 0
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_DEDICATED", "ready")  # as the command left it
    found = until(lambda: json.loads(cli("sweep", "--json").stdout), lambda found: bool(found["dropped"]))
    assert [(lease["machine"], lease["why"]) for lease in found["dropped"]] == [(DEDICATED, "warm")]
    changes = [(change["before"], change["after"]) for change in found["changes"]]
    assert (changes, found["problems"]) == ([(1, 0)], [])
    assert cli("sweep").stdout == "nothing to do\n"


def test_sweep_says_what_it_cannot_see_to(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "leases.sqlite").write_text("no database")
    monkeypatch.setenv("HYBRID_INFER_LEASES_PATH", str(folder / "leases.sqlite"))
    result = cli("sweep")
    assert result.exit_code == 1
    assert "not seen to" in result.stderr


def test_where_nothing_is_started_warm_says_so(cli: Cli) -> None:
    result = cli("warm", "assistant", "--mode", "together-serverless")
    assert (result.exit_code, result.stdout.count("nothing is started or stopped")) == (0, 1)
