"""Which transport a client gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.transport.base import Transport
from hybrid_infer.transport.environment import Limits, proxy_for, tls_context, uses_socks


def blocking_transport(
    *, clock: Callable[[], float], limits: Limits, environ: Mapping[str, str], http_client: Any = None
) -> Transport:
    """The user's `httpx.Client` where one is given, else `httpcore`, the engine below it.

    Args:
        clock: monotonic seconds; `until` is told on it.
        environ: where proxies and certificates are named. Read at the first request to each origin.
        http_client: an `httpx.Client`; its own proxies and certificates count then.

    Raises:
        ConfigurationError: `http_client` is something else.
    """
    if http_client is not None:
        import httpx

        from hybrid_infer.transport.httpx_client import InjectedTransport

        if not isinstance(http_client, httpx.Client):
            raise ConfigurationError(_wrong_client("Client", http_client))
        return InjectedTransport(http_client, clock=clock, limits=limits)
    from hybrid_infer.transport.http import HttpTransport

    return HttpTransport(
        clock=clock,
        limits=limits,
        proxy_for=cache(partial(proxy_for, environ=environ)),
        tls=cache(partial(tls_context, environ)),
    )


def async_transport(
    *, clock: Callable[[], float], limits: Limits, environ: Mapping[str, str], http_client: Any = None
) -> Transport:
    """The user's `httpx.AsyncClient` where one is given; else `aiohttp`, or `httpx` where that is missing or
    a SOCKS proxy is named.

    Args:
        clock: the clock of the event loop.
        environ, http_client: see `blocking_transport`; the client is an `httpx.AsyncClient`.

    Raises:
        ConfigurationError: `http_client` is something else.
    """
    proxies, tls = cache(partial(proxy_for, environ=environ)), cache(partial(tls_context, environ))
    if http_client is None and find_spec("aiohttp") is not None and not uses_socks(environ):
        from hybrid_infer.transport.aio import AiohttpTransport

        return AiohttpTransport(clock=clock, limits=limits, proxy_for=proxies, tls=tls)
    from hybrid_infer.transport.httpx_async import AsyncHttpxTransport

    if http_client is not None:
        import httpx

        if not isinstance(http_client, httpx.AsyncClient):
            raise ConfigurationError(_wrong_client("AsyncClient", http_client))
    return AsyncHttpxTransport(http_client, clock=clock, limits=limits, proxy_for=proxies, tls=tls)


def _wrong_client(kind: str, given: object) -> str:
    found = f"{type(given).__module__}.{type(given).__qualname__}"
    return f"http_client: {kind} takes an httpx.{kind}, not {found}"
