"""What works in the background has one place for each file, ends with the process and outlives a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hybrid_infer.runtime.background import OnePerFile, close_with_worker, wait_until

pytestmark = pytest.mark.real_time

LIFE = """
import os
from hybrid_infer.runtime.background import OnePerFile

class Thing:
    def __init__(self, path):
        self.name = path.name
    def close(self, timeout=1.0):
        print(self.name, "closed", 0 <= timeout <= 1, flush=True)
    def hold(self):
        print(self.name, "held", flush=True)
    def go_on(self):
        print(self.name, "goes on", flush=True)

things = OnePerFile(1.0)
things.at("a", Thing)
if os.fork() == 0:
    os._exit(0)
os.wait()
things.at("b", Thing)
"""


class Thing:
    """Does nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def close(self, timeout: float = 0.0) -> None: ...
    def hold(self) -> None: ...
    def go_on(self) -> None: ...


def test_a_file_has_one_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    things = OnePerFile[Thing](0.1)
    assert things.at("x", Thing) is things.at(tmp_path / "x", Thing)
    assert things.at("y", Thing) is not things.at("x", Thing)
    assert things.at("x", Thing).path == tmp_path / "x"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_it_is_held_during_a_fork_and_closed_at_the_end(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIFE], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["a held", "a goes on", "a closed True", "b closed True"]


def test_only_a_worker_has_to_be_told_of_its_end() -> None:
    assert not close_with_worker(lambda: None)


def test_waiting_ends_at_its_time() -> None:
    assert wait_until(lambda: True, time.monotonic() - 1)
    assert not wait_until(lambda: False, time.monotonic() - 1)
