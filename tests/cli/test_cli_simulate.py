"""`hybrid-infer simulate`: a real server in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import hybrid_infer

pytestmark = pytest.mark.real_time

RUN = "from hybrid_infer.cli import main; main()"
SOURCE = str(Path(hybrid_infer.__file__).parent.parent)


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, "simulate", *arguments],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    with start(RUN, "--port", "0", "--speed", "40", "--seed", "3") as process:
        yield process
        process.kill()


def test_stdout_gets_the_variables_at_once_and_a_call_finds_its_way_with_them(
    server: subprocess.Popen[str],
) -> None:
    assert server.stdout is not None and server.stderr is not None
    said = server.stderr.readline()
    exports = os.read(server.stdout.fileno(), 65536).decode().splitlines()
    assert "Ctrl-C ends them" in said
    assert all(line.startswith("export ") for line in exports)
    done = subprocess.run(
        ["/bin/sh", "-c", '. ./sim.env; exec "$0" -c "$1" call --mode modal Hello', sys.executable, RUN],
        env={**os.environ, "PYTHONPATH": SOURCE},
        cwd=written(exports),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Hello" in done.stdout
    assert "cold start" in done.stderr


def written(exports: list[str]) -> Path:
    """The working directory, with the exports in a file."""
    Path("sim.env").write_text("\n".join(exports))
    return Path.cwd()


def test_an_interrupt_ends_it_quietly(server: subprocess.Popen[str]) -> None:
    assert server.stderr is not None
    server.stderr.readline()
    server.send_signal(signal.SIGINT)
    _, rest = server.communicate(timeout=20)
    assert server.returncode == 0
    assert rest.strip() == ""


def test_a_port_in_use_is_one_line() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        start(RUN, "--port", str(taken.getsockname()[1])) as process,
    ):
        out, error = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert error.startswith("error: cannot listen at 127.0.0.1:")
    assert len(error.splitlines()) == 1


def test_faults_from_a_file_happen() -> None:
    Path("faults.toml").write_text('[[fault]]\nkind = "status"\nstatus = 418\non = 2\n')
    with start(RUN, "--port", "0", "--speed", "40", "--faults", "faults.toml") as process:
        assert process.stdout is not None and process.stderr is not None
        said = [process.stderr.readline() for _ in range(2)]
        assert said[1] == "1 rule of faults from faults.toml\n"
        base = next(line for line in process.stdout if "OPENAI_BASE_URL" in line).split("=")[1].strip()
        body = {"model": "Qwen/Qwen3.5-9B", "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"authorization": "Bearer any"}
        url = f"{base}/chat/completions"
        assert [httpx.post(url, json=body, headers=headers).status_code for _ in range(3)] == [200, 418, 200]
        process.kill()


def test_a_file_of_faults_is_looked_at_before_anything_is_served() -> None:
    Path("faults.toml").write_text('[[fault]]\nkind = "stal"\n\n[[fault]]\nkind = "drip"\nevents = 1\n')
    with start(RUN, "--port", "0", "--faults", "faults.toml") as process:
        out, error = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert "faults.toml: fault 1: kind='stal': no such fault; did you mean stall?" in error
    assert "faults.toml: fault 2: events: drip has none; it takes seconds" in error


def test_a_speed_that_stands_still_is_a_usage_error() -> None:
    with start(RUN, "--speed", "0") as process:
        _, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "--speed" in error
