"""The drivers: a process for each client, in the client's own environment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent
ROOT = HERE.parent


class Absent(Exception):
    """A client cannot take part, or not in this case; the text is the reason."""


def environment(peer: str) -> Path:
    """The interpreter of a client's environment, made by make if it is not there.

    Raises:
        Absent: it cannot be installed here.
    """
    folder = ROOT / f".venv-bench-{peer}"
    made = subprocess.run(
        ["make", "--no-print-directory", f"{folder.name}/.ready"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        raise Absent(f"not installed: {made.stderr.strip().splitlines()[-1][:150]}")
    if (folder / ".missing").exists():
        said = (folder / ".missing").read_text().strip().removeprefix("ERROR: ")
        raise Absent(f"not installed: {said.partition(' (from versions')[0][:150]}")
    return folder / "bin" / "python"


def _clean() -> dict[str, str]:
    """The environment of a driver: nobody's settings, and nothing that makes Python slower."""
    dropped = ("HYBRID_INFER_", "OPENAI_", "TOGETHER_", "OTEL_", "PYTHON", "LITELLM_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    # Otherwise litellm fetches a table from the internet when it is imported.
    return {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


class Member:
    """One client's driver.

    Args:
        patience: seconds after which a run begins no further call.
    """

    def __init__(self, peer: str, python: Path, url: str, patience: float) -> None:
        self.peer = peer
        self.python = python
        self._url = url
        self._patience = patience
        self._process = subprocess.Popen(
            [str(python), str(HERE / "driver.py"), peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_clean(),
        )
        self.versions: dict[str, str] = self._ask({"do": "prepare", "url": url, "patience": patience})[
            "versions"
        ]

    def run(self, case: str, times: int, **given: Any) -> dict[str, float]:
        """Figures of one run.

        Raises:
            Absent: the client has nothing for this case, or failed at it.
        """
        return self._ask({"do": "run", "case": case, "times": times, **given})

    def again(self) -> Member:
        """A driver for the same client that has done nothing yet."""
        return Member(self.peer, self.python, self._url, self._patience)

    def cold(self, case: str) -> dict[str, float]:
        """As `run`, in an interpreter that does nothing else: `import`, or `first-call`."""
        module = self.peer.replace("-", "_")
        work = {
            "import": "import sys; del sys.path[0]; import {0}",
            "first-call": "from peers.{0} import Client; Client({1!r}).unary()",
        }[case].format(module, self._url)
        timed = (
            "import time; w, c = time.perf_counter(), time.process_time()\n"
            f"{work}\n"
            "print('\\n', time.perf_counter() - w, time.process_time() - c, flush=True)\n"
            "import os; os._exit(0)"
        )
        done = subprocess.run(
            [str(self.python), "-c", timed],
            cwd=HERE,
            capture_output=True,
            text=True,
            env=_clean(),
            timeout=120,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it ended without a word"]
            lacking = said[-1].startswith("peers.base.Lacking: ")
            raise Absent(said[-1].removeprefix("peers.base.Lacking: ")[:150] if lacking else said[-1][:150])
        wall, cpu = done.stdout.split()[-2:]
        return {"wall_us": float(wall) * 1e6, "cpu_us": float(cpu) * 1e6}

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Absent("its driver ended")
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise Absent(answer["error"])
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
