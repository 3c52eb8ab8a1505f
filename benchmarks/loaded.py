"""The server in a process of its own, and what it can do: asked by a client that costs next to nothing."""

from __future__ import annotations

import http.client
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ASKED = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "temperature": 0.5}
).encode()


@dataclass(frozen=True, slots=True)
class Spent:
    """What the server has done so far: requests, and seconds of CPU."""

    requests: int
    cpu: float


class Loaded:
    """A running server. `url` is its address, without a path."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def spent(self) -> Spent:
        told = json.loads(self.get("/spent"))
        return Spent(told["requests"], told["cpu"])

    def get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", path)
        body = connection.getresponse().read()
        connection.close()
        return body

    def most(self, connections: int, seconds: float) -> tuple[float, float]:
        """Requests a second with so many connections busy, and the server's CPU seconds for each."""
        request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(ASKED)
        request += ASKED
        selector = selectors.DefaultSelector()
        opened = []
        for _ in range(connections):
            opened.append(socket.create_connection(("127.0.0.1", self.port)))
            opened[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(opened[-1], selectors.EVENT_READ)
        opened[0].sendall(request)
        whole = len(opened[0].recv(65536))  # an answer comes in one piece: it is small, and written at once
        before, count, began = self.spent(), 0, time.perf_counter()
        for one in opened:
            one.sendall(request)
        while (took := time.perf_counter() - began) < seconds:
            for key, _ in selector.select():
                one = key.fileobj
                assert isinstance(one, socket.socket)
                assert len(one.recv(65536)) == whole
                count += 1
                one.sendall(request)
        after = self.spent()
        for one in opened:
            one.close()
        return count / took, (after.cpu - before.cpu) / max(1, after.requests - before.requests)


@contextmanager
def loaded() -> Iterator[Loaded]:
    server = subprocess.Popen(
        [sys.executable, str(HERE / "server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        yield Loaded(int(server.stdout.readline()))
    finally:
        server.kill()
        server.wait()
