"""Servers on raw sockets that do what they are told: answer, drip, fall silent, hang up."""

from __future__ import annotations

import base64
import queue
import select
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_infer.transport.base import Origin

DRIP = 0.2
"""Seconds between two bytes of a server that drips."""


@dataclass(frozen=True)
class Seen:
    """One request as it came over the wire. `connection` counts from 1."""

    connection: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


class Peer:
    """The server's end of one connection."""

    def __init__(self, server: Server, connection: socket.socket, number: int) -> None:
        self.server = server
        self.socket = connection
        self.number = number
        self._rest = b""

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._rest:
            data = self.socket.recv(65_536)
            if not data:
                return None
            self._rest += data
        found, _, self._rest = self._rest.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            data = self.socket.recv(65_536)
            if not data:
                raise ConnectionError("the client closed the connection inside the body")
            self._rest += data
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def request(self) -> Seen | None:
        """The next request; None when the client is gone."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        line, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        headers = [(name, value.strip()) for name, _, value in (each.partition(":") for each in lines)]
        sizes = [int(value) for name, value in headers if name.lower() == "content-length"]
        body = self._exactly(sizes[0]) if sizes else b""
        seen = Seen(self.number, method, target, headers, body)
        self.server.seen.append(seen)
        return seen

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def drip(self, data: bytes) -> None:
        """Byte by byte, until the client has gone or the server stops."""
        for index in range(len(data)):
            if self.gone(DRIP):
                return
            self.send(data[index : index + 1])

    def gone(self, seconds: float) -> bool:
        """Whether the client closes the connection within these seconds (or the server stops)."""
        ready, _, _ = select.select([self.socket, self.server.stopping], [], [], seconds)
        if self.server.stopping in ready:
            return True
        return self.socket in ready and not self.socket.recv(65_536)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Act = Callable[[Peer, Seen], bool | None]
"""What the server does with a request; True keeps the connection for the next one."""


class Server:
    """Listens on 127.0.0.1 and does `act` for each request.

    Attributes:
        seen: the requests, in the order they came.
        connections: how many were made.
        ended: gets the number of each connection when it is over.
    """

    def __init__(self, act: Act, *, tls: ssl.SSLContext | None = None) -> None:
        self.act = act
        self.tls = tls
        self.seen: list[Seen] = []
        self.connections = 0
        self.ended: queue.Queue[int] = queue.Queue()
        self.stopping, self._stop = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def origin(self) -> Origin:
        if self.tls is None:
            return Origin(scheme="http", host="127.0.0.1", port=self.port)
        return Origin(scheme="https", host="localhost", port=self.port)

    def stop(self) -> None:
        self._stop.close()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
        self.stopping.close()

    def serve(self, peer: Peer) -> None:
        while seen := peer.request():
            if not self.act(peer, seen):
                return

    def _listen(self) -> None:
        while self.stopping not in select.select([self._listener, self.stopping], [], [])[0]:
            connection, _ = self._listener.accept()
            self.connections += 1
            thread = threading.Thread(target=self._connection, args=(connection, self.connections))
            self._threads.append(thread)
            thread.start()

    def _connection(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(20)
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self.serve(Peer(self, connection, number))
        except OSError:
            pass  # the client hung up, which is often what the test is about
        finally:
            connection.close()
            self.ended.put(number)


class Mute(Server):
    """Takes everything and says nothing."""

    def serve(self, peer: Peer) -> None:
        while not peer.gone(10):
            pass


class Blunt(Server):
    """Gives one answer to whatever it is sent, and hangs up."""

    def serve(self, peer: Peer) -> None:
        peer.socket.recv(65_536)
        peer.send(response(b"what?", "400 Bad Request"))


class ProxyServer(Server):
    """An HTTP proxy: passes CONNECT and absolute targets on, or gives `answer` instead."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer
        super().__init__(lambda peer, seen: False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, peer: Peer) -> None:
        seen = peer.request()
        if seen is None:
            return
        if self.answer is not None:
            peer.send(self.answer)
            return
        if seen.method == "CONNECT":
            host, _, port = seen.target.partition(":")
            forward = b""
        else:
            host, _, port = seen.target.removeprefix("http://").partition("/")[0].partition(":")
            path = "/" + seen.target.removeprefix("http://").partition("/")[2]
            lines = [f"{seen.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in seen.headers)]
            forward = "\r\n".join([*lines, "", ""]).encode() + seen.body
        with socket.create_connection((host, int(port)), timeout=10) as onward:
            if seen.method == "CONNECT":
                peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            onward.sendall(forward)
            self.relay(peer.socket, onward)

    def relay(self, one: socket.socket, other: socket.socket) -> None:
        """Pass bytes both ways until either end is closed."""
        while True:
            ready, _, _ = select.select([one, other, self.stopping], [], [], 20)
            if not ready or self.stopping in ready:
                return
            for source in ready:
                data = source.recv(65_536)
                if not data:
                    return
                (other if source is one else one).sendall(data)


class SocksServer(ProxyServer):
    """A SOCKS5 proxy without passwords (RFC 1928). `asked` are the names it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__()

    def serve(self, peer: Peer) -> None:
        peer.socket.recv(64)
        peer.send(b"\x05\x00")
        request = peer.socket.recv(512)
        host = request[5 : 5 + request[4]].decode() if request[3] == 3 else socket.inet_ntoa(request[4:8])
        port = int.from_bytes(request[-2:], "big")
        self.asked.append(host)
        with socket.create_connection((host, port), timeout=10) as onward:
            peer.send(b"\x05\x00\x00\x01" + bytes(6))
            self.relay(peer.socket, onward)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def response(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    """A whole response with a content-length."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def answering(*responses: bytes) -> Act:
    """Gives one response after the other, the last one for ever; the connection stays open."""
    left = list(responses)

    def act(peer: Peer, _: Seen) -> bool:
        peer.send(left.pop(0) if len(left) > 1 else left[0])
        return True

    return act


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for localhost, and the context of a server that shows it."""

    file: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


def certificate(folder: Path) -> Certificate:
    """Made by the `openssl` command."""
    openssl = shutil.which("openssl")
    assert openssl is not None, "these tests need the openssl command"
    made = Certificate(folder / "localhost.pem", folder / "localhost.key")
    options: list[Any] = ["-keyout", made.key, "-out", made.file, "-days", "2", "-subj", "/CN=localhost"]
    options += ["-newkey", "rsa:2048", "-nodes", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([openssl, "req", "-x509", *options], check=True, capture_output=True)
    return made
