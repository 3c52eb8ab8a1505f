"""What has arrived of the body of a response of `httpcore`, beyond the piece that it gives out next."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import h11
import httpcore

_MORE = 32
"""HTTP chunks that are taken besides the next one, where they have arrived."""

_CHUNK = re.compile(rb"\r\n([0-9A-Fa-f]{1,8})\r\n")
"""The end of a chunk and the size of the next, where it has no extension (RFC 9112, 7.1)."""


class Arrivals:
    """Gives a body piece by piece, with a piece also some of what has arrived behind it.

    `httpcore` gives one HTTP chunk at a time, and streams come in small ones. To go on with its parser costs
    a fraction of that, and waits for nothing. Not all is taken: whoever waits for the first is not to wait
    for the rest to be read.
    """

    __slots__ = ("_broken", "_ended", "_parser")

    def __init__(self, response: httpcore.Response) -> None:
        self._ended = False
        self._parser = _parser(response)
        self._broken: h11.ProtocolError | None = None

    def next(self, pieces: Iterator[bytes]) -> bytes | None:
        """The next piece; None at the end.

        Args:
            pieces: those of the response, which whoever closes it must be able to close, too.

        Raises:
            httpcore.RemoteProtocolError: what came is no HTTP.
        """
        if self._broken is not None:
            raise httpcore.RemoteProtocolError(str(self._broken))
        piece = None if self._ended else next(pieces, None)
        if piece is None or self._parser is None or self._parser.their_state is not h11.SEND_BODY:
            return piece
        more = whole_chunks(self._parser, _MORE)
        try:
            while len(more) < _MORE:
                event = self._parser.next_event()
                if not isinstance(event, h11.Data):
                    self._ended = isinstance(event, h11.EndOfMessage)
                    break
                more.append(event.data)
        except h11.ProtocolError as error:
            self._broken = error  # what came before it counts
        return b"".join([piece, *more]) if more else piece


def _parser(response: httpcore.Response) -> h11.Connection | None:
    """What reads the connection of a response; None where `httpcore` does not keep it where it did in 1.0."""
    found: Any = response.stream
    for name in ("_stream", "_connection", "_h11_state"):
        found = getattr(found, name, None)
    return found if isinstance(found, h11.Connection) else None


def whole_chunks(parser: h11.Connection, most: int) -> list[bytes]:
    """At most so many chunks that have arrived whole, taken past a parser that stands between two of them.

    It takes an eighth of the parser's time, and leaves it where it stood: behind the bytes of a chunk, whose
    line end it expects next. What is not written in the plainest way is left to the parser; so is everything,
    where an h11 keeps its place elsewhere than 0.16 does.
    """
    inside: Any = parser
    try:
        reader, buffer = inside._reader, inside._receive_buffer
        if reader._bytes_to_discard != b"\r\n":
            return []
        data: bytearray = buffer._data
        take: Callable[[int], object] = buffer.maybe_extract_at_most
    except AttributeError:
        return []
    found: list[bytes] = []
    place = 0
    while len(found) < most and (header := _CHUNK.match(data, place)):
        start = header.end()
        end = start + int(header[1], 16)
        if end == start or end > len(data):
            break  # the end of the body, or of what has arrived
        found.append(bytes(data[start:end]))
        place = end
    if place:
        take(place)
    return found
