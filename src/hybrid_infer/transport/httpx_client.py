"""The transport of a blocking client that was given an `httpx.Client`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from hybrid_infer.errors import ClientClosedError
from hybrid_infer.transport import failures
from hybrid_infer.transport.base import Headers, Origin, TransportError, WireRequest, header
from hybrid_infer.transport.bodies import Pieces
from hybrid_infer.transport.encoding import Decode, asked, decoding, read_headers, written
from hybrid_infer.transport.environment import Limits, Proxy
from hybrid_infer.transport.underway import Underway

if TYPE_CHECKING:
    from hybrid_infer.transport.bodies_async import AsyncPieces

_TOO_SHORT = 0.05
"""Seconds. A wait cannot be cut short once the request is out, so one for less than this is not begun."""


class InjectedTransport:
    """Blocking, over the user's own `httpx.Client`. Its proxies, certificates, limits, hooks and default
    headers stay in force; its timeouts and redirects do not. It is never closed here.

    Each single wait is at most as long as what was left when the request was sent, and `until` is checked
    between reads. So a server that drips its head byte by byte outlives `until`, and so does one that falls
    silent in the body. A streamed body looks at `until` before each piece; a server that stops reading it is
    left no later than after as long again. Where no `http_client=` is given the deadline is exact.

    A server that refuses a streamed body before it has all of it is heard once it closes the connection,
    where the system still has its answer by then; else that is a lost connection.
    """

    name = "httpx"

    def __init__(self, client: httpx.Client, *, clock: Callable[[], float], limits: Limits) -> None:
        self._client = client
        self._clock = clock
        self._limits = limits
        self._underway: Underway[_Open] = Underway()
        self._closed = False

    async def send(self, request: WireRequest, *, until: float) -> InjectedResponse:
        """See `Transport.send`.

        Raises:
            TransportError, TransportTimeout: there is no response.
            UploadError: a streamed body cannot be read as it was announced.
            ClientClosedError: after `aclose`, or the user closed the client.
        """
        if self._closed:
            raise ClientClosedError("this client is closed; make a new one")
        self._underway.sweep(_close)
        if self._client.is_closed:
            raise ClientClosedError("the httpx.Client given as http_client= is closed")
        left = until - self._clock()
        if left <= 0:
            raise failures.out_of_time(sent=False)
        connect = request.connect_within(self._limits.connect_timeout)
        waits = httpx.Timeout(left, connect=min(left, connect))

        def before() -> None:
            if self._clock() >= until:
                raise failures.out_of_time(sent=True)

        body = request.body if isinstance(request.body, bytes) else Pieces(request.body, before)
        try:
            wire = wire_request(self._client, request, body, waits)
            begins = _beginning(self._client, wire.url)
            if begins is not None:
                wire.extensions["trace"] = begins
            response = self._client.send(wire, stream=True, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._explained(error, request.origin, until, connect) from None
        finally:
            if isinstance(body, Pieces):
                body.close()
        try:
            headers = read_headers(response.headers.raw)
            decode = None if response.is_stream_consumed else decoding(headers)
            return InjectedResponse(self._clock, self._underway, response, headers, decode)
        except BaseException:
            response.close()
            raise

    async def aclose(self) -> None:
        """Close what was left behind. The user's client stays open."""
        self._closed = True
        self._underway.sweep(_close)

    def _explained(self, error: Exception, origin: Origin, until: float, connect: float) -> TransportError:
        if isinstance(error, httpx.ConnectTimeout) and self._clock() < until:
            return failures.slow_to_connect(origin, None, connect)
        return unanswered(error, origin, None)


@dataclass(slots=True)
class _Open:
    """A response and the generator that reads it: closing either takes the lock of the pool."""

    response: httpx.Response
    pieces: Iterator[bytes]


