"""Runs scripts, each in a process of its own that ends as interpreters do. Forked, so as to import but once.

Takes a folder and how many may run at a time; reads `{name: script}` as JSON, and writes `{name: [exit code,
what it wrote to stdout and to stderr, when it ended]}`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

LONGEST = 25.0
"""Seconds after which a script is killed."""

SLOW = ("hybrid_infer.aclient", "hybrid_infer.client", "hybrid_infer.simulator.door", "aiohttp", "httpcore")


def start(script: str, out: Path, err: Path) -> int:
    """The child's process id. In the child this runs the script and raises what ends the interpreter."""
    child = os.fork()
    if child:
        return child
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    for number, path in ((1, out), (2, err)):
        opened = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    exec(compile(script, out.stem, "exec"), module.__dict__)
    sys.exit()


def main() -> None:
    folder, at_a_time = Path(sys.argv[1]), int(sys.argv[2])
    for name in SLOW:
        import_module(name)
    waiting = list(json.load(sys.stdin).items())
    running: dict[int, tuple[str, float, Path, Path]] = {}
    ended: dict[str, Any] = {}
    while waiting or running:
        while waiting and len(running) < at_a_time:
            name, script = waiting.pop(0)
            out, err = (folder / f"{len(waiting)}.{kind}" for kind in ("out", "err"))
            running[start(script, out, err)] = name, time.monotonic() + LONGEST, out, err
        for child in list(running):
            name, until, out, err = running[child]
            if time.monotonic() > until:
                os.kill(child, signal.SIGKILL)
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                del running[child]
                code = os.waitstatus_to_exitcode(status)
                ended[name] = [code, out.read_text(), err.read_text(), time.monotonic()]
        time.sleep(0.005)
    json.dump(ended, sys.stdout)


if __name__ == "__main__":
    main()
