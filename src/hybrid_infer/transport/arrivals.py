"""What has arrived of the body of a response of `httpcore`, beyond the piece that it gives out next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import h11
import httpcore

_MORE = 32
"""HTTP chunks that are taken besides the next one, where they have arrived."""

Read: TypeAlias = Callable[[], Any]
"""The next event of a body, or something else where more has to arrive first."""

End: TypeAlias = Callable[[Any], object]
"""To be told of an event that is no piece of the body."""


class Arrivals:
    """Gives a body piece by piece, with a piece also some of what has arrived behind it.

    `httpcore` gives one HTTP chunk at a time, and streams come in small ones. To go on with its parser costs
    a fraction of that, and waits for nothing. Not all is taken: whoever waits for the first is not to wait
    for the rest to be read.
    """

    __slots__ = ("_broken", "_end", "_ended", "_parser", "_read")

    def __init__(self, response: httpcore.Response) -> None:
        self._ended = False
        self._parser = _parser(response)
        if self._parser is not None:
            self._read, self._end = quick(self._parser)
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
        read = self._read
        more: list[bytes] = []
        try:
            while len(more) < _MORE:
                event = read()
                if not isinstance(event, h11.Data):
                    self._end(event)
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


def quick(parser: h11.Connection) -> tuple[Read, End]:
    """As `plain`, for a body: two thirds of its time go into states, which only the end changes.

    That a connection is made of these parts has been so from h11 0.14 to 0.16.
    """
    inside: Any = parser
    try:
        read, process = partial(inside._reader, inside._receive_buffer), inside._process_event
    except (AttributeError, TypeError):
        return plain(parser)

    def end(event: Any) -> None:
        if event is not None:
            process(parser.their_role, event)

    return read, end


def plain(parser: h11.Connection) -> tuple[Read, End]:
    """What reads the next event, and what is to be told of one that is no piece of the body."""
    return parser.next_event, _known


def _known(event: Any) -> None:
    """`next_event` sees to that itself."""