class InjectedResponse:
    """A response whose body is read from its connection. See `WireResponse`."""

    __slots__ = ("_clock", "_decode", "_ended", "_open", "_underway", "headers", "status")

    def __init__(
        self,
        clock: Callable[[], float],
        underway: Underway[_Open],
        response: httpx.Response,
        headers: Headers,
        decode: Decode | None,
    ) -> None:
        self.status = response.status_code
        self.headers = headers
        self._clock = clock
        self._underway = underway
        self._decode = decode
        self._ended = False
        # A mock transport or an event hook may have read it already; then its content is decoded, too.
        read = response.is_stream_consumed
        self._open: _Open | None = _Open(response, iter([response.content]) if read else response.iter_raw())
        underway.hold(self, self._open)

    async def read(self, until: float) -> bytes:
        """See `WireResponse.read`; `InjectedTransport` says how exact `until` is."""
        underway = self._open
        if underway is None:
            if self._ended:
                return b""
            raise failures.closed(sent=True)
        try:
            while True:
                if self._clock() + _TOO_SHORT >= until:
                    raise failures.out_of_time(sent=True)
                piece = next(underway.pieces, None)
                data = piece or b"" if self._decode is None else self._decode(piece)
                if piece is None:
                    self._ended = True
                    self._close()
                    return data
                if data:
                    return data
        except (httpx.HTTPError, httpx.StreamError) as error:
            self._close()
            raise unfinished(error) from None
        except BaseException:
            self._close()
            raise

    async def aclose(self) -> None:
        self._close()

    def abandon(self) -> None:
        """See `WireResponse.abandon`. The client's pool hears of it with the next request."""
        underway = self._underway.take(self)
        if underway is not None:
            self._open = None
            extensions = underway.response.extensions
            stream = extensions.get("network_stream")
            connection = stream.get_extra_info("socket") if stream is not None else None
            # Over HTTP/2 other responses share the connection: this one is ended by the next request.
            if connection is not None and extensions.get("http_version") != b"HTTP/2":
                connection.close()
            self._underway.leave(underway)

    def _close(self) -> None:
        underway = self._underway.take(self)
        if underway is not None:
            self._open = None
            _close(underway)

    def __del__(self) -> None:
        self.abandon()


def _beginning(client: Any, url: httpx.URL) -> Callable[[str, Any], None] | None:
    """What `httpcore` is to call as a request goes on (its `trace` extension), so that no connection is
    closed under it; None where the client has another pool than that of `httpcore`.

    The pool of httpcore 1.0.9 closes connections that it has just given to a request of another thread: they
    count as idle until that thread comes to them, and as expired where the answer is there by the time the
    pool looks. The request then fails with "bad file descriptor", or waits for nothing until its time is
    over (https://github.com/encode/httpcore/issues/1110). From the moment that the request is on its
    connection the pool leaves it alone. So, before anything is written, we wait until a round of the pool
    that began earlier is over, and have it choose again where that round took the connection away.

    httpx and httpcore have no public way to this. Where their private names are others, the race is as it is.
    """
    try:
        pool: Any = client._transport_for_url(url)._pool
        lock: Any = pool._optional_thread_lock
        requests: list[Any] = pool._requests
    except AttributeError:
        return None

    def begins(event: str, info: Any) -> None:
        if event != "http11.send_request_headers.started":
            return
        with lock:
            kept = pool.connections
            mine = [each.connection for each in requests if each.request is info["request"]]
        if any(connection not in kept for connection in mine):
            raise httpcore.ConnectionNotAvailable

    return begins


def wire_request(
    client: Any, request: WireRequest, body: bytes | Pieces | AsyncPieces, waits: httpx.Timeout
) -> httpx.Request:
    headers = asked(request.headers)
    if not isinstance(body, bytes) and header(headers, "content-length") is None:
        headers.append(("content-length", str(request.length)))
    wire: httpx.Request = client.build_request(
        request.method,
        f"{request.origin}{request.path}",
        headers=written(headers),
        content=body or None,
        timeout=waits,
    )
    return wire


def unanswered(error: Exception, origin: Origin, proxy: Proxy | None) -> TransportError:
    """Why there is no response."""
    if isinstance(error, (httpx.ConnectTimeout, httpx.PoolTimeout)):
        return failures.out_of_time(sent=False)
    if isinstance(error, httpx.TimeoutException):
        return failures.out_of_time(sent=True)
    if isinstance(error, httpx.ProxyError):
        if proxy is not None:
            return failures.proxy_refused(proxy, str(error))
        return TransportError(f"the proxy of the http_client= refused: {error}", sent=False)
    if isinstance(error, httpx.ConnectError):
        return failures.not_connected(error, origin, proxy)
    if isinstance(error, httpx.RemoteProtocolError):
        return failures.broken(str(error), answering=False)
    if isinstance(error, (httpx.ReadError, httpx.WriteError, httpx.CloseError)):
        return failures.lost(error, answering=False)
    return failures.bad_request(error)


def unfinished(error: Exception) -> TransportError:
    """Why the body does not go on."""
    if isinstance(error, httpx.TimeoutException):
        return failures.out_of_time(sent=True)
    if isinstance(error, httpx.RemoteProtocolError):
        return failures.broken(str(error), answering=True)
    return failures.lost(error, answering=True)


def _close(underway: _Open) -> None:
    underway.response.close()
