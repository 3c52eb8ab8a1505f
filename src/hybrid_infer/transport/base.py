"""What goes over the wire, and what carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Scheme, host and port: what a credential belongs to and a connection leads to."""

    scheme: str
    host: str
    port: int

    @property
    def place(self) -> str:
        """Host, and port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host + ("" if self.port == {"http": 80, "https": 443}.get(self.scheme) else f":{self.port}")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}"


class BodyReader(Protocol):
    """Reads a body from its start to its end, once. May block: it reads from a disk."""

    def read(self) -> bytes:
        """The next piece, at most 256 KiB; ``b""`` at the end.

        Raises:
            UploadError: what the body is made of cannot be read, or is not as long as it was.
        """
        ...

    def close(self) -> None:
        """May be called twice, and not while another thread reads."""
        ...


class Body(Protocol):
    """A request body that is read while it is sent, such as a `Multipart`; nobody holds it in memory."""

    @property
    def length(self) -> int:
        """Bytes, known beforehand: it is the content-length."""
        ...

    def open(self) -> BodyReader:
        """Begin at the start; each time the request is sent does so anew, also at the same time.

        Raises:
            UploadError: what the body is made of is not there any more.
        """
        ...


@dataclass(slots=True, kw_only=True)
class WireRequest:
    """One HTTP request. `path` starts with a slash and includes the query; header names are lower case.

    The headers hold credentials, so they are not part of the repr. `connect_timeout` (seconds) is the
    request's own, where it differs from that of the transport. A `Body` is sent piece by piece; its
    content-type is for the headers, its content-length the transport's.
    """

    method: str
    origin: Origin
    path: str
    headers: Headers
    body: bytes | Body = b""
    connect_timeout: float | None = None

    def connect_within(self, usual: float) -> float:
        """Seconds that opening a connection may take."""
        return usual if self.connect_timeout is None else self.connect_timeout

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    def content(self) -> bytes:
        """The whole body in memory, for those who send nothing. Reads it from its start, and may block.

        Raises:
            UploadError: see `Body.open` and `BodyReader.read`.
        """
        if isinstance(self.body, bytes):
            return self.body
        reader = self.body.open()
        try:
            return b"".join(iter(reader.read, b""))
        finally:
            reader.close()

    def __repr__(self) -> str:
        return f"WireRequest({self.method} {self.origin}{self.path}, {self.length} bytes)"


class TransportError(Exception):
    """No (complete) response. `sent` is False where the request certainly did not go out."""

    def __init__(self, message: str, *, sent: bool, hint: str | None = None) -> None:
        super().__init__(message)
        self.sent = sent
        self.hint = hint


class TransportTimeout(TransportError):
    """The moment given as `until`, or the connect timeout, passed. `connecting` tells which."""

    def __init__(self, message: str, *, sent: bool, connecting: bool = False) -> None:
        super().__init__(message, sent=sent)
        self.connecting = connecting


class WireResponse(Protocol):
    """Status and headers are here; the body is read piece by piece, content encoding removed."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers:
        """Names in lower case."""
        ...

    async def read(self, until: float) -> bytes:
        """The next bytes of the body, ``b""`` at its end.

        Raises:
            TransportTimeout: `until` passed, however many bytes drip in.
            TransportError: the connection broke before the body was complete.
        """
        ...

    async def aclose(self) -> None:
        """Give the connection back, or close it where the body was not read to its end."""
        ...

    def abandon(self) -> None:
        """Close at once from a finaliser, in any thread: takes no lock, waits for nothing."""
        ...


class Transport(Protocol):
    """Carries requests. The blocking kind never suspends; the async kind belongs to one event loop."""

    name: str
    """What carries the bytes, for `describe()`, e.g. ``"httpcore"``."""

    async def send(self, request: WireRequest, *, until: float) -> WireResponse:
        """Send, and come back with the head of the response. Never follows redirects.

        Args:
            until: `Runtime.now()` at which waiting is over, over all of connecting, sending and reading.

        Raises:
            TransportError, TransportTimeout: there is no response.
            UploadError: a streamed body cannot be read as it was announced. The request was broken off, and
                its connection closed.
        """
        ...

    async def aclose(self) -> None: ...


def header(headers: Headers, name: str) -> str | None:
    """The first value of a header; `name` in lower case."""
    for key, value in headers:  # a generator takes three times as long
        if key == name:
            return value
    return None
