"""Every transport, in its own colour, behind one way of making and using it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from hybrid_infer.runtime.step import step
from hybrid_infer.transport.aio import AiohttpTransport
from hybrid_infer.transport.base import Body, Origin, Transport, WireRequest, WireResponse
from hybrid_infer.transport.choose import async_transport, blocking_transport
from hybrid_infer.transport.environment import Limits, proxy_for, tls_context
from hybrid_infer.transport.httpx_async import AsyncHttpxTransport

BLOCKING = ("httpcore", "httpx-given")
ASYNC = ("aiohttp", "httpx-async", "httpx-async-given")
OURS = ("httpcore", "aiohttp", "httpx-async")
"""Those that are no user's client: proxies and certificates come from the environment."""

SOON = 30.0
"""Seconds that are more than enough for what is not about waiting."""


class Carrier:
    """Makes and uses one kind of transport. Times are `time.monotonic()`, as in asyncio's loops."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._clients: list[httpx.Client | httpx.AsyncClient] = []
        self._transports: list[Transport] = []

    async def __aenter__(self) -> Carrier:
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in self._transports:
            await transport.aclose()
        for client in self._clients:
            if isinstance(client, httpx.AsyncClient):
                await client.aclose()
            else:
                client.close()

    def make(self, *, environ: Mapping[str, str] | None = None, **limits: Any) -> Transport:
        """A transport, closed when the carrier is left."""
        defaults = {
            "connect_timeout": 5.0,
            "max_connections": 100,
            "max_keepalive": 50,
            "keepalive_expiry": 30.0,
        }
        given = Limits(**{**defaults, **limits})
        variables = environ or {}
        transport = self._make(given, variables)
        self._transports.append(transport)
        return transport

    def _make(self, limits: Limits, environ: Mapping[str, str]) -> Transport:
        clock = time.monotonic
        ways: dict[str, Any] = {
            "clock": clock,
            "limits": limits,
            "proxy_for": lambda origin: proxy_for(origin, environ),
            "tls": lambda: tls_context(environ),
        }
        httpx_limits = httpx.Limits(
            max_connections=limits.max_connections, max_keepalive_connections=limits.max_keepalive
        )
        if self.kind == "httpcore":
            return blocking_transport(clock=clock, limits=limits, environ=environ)
        if self.kind == "httpx-given":
            client = httpx.Client(trust_env=False, limits=httpx_limits)
            self._clients.append(client)
            return blocking_transport(clock=clock, limits=limits, environ=environ, http_client=client)
        if self.kind == "aiohttp":
            return AiohttpTransport(**ways)
        if self.kind == "httpx-async":
            return AsyncHttpxTransport(**ways)
        aclient = httpx.AsyncClient(trust_env=False, limits=httpx_limits)
        self._clients.append(aclient)
        return async_transport(clock=clock, limits=limits, environ=environ, http_client=aclient)

    async def at_once(self, count: int, work: Callable[[int], Coroutine[Any, Any, Any]]) -> list[Any]:
        """`work(0)`, `work(1)`, … at the same time, in threads or tasks."""
        if self.kind in ASYNC:
            return await asyncio.gather(*map(work, range(count)))
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda index: step(work(index)), range(count)))


def request(
    origin: Origin,
    body: bytes | Body = b"{}",
    *,
    path: str = "/v1/chat",
    method: str = "POST",
    **headers: str,
) -> WireRequest:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return WireRequest(method=method, origin=origin, path=path, headers=pairs, body=body)


def soon() -> float:
    return time.monotonic() + SOON


async def whole(answer: WireResponse, until: float | None = None) -> bytes:
    """The body to its end."""
    parts = []
    while data := await answer.read(until or soon()):
        parts.append(data)
    return b"".join(parts)
