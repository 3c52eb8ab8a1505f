"""One request over `aiohttp`, up to the head of its response."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from types import NoneType
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from hybrid_infer.transport import failures
from hybrid_infer.transport.base import Origin, TransportError, WireRequest, header
from hybrid_infer.transport.bodies_async import AsyncPieces
from hybrid_infer.transport.encoding import asked
from hybrid_infer.transport.environment import Proxy

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_PIECE = 65_536
"""Bytes of a long body given to aiohttp at one time."""
_LONG_BODY = 1_048_576
"""Bytes from which on aiohttp warns of a body in one piece: it would hold up the loop."""


class Flight:
    """One request on its way out, and its timeout: short while it connects, `until` before and after.

    Attributes:
        streamed: the body, where it is read while it is sent; that may go on when the answer has begun.
    """

    __slots__ = (
        "_clock",
        "_connect_timeout",
        "_origin",
        "_proxy",
        "_sent",
        "_timeout",
        "_transport",
        "_until",
        "streamed",
    )

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        until: float,
        connect_timeout: float,
        origin: Origin,
        proxy: Proxy | None,
    ) -> None:
        self._clock = clock
        self._until = until
        self._connect_timeout = connect_timeout
        self._origin = origin
        self._proxy = proxy
        self._sent = False
        self._transport: asyncio.Transport | None = None
        self._timeout = asyncio.timeout_at(until)
        self.streamed: AsyncPieces | None = None

    async def run(
        self, session: aiohttp.ClientSession, request: WireRequest, context: ssl.SSLContext | bool
    ) -> aiohttp.ClientResponse:
        """Send the request; come back with the head of the response."""
        headers = asked(request.headers)
        options: dict[str, Any] = {}
        if self._proxy is not None:
            options = self._through(self._proxy, headers)
        data: bytes | _Pieces | _Streamed | None
        if not isinstance(request.body, bytes):
            self.streamed = AsyncPieces(request.body)
            data = _Streamed(self.streamed)
        else:
            data = _Pieces(request.body) if request.length >= _LONG_BODY else request.body or None
        if not isinstance(data, (bytes, NoneType)) and header(headers, "content-length") is None:
            headers.append(("content-length", str(request.length)))
        if self._clock() >= self._until:
            raise failures.out_of_time(sent=False)
        _flight.set(self)
        response: aiohttp.ClientResponse | None = None
        try:
            async with self._timeout:
                if self.streamed is not None:
                    await self.streamed.begin()
                response = await session.request(
                    request.method,
                    URL(f"{request.origin}{request.path}", encoded=True),
                    headers=headers,
                    data=data,
                    ssl=context,
                    allow_redirects=False,
                    **options,
                )
            self._transport = None
            return response
        except asyncio.CancelledError:
            if session.closed and not _cancelled():  # so aiohttp sends away who waits for a connection
                raise failures.closed(sent=self._sent) from None
            raise
        except aiohttp.ClientConnectorDNSError as error:
            raise failures.not_resolved(error.__cause__ or error, self._origin, self._proxy) from None
        except aiohttp.ClientConnectorError as error:
            raise failures.not_connected(error.__cause__ or error, self._origin, self._proxy) from None
        except (aiohttp.ClientError, ConnectionError, RuntimeError) as error:
            if session.closed:
                raise failures.closed(sent=self._sent) from None
            raise self._failed(error) from None
        except TimeoutError:
            raise self._over() from None
        except ValueError as error:
            raise failures.bad_request(error) from None
        finally:
            _flight.set(None)
            if self.streamed is not None and response is None:
                self.streamed.close()
            if self._transport is not None and not disowned(session):
                self._transport.abort()  # aiohttp closes it too, but first waits for all to be written

    def connecting(self) -> None:
        """No connection was free, and a new one is opened."""
        connect_by = self._clock() + self._connect_timeout
        if connect_by < self._until and not self._timeout.expired():
            self._timeout.reschedule(connect_by)

    def connected(self, transport: asyncio.Transport | None) -> None:
        """There is a connection, and the request goes out."""
        self._sent = True
        self._transport = transport
        if self._timeout.when() != self._until and not self._timeout.expired():
            self._timeout.reschedule(self._until)

    def _failed(self, error: Exception) -> Exception:
        if self.streamed is not None and self.streamed.failure is not None:
            return self.streamed.failure
        if isinstance(error, RuntimeError):
            return error
        if self._proxy is not None and not self._sent:
            answer = "it closed the connection"
            if isinstance(error, aiohttp.ClientResponseError):
                said = isinstance(error, aiohttp.ClientHttpProxyError)
                answer = f"{error.status} {error.message}" if said else "it did not answer with HTTP"
            return failures.proxy_refused(self._proxy, answer)
        if not self._sent:
            return failures.not_connected(error, self._origin, self._proxy)
        if isinstance(error, aiohttp.ClientResponseError):
            return failures.broken(error.message, answering=False)
        return failures.lost(error, answering=False)

    def _over(self) -> TransportError:
        if self._timeout.when() == self._until:
            return failures.out_of_time(sent=self._sent)
        return failures.slow_to_connect(self._origin, self._proxy, self._connect_timeout)

    def _through(self, proxy: Proxy, headers: list[tuple[str, str]]) -> dict[str, Any]:
        """The options that send the request through a proxy, with the proxy's own credentials."""
        if proxy.authorization is None:
            return {"proxy": proxy.url}
        credentials = ("proxy-authorization", proxy.authorization)
        if self._origin.scheme == "https":
            return {"proxy": proxy.url, "proxy_headers": [credentials]}
        headers.append(credentials)
        return {"proxy": proxy.url}


class _Pieces:
    """A long body for aiohttp, piece by piece."""

    def __init__(self, body: bytes) -> None:
        self._rest = memoryview(body)

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            raise StopAsyncIteration
        piece, self._rest = self._rest[:_PIECE], self._rest[_PIECE:]
        return bytes(piece)


class _Streamed(aiohttp.Payload):
    """A body for aiohttp that is read while it is sent. Its task is cancelled where the answer ends first."""

    _autoclose = True

    def __init__(self, pieces: AsyncPieces) -> None:
        super().__init__(pieces)
        self._pieces = pieces

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("it is sent and not kept")

    async def write(self, writer: AbstractStreamWriter) -> None:
        try:
            async for piece in self._pieces:
                await writer.write(piece)
        finally:
            self._pieces.close()


class Connector(aiohttp.TCPConnector):
    """Tells the Flight that it has a connection, and which.

    Attributes:
        disowned: its connections are those of the process that this one was forked from.
    """

    disowned = False

    def disown(self) -> None:
        """Close none of the connections, whatever is collected: the two processes share a selector.

        What is closed here would be taken out of it, and the parent would wait there without end.
        """
        self.disowned = True
        self._closed = True

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        if (flight := _flight.get()) is not None:
            flight.connected(connection.transport)
        return connection

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        # aiohttp's public way to hear of this, a `TraceConfig`, costs a quarter of a call's CPU at 256 in
        # flight: it makes an object and awaits five signals for each request.
        if (flight := _flight.get()) is not None:
            flight.connecting()
        return await super()._create_connection(req, traces, timeout)


def disowned(session: aiohttp.ClientSession) -> bool:
    """Whether the connections of the session are another process's."""
    return isinstance(session.connector, Connector) and session.connector.disowned


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_flight: ContextVar[Flight | None] = ContextVar("flight", default=None)
"""The request that the running task sends."""
