"""The transport of an async client given an `httpx.AsyncClient`, and where `aiohttp` cannot serve."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import cast

import httpx

from hybrid_infer.errors import ClientClosedError
from hybrid_infer.transport import failures, loops
from hybrid_infer.transport.base import Headers, Origin, WireRequest
from hybrid_infer.transport.bodies_async import AsyncPieces
from hybrid_infer.transport.encoding import Decode, decoding, read_headers
from hybrid_infer.transport.environment import Limits, Proxy, check_socks
from hybrid_infer.transport.httpx_client import unanswered, unfinished, wire_request


class AsyncHttpxTransport:
    """Async, over the user's `httpx.AsyncClient`, or over clients of its own, one for each proxy.

    `until` is exact: the wait is cancelled when it comes. Whether the request had gone out by then is not
    known, and taken to be so. A client of the user's is never closed here; its timeouts and redirects do not
    count. A server that refuses a streamed body before it has all of it is heard once it closes the
    connection, where its answer is still there by then; else that is a lost connection.
    """

    name = "httpx"

    def __init__(
        self,
        client: httpx.AsyncClient | None = None,
        *,
        clock: Callable[[], float],
        limits: Limits,
        proxy_for: Callable[[Origin], Proxy | None],
        tls: Callable[[], ssl.SSLContext],
    ) -> None:
        self._given = client
        self._clock = clock
        self._limits = limits
        self._proxy_for = proxy_for
        self._tls = tls
        self._own: dict[Proxy | None, httpx.AsyncClient] = {}
        self._left: set[asyncio.Future[None]] = set()
        self._closed = False

    async def send(self, request: WireRequest, *, until: float) -> AsyncHttpxResponse:
        """See `Transport.send`.

        Raises:
            TransportError, TransportTimeout: there is no response.
            UploadError: a streamed body cannot be read as it was announced.
            ConfigurationError: the proxy or the certificates that the environment names cannot be used.
            ClientClosedError: after `aclose`, or the user closed the client.
        """
        if self._closed:
            raise ClientClosedError("this client is closed; make a new one")
        origin = request.origin
        proxy = self._proxy_for(origin) if self._given is None else None
        client = self._given or self._own.get(proxy) or self._open(proxy)
        if client.is_closed:
            raise ClientClosedError("the httpx.AsyncClient given as http_client= is closed")
        if self._clock() >= until:
            raise failures.out_of_time(sent=False)
        connect = request.connect_within(self._limits.connect_timeout)
        waits = httpx.Timeout(None, connect=connect)
        body = request.body if isinstance(request.body, bytes) else AsyncPieces(request.body)
        sent = False
        try:
            async with asyncio.timeout_at(until):
                if isinstance(body, AsyncPieces):
                    await body.begin()
                sent = True
                response = await client.send(
                    wire_request(client, request, body, waits), stream=True, follow_redirects=False
                )
        except httpx.ConnectTimeout:
            raise failures.slow_to_connect(origin, proxy, connect) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unanswered(error, origin, proxy) from None
        except TimeoutError:
            raise failures.out_of_time(sent=sent) from None
        finally:
            if isinstance(body, AsyncPieces):
                body.close()
        try:
            headers = read_headers(response.headers.raw)
            decode = None if response.is_stream_consumed else decoding(headers)
            return AsyncHttpxResponse(self, response, headers, decode, self._clock)
        except BaseException:
            await response.aclose()
            raise

    async def aclose(self) -> None:
        """Close what was left behind, and the connections of clients of its own."""
        self._closed = True
        if self._left:
            await asyncio.wait(self._left)
        clients, self._own = list(self._own.values()), {}
        for client in clients:
            await client.aclose()

    def leave(self, response: httpx.Response, pieces: AsyncGenerator[bytes, None]) -> None:
        """Close a response that nobody reads any more; runs in the loop."""
        task = asyncio.ensure_future(_aclose(response, pieces))
        self._left.add(task)
        task.add_done_callback(self._left.discard)

    def _open(self, proxy: Proxy | None) -> httpx.AsyncClient:

        if proxy is not None:
            check_socks(proxy)
        limits = self._limits
        client = self._own[proxy] = httpx.AsyncClient(
            verify=self._tls(),
            trust_env=False,
            proxy=None if proxy is None else httpx.Proxy(proxy.url, auth=proxy.auth),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(
                max_connections=limits.max_connections,
                max_keepalive_connections=limits.max_keepalive,
                keepalive_expiry=limits.keepalive_expiry,
            ),
        )
        return client


class AsyncHttpxResponse:
    """A response whose body is read from its connection. See `WireResponse`."""

    __slots__ = (
        "_clock",
        "_decode",
        "_ended",
        "_loop",
        "_pieces",
        "_ready",
        "_response",
        "_transport",
        "headers",
        "status",
    )

    def __init__(
        self,
        transport: AsyncHttpxTransport,
        response: httpx.Response,
        headers: Headers,
        decode: Decode | None,
        clock: Callable[[], float],
    ) -> None:
        self.status = response.status_code
        self.headers = headers
        self._transport = transport
        self._decode = decode
        self._clock = clock
        self._ended = False
        self._loop = asyncio.get_running_loop()
        # A mock transport or an event hook may have read it already; then its content is decoded, too.
        self._ready = [response.content] if response.is_stream_consumed else None
        self._pieces = cast("AsyncGenerator[bytes, None]", response.aiter_raw())
        self._response: httpx.Response | None = response

    async def read(self, until: float) -> bytes:
        """See `WireResponse.read`."""
        if self._response is None:
            if self._ended:
                return b""
            raise failures.closed(sent=True)
        loops.check(self._loop)
        try:
            while True:
                if self._clock() >= until:
                    raise failures.out_of_time(sent=True)
                piece = await self._piece(until)
                data = piece or b"" if self._decode is None else self._decode(piece)
                if piece is None:
                    self._ended = True
                    await self.aclose()
                    return data
                if data:
                    return data
        except (httpx.HTTPError, httpx.StreamError) as error:
            await self.aclose()
            raise unfinished(error) from None
        except TimeoutError:
            await self.aclose()
            raise failures.out_of_time(sent=True) from None
        except BaseException:
            await self.aclose()
            raise

    async def _piece(self, until: float) -> bytes | None:
        if self._ready is not None:
            return self._ready.pop() if self._ready else None
        async with asyncio.timeout_at(until):
            return await anext(self._pieces, None)

    async def aclose(self) -> None:
        if not loops.is_running(self._loop):
            self.abandon()
            return
        response, self._response = self._response, None
        if response is not None:
            await _aclose(response, self._pieces)

    def abandon(self) -> None:
        """See `WireResponse.abandon`. It happens in the loop, as soon as that runs."""
        response, self._response = self._response, None
        if response is not None:
            try:
                self._loop.call_soon_threadsafe(self._transport.leave, response, self._pieces)
            except RuntimeError:
                return  # the loop is closed, and its connections with it

    def __del__(self) -> None:
        self.abandon()


async def _aclose(response: httpx.Response, pieces: AsyncGenerator[bytes, None]) -> None:
    await pieces.aclose()
    await response.aclose()
