"""Processes that end without a word, or are forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.stores.leases.sqlite import SqliteLeases

WARM = """
import os, sys
from hybrid_infer import Client
settings = dict(simulate=True, mode="together-dedicated", leases_path=sys.argv[1], simulate_speed=1000.0)
client = Client(**settings)
print(client.warm().life, flush=True)
"""


def process(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WARM + code, str(path)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def leases(path: Path) -> int:
    return len(step(SqliteLeases(path, VirtualThreads()).leases()))


@pytest.mark.real_time
def test_a_process_that_ends_without_closing_gives_its_machine_back(tmp_path: Path) -> None:
    done = process("", tmp_path / "leases.sqlite")
    assert (done.returncode, done.stdout, done.stderr) == (0, "warm\n", "")
    assert leases(tmp_path / "leases.sqlite") == 0


@pytest.mark.real_time
def test_a_process_that_is_killed_leaves_its_lease_to_others(tmp_path: Path) -> None:
    done = process("os.kill(os.getpid(), 9)", tmp_path / "leases.sqlite")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "warm\n")
    assert leases(tmp_path / "leases.sqlite") == 1


@pytest.mark.real_time
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_give_back_what_its_parent_holds(tmp_path: Path) -> None:
    """It closes its copy of the client; the parent's machine stays up."""
    code = """
from hybrid_infer.runtime.step import step
child = os.fork()
if not child:
    client.close()
    os._exit(0)
os.waitpid(child, 0)
print(len(step(client._core.machines.keeper.leases())), flush=True)
os._exit(0)
"""
    done = process(code, tmp_path / "leases.sqlite")
    assert done.stdout == "warm\n1\n", done.stderr
