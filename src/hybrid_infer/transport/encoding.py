"""Headers as they are written, and bodies without their content encoding."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from hybrid_infer.transport.base import Headers, TransportError, header

Decode = Callable[[bytes | None], bytes]
"""Takes the next piece of the body, or None at its end; gives what of the content it holds."""

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""Window bits of `zlib.decompressobj`."""


def asked(headers: Headers) -> list[tuple[str, str]]:
    """The headers, with `accept-encoding: identity` where the request asks for nothing else.

    The small pieces of a stream gain nothing from compression, which holds them back.
    """
    if header(headers, "accept-encoding") is None:
        return [*headers, ("accept-encoding", "identity")]
    return list(headers)


def written(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


def read_headers(pairs: list[tuple[bytes, bytes]] | tuple[tuple[bytes, bytes], ...]) -> Headers:
    """Names in lower case; bytes outside ASCII are read as Latin-1 (RFC 9110, 5.5)."""
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in pairs)


def decoding(headers: Headers) -> Decode | None:
    """How to read the body of a response with these headers; None where it is read as it is.

    Raises:
        TransportError: an encoding nobody asked for and that cannot be read.
    """
    encoding = (header(headers, "content-encoding") or "").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Inflate(raw_too=encoding == "deflate")
    raise TransportError(f"the answer has an encoding nobody asked for: {encoding!r}", sent=True)


class _Inflate:
    """Undoes gzip and deflate; the latter also without the head that some servers omit (RFC 9110, 8.4.1)."""

    def __init__(self, *, raw_too: bool) -> None:
        self._inflate = zlib.decompressobj(_ZLIB if raw_too else _GZIP)
        self._raw_too = raw_too
        self._begun = False

    def __call__(self, piece: bytes | None) -> bytes:
        try:
            if piece is None:
                content = self._inflate.flush()
                if self._begun and not self._inflate.eof:
                    raise TransportError("the compressed answer ends before its end", sent=True)
                return content
            return self._next(piece)
        except zlib.error as error:
            reason = str(error)
        raise TransportError(f"the compressed answer cannot be read: {reason}", sent=True)

    def _next(self, piece: bytes) -> bytes:
        if not self._begun and piece:
            self._begun = True
            if self._raw_too and piece[0] & 0x0F != 8:
                self._inflate = zlib.decompressobj(_RAW)
        content = self._inflate.decompress(piece)
        while self._inflate.eof and self._inflate.unused_data and not self._raw_too:
            rest = self._inflate.unused_data  # a gzip file may have several parts (RFC 1952, 2.2)
            self._inflate = zlib.decompressobj(_GZIP)
            content += self._inflate.decompress(rest)
        return content
