"""Servers, proxies and transports for the tests of this folder."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carriers import ASYNC, BLOCKING, Carrier
from wire_server import Act, Certificate, ProxyServer, Server, certificate


@pytest.fixture(params=[*BLOCKING, *ASYNC])
def kind(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def colour(kind: str) -> str:
    return "sync" if kind in BLOCKING else "async"


@pytest.fixture
def carrier(kind: str) -> Carrier:
    return Carrier(kind)


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """What a test leaves unclosed is found within that test, as a ResourceWarning."""
    yield
    gc.collect()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers: `serve(act)` or `serve(act, tls=…)`; `of` is another kind of Server."""
    servers: list[Server] = []

    def start(act: Act, *, of: type[Server] = Server, **options: Any) -> Server:
        servers.append(of(act, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def proxied() -> Iterator[Callable[..., ProxyServer]]:
    """Starts proxies: `proxied()` passes on, `proxied(answer)` gives that answer."""
    proxies: list[ProxyServer] = []

    def start(*arguments: Any) -> ProxyServer:
        proxies.append(ProxyServer(*arguments))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.stop()


@pytest.fixture(scope="session")
def localhost(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A self-signed certificate for localhost."""
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    return tmp_path / "nothing.pem"
