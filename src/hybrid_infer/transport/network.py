"""Sockets that keep to a deadline at every read and write, as the network backend of `httpcore`."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import httpcore

from hybrid_infer.transport import failures, turns
from hybrid_infer.transport.base import Origin
from hybrid_infer.transport.environment import Proxy
from hybrid_infer.transport.turns import Turn

_SLICE = 65_536
"""Bytes given to the socket at one time."""
_STATUS = len("HTTP/1.1 200")
"""Bytes of an answer that tell whether the server still wants the body."""
_HEAD = 16_384
"""Bytes a proxy may use to answer CONNECT."""


class DeadlineStream(httpcore.NetworkStream):
    """A connected socket. Closing it takes no lock, and may happen twice.

    The pool of `httpcore` 1.0.9 can close a connection that it has just given to a request of another thread:
    it still counts as idle until that thread comes to it, and as expired where the answer is there by the
    time the pool looks (https://github.com/encode/httpcore/issues/1110). The socket would be closed under the
    request, which then fails or waits for nothing. So a request holds its stream from its first write until
    `release`, and whoever closes it meanwhile only leaves word.
    """

    def __init__(self, connection: socket.socket, user: Turn) -> None:
        self._socket = connection
        self._ahead = b""
        """What came while a body was sent."""
        self._user: Turn | None = user
        self._free: list[None] = []
        """One item while no request holds the stream. Who takes it out may write, or close; `list.pop` is
        atomic."""
        self._unwanted = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        turn = turns.current()
        if self._ahead:
            data, self._ahead = self._ahead[:max_bytes], self._ahead[max_bytes:]
            return data
        self._socket.settimeout(turn.left())
        try:
            return self._socket.recv(max_bytes)
        except TimeoutError:
            raise turn.over() from None
        except OSError as error:
            raise httpcore.ReadError(error) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        turn = turns.current()
        if self._user is not turn:
            self._hold(turn)
        if turn.follows and turn.begins(buffer):
            turn.follows, turn.head = False, buffer
            return
        if turn.head:
            buffer, turn.head = turn.head + buffer, b""
        turn.written()
        rest = memoryview(buffer)
        if turn.uploads:
            self._upload(rest, turn)
            return
        while rest:
            self._socket.settimeout(turn.left())
            try:
                rest = rest[self._socket.send(rest[:_SLICE]) :]
            except TimeoutError:
                raise turn.over() from None
            except OSError as error:
                # httpcore then reads all the same: a server may answer before it took the whole request.
                raise httpcore.WriteError(error) from error

    def _upload(self, rest: memoryview, turn: Turn) -> None:
        """Write a piece of a streamed body, and stop where the server refuses the rest (RFC 9112, 9.5).

        httpcore then reads the answer, and closes the connection after it.
        """
        if _ready(self._socket, 0, reading=True, writing=False)[0]:
            self._listen()
        while rest:
            self._socket.settimeout(0)
            try:
                rest = rest[self._socket.send(rest[:_SLICE]) :]
                turn.left()
                continue
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
            except OSError as error:
                raise httpcore.WriteError(error) from error
            heard = len(self._ahead) >= _STATUS  # an answer that lets the body go on can wait
            readable, writable = _ready(self._socket, turn.left(), reading=not heard, writing=True)
            if readable:
                self._listen()
            elif not writable:
                raise turn.over()

    def _listen(self) -> None:
        """Take what has come; over TLS that may be nothing for us, such as a new session ticket."""
        if len(self._ahead) >= _STATUS:
            return
        self._socket.settimeout(0)
        try:
            data = self._socket.recv(_SLICE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            raise httpcore.WriteError(error) from error
        self._ahead += data
        status = self._ahead[_STATUS - 3 : _STATUS]
        if not data or (len(status) == 3 and not status.startswith((b"1", b"2"))):
            raise httpcore.WriteError("the server does not take the rest of the request")

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        turn = turns.current()
        plain = self._socket
        try:
            plain.settimeout(turn.left())
            self._socket = ssl_context.wrap_socket(plain, server_hostname=server_hostname)
        except TimeoutError:
            plain.close()
            raise turn.over() from None
        except OSError as error:
            plain.close()
            raise failures.not_secured(error, turn.origin) from None
        except BaseException:
            plain.close()
            raise
        turn.connected()
        return self

    def _hold(self, turn: Turn) -> None:
        try:
            self._free.pop()
        except IndexError:
            # The pool closed it since it chose it for this request; hearing so, it chooses again.
            raise httpcore.ConnectionNotAvailable from None
        self._user = turn

    def release(self) -> None:
        """The request that holds the stream has its whole answer, or gives up."""
        self._user = None
        self._free.append(None)
        if self._unwanted:
            self.close()

    def close(self) -> None:
        """Close it, or have the request that holds it do so at its end, where that is not this thread's."""
        self._unwanted = True
        if self._user is None or self._user is not turns.taken():
            try:
                self._free.pop()
            except IndexError:
                return
        self.cut()

    def cut(self) -> None:
        """Close it, whoever holds it."""
        self._socket.close()

    def wake(self) -> None:
        """End the wait of a thread that reads or writes here."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # nobody is at the other end any more

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            # Asked of idle connections: what comes to a request that meanwhile began is no sign of an end.
            return self._user is None and (bool(self._ahead) or _readable(self._socket))
        if info == "stream":
            return self
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        return self._socket if info == "socket" else None

    def __del__(self) -> None:
        self._socket.close()


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections, through the HTTP proxy of the turn where it has one."""

    def __init__(self) -> None:
        self._streams: weakref.WeakSet[DeadlineStream] = weakref.WeakSet()
        self._guard = threading.Lock()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        turn = turns.current()
        turn.connect()
        proxy = turn.proxy
        if proxy is not None:
            host, port = proxy.host, proxy.port
        stream = DeadlineStream(_connected(host, port, turn), turn)
        with self._guard:
            self._streams.add(stream)
        try:
            if turn.origin.scheme != "https":
                turn.connected()
            elif proxy is not None and not proxy.is_socks:
                _tunnel(stream, proxy, turn.origin)
        except BaseException:
            stream.close()
            raise
        return stream

    def wake_all(self) -> None:
        """End all waits on all connections."""
        with self._guard:
            streams = list(self._streams)
        for stream in streams:
            stream.wake()


def _connected(host: str, port: int, turn: Turn) -> socket.socket:
    """The first address of the name that accepts a connection.

    An address that stays silent gets half of the time that is left while there are others to try.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise failures.not_resolved(error, turn.origin, turn.proxy) from None
    for more, (family, kind, protocol, _, address) in zip(
        range(len(addresses) - 1, -1, -1), addresses, strict=True
    ):
        seconds = turn.left()
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(seconds / 2 if more else seconds)
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError:
            connection.close()
            if not more:
                raise turn.over() from None
        except OSError as error:
            connection.close()
            if not more:
                raise failures.not_connected(error, turn.origin, turn.proxy) from None
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failures.not_connected(OSError("the name has no address"), turn.origin, turn.proxy)


def _tunnel(stream: DeadlineStream, proxy: Proxy, origin: Origin) -> None:
    """Ask the proxy to pass the connection on (RFC 9110, 9.3.6)."""
    target = failures.place(origin)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    head = b""
    try:
        stream.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        while b"\r\n\r\n" not in head:
            # The proxy says nothing after its head before it is spoken to, so nothing of the server is lost.
            piece = stream.read(_HEAD)
            head += piece
            if not piece or len(head) > _HEAD:
                raise failures.proxy_refused(proxy, "it did not answer with HTTP")
    except httpcore.NetworkError:
        raise failures.proxy_refused(proxy, "it closed the connection") from None
    version, _, answer = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
    if not version.startswith("HTTP/1."):
        raise failures.proxy_refused(proxy, "it did not answer with HTTP")
    if not answer.startswith("2"):
        raise failures.proxy_refused(proxy, answer)


def _readable(connection: socket.socket) -> bool:
    """Whether something has come, or the end: an idle connection where it has cannot be used again."""
    return _ready(connection, 0, reading=True, writing=False)[0]


def _ready(connection: socket.socket, seconds: float, *, reading: bool, writing: bool) -> tuple[bool, bool]:
    """Whether it can be read and written without a wait, as soon as one of what is asked for can.

    A connection that broke, or that was closed here, can be both.
    """
    number = connection.fileno()
    if number < 0:
        return True, True
    if not hasattr(select, "poll"):
        readers, writers = [number] if reading else [], [number] if writing else []
        readable, writable, _ = select.select(readers, writers, [], seconds)
        return bool(readable), bool(writable)
    poll = select.poll()
    poll.register(number, (select.POLLIN if reading else 0) | (select.POLLOUT if writing else 0))
    found = dict(poll.poll(seconds * 1000)).get(number, 0)
    broken = found & (select.POLLERR | select.POLLHUP | select.POLLNVAL)
    return bool(found & select.POLLIN or broken), bool(found & select.POLLOUT or broken)
