"""A real Redis for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import redis


class RedisServer:
    """A server of its own on a unix socket, that keeps nothing on disk."""

    def __init__(self, *, password: str | None = None) -> None:
        self._binary = _binary()
        # Not pytest's folder: the path of a socket may have about 100 characters.
        self._folder = tempfile.mkdtemp(prefix="redis-")
        self.path = str(Path(self._folder) / "redis.sock")
        self.url = f"unix://{self.path}"
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        secret = [] if self._password is None else ["--requirepass", self._password]
        self._process = subprocess.Popen(
            [
                *(self._binary, "--port", "0", "--unixsocket", self.path, "--dir", self._folder),
                *("--save", "", "--appendonly", "no", "--daemonize", "no", *secret),
            ],
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        until = time.monotonic() + 10
        while True:
            try:
                with self.admin() as admin:
                    admin.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < until, "redis-server does not answer"
                time.sleep(0.02)

    def stop(self) -> None:
        """All that it held is lost."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """It accepts connections from here on, and says nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def admin(self) -> Any:
        """A client of redis-py, to look inside."""
        return redis.Redis(unix_socket_path=self.path, password=self._password, decode_responses=True)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _binary() -> str:
    found = shutil.which("redis-server")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is missing; .ci/redis installs it")
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    return found
