"""The transport of the blocking client: `httpcore`, whose every wait on the network ends at the deadline."""

from __future__ import annotations

import os
import ssl
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, NoReturn, cast

import httpcore

from hybrid_infer.errors import ClientClosedError, UploadError
from hybrid_infer.transport import failures
from hybrid_infer.transport.arrivals import Arrivals
from hybrid_infer.transport.base import Headers, Origin, TransportError, WireRequest
from hybrid_infer.transport.bodies import Pieces
from hybrid_infer.transport.encoding import Decode, asked, decoding, read_headers, written
from hybrid_infer.transport.environment import Limits, Proxy, check_socks
from hybrid_infer.transport.network import DeadlineBackend, DeadlineStream
from hybrid_infer.transport.turns import Turn
from hybrid_infer.transport.underway import Underway


class HttpTransport:
    """Blocking: its coroutines end without ever suspending. Safe to share between threads, and across a fork.

    `until` is kept at every read and write: a server that drips does not outlive it. Resolving a name is the
    one step the operating system does not let us bound; a disk that hangs under a file to send is another. A
    server that refuses a streamed body before it has all of it is heard at once.

    Args:
        clock: monotonic seconds, that of `until`.
        proxy_for: the proxy on the way to an origin; asked for each request.
        tls: makes the TLS settings; called at the first https request.
    """

    name = "httpcore"

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
        self._closed = False
        self._written = _Written()
        self.reopen()
        _transports.add(self)

    def reopen(self) -> None:
        """Start with no connections, as a forked process must: those it inherits are its parent's."""
        self._pools = _Pools(self._limits, self._tls)

    async def send(self, request: WireRequest, *, until: float) -> HttpResponse:
        """See `Transport.send`.

        Raises:
            TransportError, TransportTimeout: there is no response.
            UploadError: a streamed body cannot be read as it was announced.
            ConfigurationError: the proxy or the certificates that the environment names cannot be used.
            ClientClosedError: after `aclose`.
        """
        if self._closed:
            raise ClientClosedError("this client is closed; make a new one")
        origin = request.origin
        turn = Turn(
            clock=self._clock,
            until=until,
            connect_timeout=request.connect_within(self._limits.connect_timeout),
            origin=origin,
            proxy=self._proxy_for(origin),
            follows=isinstance(request.body, bytes) and bool(request.body),
        )
        pools = self._pools
        pools.underway.sweep(_close)
        pool = pools.pool(turn)
        pools.take_place(turn)
        try:
            turn.take(until)
            body = request.body if isinstance(request.body, bytes) else Pieces(request.body, turn.upload)
            try:
                response = pool.handle_request(_wire(request, turn.proxy, body, self._written))
            except Exception as error:
                pools.explain(error, turn, answering=False)
            finally:
                if isinstance(body, Pieces):
                    body.close()
            try:
                headers = read_headers(response.headers)
                return HttpResponse(pools, turn, response, headers, decoding(headers))
            except BaseException:
                response.close()
                raise
        except BaseException:
            pools.give_place()
            raise

    async def aclose(self) -> None:
        """Close all connections. Threads that wait on one get an error."""
        self._closed = True
        self._pools.close()


@dataclass(slots=True)
class _Open:
    """A response and the generator that reads it: closing either takes the lock of the pool."""

    response: httpcore.Response
    pieces: Iterator[bytes]


class HttpResponse:
    """A response whose body is read from its connection. See `WireResponse`."""

    __slots__ = (
        "_arrivals", "_decode", "_ended", "_open", "_pools", "_stream", "_turn", "headers", "status",
    )  # fmt: skip

    def __init__(
        self, pools: _Pools, turn: Turn, response: httpcore.Response, headers: Headers, decode: Decode | None
    ) -> None:
        self.status = response.status
        self.headers = headers
        self._pools = pools
        self._turn = turn
        self._decode = decode
        self._ended = False
        self._arrivals = Arrivals(response)
        # Where the server switches protocols, httpcore puts a stream of its own around it.
        around: httpcore.NetworkStream = cast("Any", response).extensions["network_stream"]
        self._stream: DeadlineStream = around.get_extra_info("stream")
        self._open: _Open | None = _Open(response, iter(cast("Iterable[bytes]", response.stream)))
        pools.underway.hold(self, self._open)

    async def read(self, until: float) -> bytes:
        """See `WireResponse.read`."""
        turn, underway = self._turn, self._open
        if underway is None:
            if self._ended:
                return b""
            raise failures.closed(sent=True)
        turn.take(until)
        try:
            while True:
                turn.left()
                piece = self._arrivals.next(underway.pieces)
                data = piece or b"" if self._decode is None else self._decode(piece)
                if piece is None:
                    self._ended = True
                    self._close()
                    return data
                if data:
                    return data
        except Exception as error:
            self._close()
            self._pools.explain(error, turn, answering=True)

    async def aclose(self) -> None:
        self._close()

    def abandon(self) -> None:
        """See `WireResponse.abandon`. The pool hears of it with the next request."""
        underway = self._pools.underway.take(self)
        if underway is not None:
            self._open = None
            self._stream.cut()
            self._pools.underway.leave(underway)
            self._pools.give_place()

    def _close(self) -> None:
        underway = self._pools.underway.take(self)
        if underway is not None:
            self._open = None
            try:
                self._stream.release()  # before the pool hears of it, and gives it to another request
                underway.response.close()
            finally:
                self._pools.give_place()

    def __del__(self) -> None:
        self.abandon()


