"""The transport of the async client where `aiohttp` is installed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp

from hybrid_infer.errors import ClientClosedError
from hybrid_infer.runtime.fork import mend_after_fork
from hybrid_infer.transport import failures, loops
from hybrid_infer.transport.aio_request import Connector, Flight, disowned
from hybrid_infer.transport.base import Headers, Origin, WireRequest
from hybrid_infer.transport.bodies_async import AsyncPieces
from hybrid_infer.transport.encoding import Decode, decoding, read_headers
from hybrid_infer.transport.environment import Limits, Proxy

_PIECE = 65_536
"""Bytes read at one time."""
_LONG_LINE = 65_536
"""Bytes a line of the response's head may have."""
_NOT_OURS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class AiohttpTransport:
    """Belongs to the event loop it first sends in. `until` is exact: the wait is cancelled when it comes.

    A server that answers before it has all of a streamed body is heard at once.

    `Limits.max_keepalive` counts only where it is 0: aiohttp keeps every idle connection until
    `keepalive_expiry`.

    Args:
        clock: the clock of the event loop.
        proxy_for: the proxy on the way to an origin; asked for each request.
        tls: the TLS settings; asked for each https request.
    """

    name = "aiohttp"

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        limits: Limits,
        proxy_for: Callable[[Origin], Proxy | None],
        tls: Callable[[], ssl.SSLContext],
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._proxy_for = proxy_for
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        mend_after_fork(self, AiohttpTransport._enter_child)

    async def send(self, request: WireRequest, *, until: float) -> AiohttpResponse:
        """See `Transport.send`.

        Raises:
            TransportError, TransportTimeout: there is no response.
            UploadError: a streamed body cannot be read as it was announced.
            ConfigurationError: the proxy or the certificates that the environment names cannot be used.
            ClientClosedError: after `aclose`.
        """
        if self._closed:
            raise ClientClosedError("this client is closed; make a new one")
        session = self._session or self._open()
        origin = request.origin
        flight = Flight(
            clock=self._clock,
            until=until,
            connect_timeout=request.connect_within(self._limits.connect_timeout),
            origin=origin,
            proxy=self._proxy_for(origin),
        )
        response = await flight.run(session, request, self._tls() if origin.scheme == "https" else True)
        try:
            headers = read_headers(response.raw_headers)
            decode = decoding(headers)
            return AiohttpResponse(self._clock, session, response, headers, decode, flight.streamed)
        except BaseException:
            _drop(response)
            raise

    async def aclose(self) -> None:
        """Close all connections. Tasks that wait on one get an error."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _enter_child(self) -> None:
        """The connections, and the loop they are in, stay the parent's."""
        session, self._session = self._session, None
        if session is not None and isinstance(session.connector, Connector):
            session.connector.disown()

    def _open(self) -> aiohttp.ClientSession:
        limits = self._limits
        connector = (
            Connector(limit=limits.max_connections, keepalive_timeout=limits.keepalive_expiry)
            if limits.max_keepalive
            else Connector(limit=limits.max_connections, force_close=True)
        )
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_NOT_OURS,
            timeout=aiohttp.ClientTimeout(),  # none: all waits end by `asyncio.timeout_at`
            max_line_size=_LONG_LINE,
            max_field_size=_LONG_LINE,
        )
        return self._session

    def __del__(self) -> None:
        session, loop = self._session, self._loop
        if session is not None and loop is not None and not _soon(loop, _close, session):
            _bury(session)


class AiohttpResponse:
    """A response whose body is read from its connection. See `WireResponse`."""

    __slots__ = (
        "_clock",
        "_decode",
        "_ended",
        "_loop",
        "_response",
        "_session",
        "_streamed",
        "headers",
        "status",
    )

    def __init__(
        self,
        clock: Callable[[], float],
        session: aiohttp.ClientSession,
        response: aiohttp.ClientResponse,
        headers: Headers,
        decode: Decode | None,
        streamed: AsyncPieces | None,
    ) -> None:
        self.status = response.status
        self.headers = headers
        self._clock = clock
        self._decode = decode
        self._ended = False
        self._session = session
        self._streamed = streamed
        self._loop = asyncio.get_running_loop()
        self._response: aiohttp.ClientResponse | None = response

    async def read(self, until: float) -> bytes:
        """See `WireResponse.read`."""
        response = self._response
        if response is None:
            if self._ended:
                return b""
            raise failures.closed(sent=True)
        loops.check(self._loop)
        try:
            while True:
                piece = await self._piece(response, until)
                data = piece if self._decode is None else self._decode(piece or None)
                if not piece:
                    self._ended = True
                    self._close()
                    return data
                if data:
                    return data
        except BaseException:
            self._close()
            raise

    async def aclose(self) -> None:
        self._close()

    def abandon(self) -> None:
        """See `WireResponse.abandon`. It happens in the loop's next round, in the loop's own thread."""
        response, self._response = self._response, None
        if response is None or disowned(self._session):
            return
        if not _soon(self._loop, _drop, response):
            _bury(self._session)
            response.release()

    async def _piece(self, response: aiohttp.ClientResponse, until: float) -> bytes:
        content = response.content
        if content.at_eof():
            return b""
        if self._clock() >= until:
            raise failures.out_of_time(sent=True)
        if content.is_eof():  # all of it is here, so there is nothing to wait for
            return content.read_nowait(_PIECE)
        try:
            async with asyncio.timeout_at(until):
                return await content.read(_PIECE)
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> Exception:
        if self._session.closed:
            return failures.closed(sent=True)
        if self._streamed is not None and self._streamed.failure is not None:
            return self._streamed.failure
        if isinstance(error, aiohttp.ClientPayloadError):
            return failures.broken(_detail(error), answering=True)
        if isinstance(error, (aiohttp.ClientError, ConnectionError)):
            return failures.lost(error, answering=True)
        return failures.out_of_time(sent=True) if isinstance(error, TimeoutError) else error

    def _close(self) -> None:
        if not loops.is_running(self._loop) or disowned(self._session):
            self.abandon()
            return
        response, self._response = self._response, None
        if response is not None:
            _drop(response)

    def __del__(self) -> None:
        self.abandon()


def _detail(error: BaseException) -> str:
    """What aiohttp's parser says; its payload error only names the kind."""
    return str(getattr(error.__cause__, "message", error))


def _drop(response: aiohttp.ClientResponse) -> None:
    """Close at once, without the goodbye of TLS. The connection of a response read to its end is kept."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


def _soon(loop: asyncio.AbstractEventLoop, function: Callable[[Any], object], argument: object) -> bool:
    """Call in the loop's thread, in its next round; False where the loop is closed.

    A finaliser may run in the midst of the loop's or of aiohttp's own work, so it does nothing at once.
    """
    try:
        loop.call_soon_threadsafe(function, argument)
    except RuntimeError:
        return False
    return True


def _close(session: aiohttp.ClientSession) -> None:
    task = asyncio.ensure_future(session.close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def _bury(session: aiohttp.ClientSession) -> None:
    """The loop is closed, and the connections with it: tell aiohttp, which would complain of them otherwise.

    Nothing in it has to wait for anything any more.
    """
    closing = session.close()
    with suppress(StopIteration):
        while True:
            closing.send(None)


_closing: set[asyncio.Future[None]] = set()
