"""Servers that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from storm.wire import Act, EchoServer, echo

Serve = Callable[..., EchoServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[EchoServer] = []

    def start(act: Act = echo) -> EchoServer:
        server = EchoServer(act)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()