class _Pools:
    """The connections of one process.

    Places are counted here and not by `httpcore`, where a response left behind in a finaliser would keep its
    place until the next request, and a thread that already waits would wait for nothing. A `SimpleQueue` may
    be filled inside a finaliser.
    """

    def __init__(self, limits: Limits, tls: Callable[[], ssl.SSLContext]) -> None:
        self.underway: Underway[_Open] = Underway()
        self._closed = False
        self._limits = limits
        self._tls = tls
        self._backend = DeadlineBackend()
        self._guard = threading.Lock()
        self._pools: dict[tuple[bool, Proxy | None], httpcore.ConnectionPool] = {}
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(limits.max_connections):
            self._places.put(None)

    def take_place(self, turn: Turn) -> None:
        """Wait until there is room for one more connection."""
        try:
            self._places.get(timeout=turn.left())
        except Empty:
            raise turn.over() from None
        if self._closed:
            self.give_place()  # to the next who waits
            raise failures.closed(sent=False)

    def give_place(self) -> None:
        self._places.put(None)

    def pool(self, turn: Turn) -> httpcore.ConnectionPool:
        """The pool for this way to this kind of origin, made when it is first needed."""
        secure = turn.origin.scheme == "https"
        socks = turn.proxy if turn.proxy is not None and turn.proxy.is_socks else None
        pool = self._pools.get((secure, socks))
        if pool is None:
            with self._guard:
                pool = self._pools.get((secure, socks)) or self._make(secure, socks)
                self._pools[secure, socks] = pool
        return pool

    def close(self) -> None:
        self._closed = True
        self.underway.sweep(_close)
        self._backend.wake_all()
        self.give_place()
        with self._guard:
            pools = list(self._pools.values())
        for pool in pools:
            pool.close()

    def explain(self, error: Exception, turn: Turn, *, answering: bool) -> NoReturn:
        """Raise what `error` means, in our words."""
        if isinstance(error, UploadError):
            raise error
        if isinstance(error, httpcore.LocalProtocolError):
            raise failures.bad_request(error) from None
        if self._closed:
            raise failures.closed(sent=turn.sent) from None
        if turn.proxy is not None and turn.proxy.is_socks and not turn.sent:
            if isinstance(error, TransportError):
                raise error
            answer = str(error) if isinstance(error, httpcore.ProxyError) else "it did not answer with SOCKS5"
            raise failures.proxy_refused(turn.proxy, answer) from None
        if isinstance(error, httpcore.RemoteProtocolError):
            raise failures.broken(str(error), answering=answering) from None
        if isinstance(error, httpcore.NetworkError):
            raise failures.lost(error, answering=answering) from None
        raise error

    def _make(self, secure: bool, socks: Proxy | None) -> httpcore.ConnectionPool:
        context = self._tls() if secure else None
        if socks is None:
            return httpcore.ConnectionPool(
                ssl_context=context,
                max_connections=None,
                max_keepalive_connections=self._limits.max_keepalive,
                keepalive_expiry=self._limits.keepalive_expiry,
                network_backend=self._backend,
            )
        check_socks(socks)
        return httpcore.SOCKSProxy(
            socks.url,
            proxy_auth=socks.auth,
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=self._limits.max_keepalive,
            keepalive_expiry=self._limits.keepalive_expiry,
            network_backend=self._backend,
        )


class _Written:
    """Headers as they are written. Those of the last request are kept: the next usually has the same."""

    def __init__(self) -> None:
        self._last: tuple[Headers, Origin, list[tuple[bytes, bytes]], bool] | None = None

    def of(self, request: WireRequest) -> tuple[list[tuple[bytes, bytes]], bool]:
        """All but the length, and whether that is wanted."""
        last = self._last
        if last is None or last[0] is not request.headers or last[1] is not request.origin:
            names = {name for name, _ in request.headers}
            headers = asked(request.headers)
            if "host" not in names:
                headers.insert(0, ("host", request.origin.place))
            last = (request.headers, request.origin, written(headers), "content-length" not in names)
            self._last = last
        return last[2], last[3]


def _wire(
    request: WireRequest, proxy: Proxy | None, body: bytes | Pieces, known: _Written
) -> httpcore.Request:
    """The request as `httpcore` takes it.

    A proxy for plain HTTP is sent the whole address (RFC 9112, 3.2.2).
    """
    origin, target = request.origin, request.path
    headers, sized = known.of(request)
    if sized and (request.length or request.method not in ("GET", "HEAD")):
        headers = [*headers, (b"content-length", b"%d" % request.length)]
    if proxy is not None and not proxy.is_socks and origin.scheme == "http":
        target = f"{origin}{target}"
        if proxy.authorization is not None:
            headers = [*headers, (b"proxy-authorization", proxy.authorization.encode())]
    url = httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target)
    return httpcore.Request(request.method, url, headers=headers, content=body)


def _close(underway: _Open) -> None:
    underway.response.close()


_transports: weakref.WeakSet[HttpTransport] = weakref.WeakSet()


def _reopen_all() -> None:
    for transport in _transports:
        transport.reopen()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reopen_all)
