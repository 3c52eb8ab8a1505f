"""Which transport a client gets, and what it costs to have the choice."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.transport import choose
from hybrid_infer.transport.base import Transport
from hybrid_infer.transport.choose import async_transport, blocking_transport
from hybrid_infer.transport.environment import Limits

LIMITS = Limits(connect_timeout=5.0, max_connections=10, max_keepalive=5, keepalive_expiry=30.0)


def blocking(environ: Mapping[str, str] | None = None, http_client: Any = None) -> Transport:
    return blocking_transport(
        clock=time.monotonic, limits=LIMITS, environ=environ or {}, http_client=http_client
    )


def asynchronous(environ: Mapping[str, str] | None = None, http_client: Any = None) -> Transport:
    return async_transport(
        clock=time.monotonic, limits=LIMITS, environ=environ or {}, http_client=http_client
    )


def test_blocking_speaks_to_httpcore_itself() -> None:
    assert blocking().name == "httpcore"
    assert blocking({"ALL_PROXY": "socks5://p"}).name == "httpcore"


def test_async_prefers_aiohttp() -> None:
    assert asynchronous().name == "aiohttp"
    assert asynchronous({"HTTPS_PROXY": "http://p:1"}).name == "aiohttp"


def test_async_takes_httpx_for_socks() -> None:
    assert asynchronous({"ALL_PROXY": "socks5://p:1"}).name == "httpx"


def test_async_takes_httpx_where_aiohttp_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "find_spec", lambda name: None)
    assert asynchronous().name == "httpx"


async def test_a_given_client_is_used() -> None:
    with httpx.Client() as client:
        assert blocking(http_client=client).name == "httpx"
    async with httpx.AsyncClient() as aclient:
        assert asynchronous(http_client=aclient).name == "httpx"


async def test_a_client_of_the_other_colour_is_refused() -> None:
    async with httpx.AsyncClient() as aclient:
        with pytest.raises(
            ConfigurationError, match=r"http_client: Client takes an httpx\.Client, not httpx\.AsyncClient"
        ):
            blocking(http_client=aclient)
    with httpx.Client() as client, pytest.raises(ConfigurationError, match=r"takes an httpx\.AsyncClient"):
        asynchronous(http_client=client)


def test_the_choice_loads_no_library_before_it_is_made() -> None:
    program = """
import sys
import hybrid_infer.transport.choose
loaded = {"aiohttp", "asyncio", "certifi", "httpcore", "httpx", "ssl", "urllib.request"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_each_colour_loads_its_own_library_only() -> None:
    program = """
import sys, time
from hybrid_infer.transport.choose import blocking_transport
from hybrid_infer.transport.environment import Limits
limits = Limits(connect_timeout=5.0, max_connections=10, max_keepalive=5, keepalive_expiry=30.0)
blocking_transport(clock=time.monotonic, limits=limits, environ={})
loaded = {"aiohttp", "httpx"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True)
