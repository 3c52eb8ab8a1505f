"""The pytest plugin, in runs of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hybrid_infer

SOURCE = str(Path(hybrid_infer.__file__).parent.parent)

REACH = """
import socket

def reach(host="127.0.0.1"):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        socket.create_connection((host, listening.getsockname()[1])).close()
"""

CASES = """
import pytest
from reach import reach

def test_plain():
    reach()

@pytest.mark.allow_network("127.0.0.1")
def test_one_host():
    reach()

@pytest.mark.allow_network
def test_all_hosts():
    reach()

@pytest.fixture
def reached():
    reach()

def test_in_a_fixture(reached):
    pass
"""

FIXTURE = """
import pytest
from hybrid_infer.testing import NetworkBlockedError
from reach import reach

def test_blocked(network_blocked):
    with pytest.raises(NetworkBlockedError):
        reach()
    assert len(network_blocked.attempts) == 1

@pytest.mark.usefixtures("network_blocked")
def test_marked():
    with pytest.raises(NetworkBlockedError):
        reach()

def test_not_asked_for():
    reach()
"""


def run(folder: Path, content: str, *arguments: str, ini: str = "") -> tuple[int, str]:
    """A run of pytest on one file; its exit code and what it wrote."""
    (folder / "reach.py").write_text(REACH)
    (folder / "test_it.py").write_text(content)
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{ini}")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # this one by name, and no other
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-rA", "--strict-markers", "--strict-config"),
            *("-p", "hybrid_infer.testing.plugin", *arguments),
        ],
        cwd=folder,
        env={**variables, "PYTHONPATH": f"{SOURCE}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def outcomes(output: str) -> dict[str, str]:
    """By name of the test."""
    lines = [line.split() for line in output.splitlines() if line.startswith(("PASSED", "FAILED", "ERROR "))]
    return {words[1].partition("::")[2]: words[0] for words in lines}


def test_nothing_changes_unless_it_is_asked_for(tmp_path: Path) -> None:
    code, output = run(tmp_path, CASES)
    assert code == 0, output
    assert set(outcomes(output).values()) == {"PASSED"}


@pytest.mark.parametrize(
    ("arguments", "ini"),
    [(("--hybrid-infer-block-network",), ""), ((), "hybrid_infer_block_network = true\n")],
)
def test_a_whole_run_is_blocked_but_for_the_marked(
    tmp_path: Path, arguments: tuple[str, ...], ini: str
) -> None:
    code, output = run(tmp_path, CASES, *arguments, ini=ini)
    assert code == 1
    assert outcomes(output) == {
        "test_plain": "FAILED",
        "test_one_host": "PASSED",
        "test_all_hosts": "PASSED",
        "test_in_a_fixture": "ERROR",
    }
    assert "NetworkBlockedError: a test tried to connect to 127.0.0.1:" in output


@pytest.mark.parametrize(
    ("arguments", "ini"),
    [(("--hybrid-infer-allow-host", "127.0.0.1"), ""), ((), "hybrid_infer_allow_hosts = 127.0.0.1 ::1\n")],
)
def test_hosts_may_be_allowed_for_the_whole_run(tmp_path: Path, arguments: tuple[str, ...], ini: str) -> None:
    code, output = run(tmp_path, CASES, "--hybrid-infer-block-network", *arguments, ini=ini)
    assert code == 0, output


def test_collecting_is_blocked_too(tmp_path: Path) -> None:
    code, output = run(tmp_path, "from reach import reach\nreach()\n", "--hybrid-infer-block-network")
    assert code == 2
    assert "NetworkBlockedError" in output


def test_the_fixture_blocks_one_test(tmp_path: Path) -> None:
    code, output = run(tmp_path, FIXTURE)
    assert code == 0, output
    assert len(outcomes(output)) == 3


def test_a_run_that_does_not_use_it_loads_nothing_for_it(tmp_path: Path) -> None:
    content = (
        "import sys\n\ndef test_loaded():\n"
        "    ours = {name for name in sys.modules if name.startswith('hybrid_infer')}\n"
        "    assert ours <= {'hybrid_infer', 'hybrid_infer.testing', 'hybrid_infer.testing.plugin'}\n"
    )
    code, output = run(tmp_path, content)
    assert code == 0, output
