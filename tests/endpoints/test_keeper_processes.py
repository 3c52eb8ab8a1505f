"""Real processes, one file of leases, and kill -9."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from endpoints.keeper_worker import LASTS, PACE
from hybrid_infer.endpoints.minimum import TURN

pytestmark = pytest.mark.real_time

KILLS = 10
WORKER = Path(__file__).with_name("keeper_worker.py")


def started(folder: Path, who: str, replicas: int, what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(folder), who, str(replicas), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def minimum(folder: Path) -> int:
    return int(json.loads((folder / "minimum.json").read_text()))


def swept(folder: Path) -> str:
    return started(folder, "sweeper", 0, "sweep").communicate(timeout=30)[0].strip()


@pytest.mark.timeout(120)
def test_killed_processes_neither_stop_the_machine_of_another_nor_leave_it_up(tmp_path: Path) -> None:
    """One holds a replica throughout; another one, which takes and gives back two, is killed again and again,
    wherever it is. After the last lease a sweep finds everything, and the minimum is that of before."""
    (tmp_path / "minimum.json").write_text("0")
    steady = started(tmp_path, "steady", 1, "steady")
    assert steady.stdout is not None
    assert steady.stdout.readline() == "holds\n"
    for number in range(KILLS):
        restless = started(tmp_path, f"restless-{number}", 2, "restless")
        assert restless.stdout is not None
        assert restless.stdout.readline() == "begins\n"
        # Up to a turn it may have to wait for: that of the one before, which was killed in it.
        time.sleep(random.uniform(0.0, 2 * TURN / PACE))
        restless.kill()
        restless.communicate()
    assert steady.poll() is None
    assert minimum(tmp_path) >= 1
    time.sleep(LASTS / PACE)
    assert swept(tmp_path) == "[]"
    assert minimum(tmp_path) == 1
    assert steady.communicate("end\n", timeout=30)[0] == "ended\n"
    assert minimum(tmp_path) == 0
    done = (tmp_path / "done.txt").read_text().splitlines()
    held = done[done.index("steady holds") : done.index("steady ends")]
    assert sum(line.endswith(" 2") for line in held) >= KILLS // 2
    assert not any(line.endswith(" 0") for line in held)


@pytest.mark.timeout(60)
def test_when_all_are_killed_the_next_process_takes_the_machine_down(tmp_path: Path) -> None:
    (tmp_path / "minimum.json").write_text("0")
    steady, restless = (
        started(tmp_path, "steady", 1, "steady"),
        started(tmp_path, "restless", 2, "restless"),
    )
    assert steady.stdout is not None
    assert steady.stdout.readline() == "holds\n"
    for process in (steady, restless):
        process.kill()
        process.communicate()
    assert minimum(tmp_path) >= 1
    time.sleep(LASTS / PACE)
    assert swept(tmp_path) == "[]"
    assert minimum(tmp_path) == 0
