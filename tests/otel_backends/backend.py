"""What the check needs of a backend, and how its server is run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

HOST = "127.0.0.1"
START = 180.0
"""Seconds for a server to come up. The first start compiles its modules, and makes its tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a backend tells of one call, through its own API. None is "nothing".

    Attributes:
        own_cost: what the backend itself makes of the tokens, where it does not take the given cost.
        below: spans below that of the call.
    """

    model: str | None
    provider: str | None
    failed: bool
    session: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost: float | None
    own_cost: float | None
    asked: str
    answered: str
    below: int


class Backend(Protocol):
    """One kind of backend."""

    name: str
    prices_itself: bool
    """Whether it prices tokens by its own table, whatever cost a span has."""

    def start(self, work: Path) -> subprocess.Popen[bytes]: ...
    def ready(self) -> bool: ...
    def traces(self) -> tuple[str, Mapping[str, str]]:
        """Where OTLP goes, and with which headers."""
        ...

    def told(self) -> dict[str, Told]:
        """By session."""
        ...


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def serve(command: Sequence[str], log: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a server in a process group of its own, so that its workers can be ended with it."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))
    }
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **environ},
            cwd=log.parent,
            start_new_session=True,
        )


def wait_for(backend: Backend, process: subprocess.Popen[bytes], log: Path) -> float:
    """Seconds until it answers.

    Raises:
        RuntimeError: it ended, or never did.
    """
    began = time.monotonic()
    while time.monotonic() - began < START:
        if process.poll() is not None:
            break
        try:
            if backend.ready():
                return time.monotonic() - began
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    tail = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{backend.name} did not come up; the end of its log:\n{tail}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
        except ProcessLookupError:
            return
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue
        return


def get(address: str, **query: Any) -> Any:
    """JSON from an address."""
    return httpx.get(address, params=query, timeout=30, trust_env=False).raise_for_status().json()


def post(address: str, body: Any) -> Any:
    """JSON for JSON."""
    return httpx.post(address, json=body, timeout=30, trust_env=False).raise_for_status().json()
