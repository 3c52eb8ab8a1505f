"""Turns: which request a thread is at, and how long it may wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hybrid_infer.transport import failures
from hybrid_infer.transport.base import Origin, TransportError
from hybrid_infer.transport.environment import Proxy

_LONGEST = 86_400.0 * 7
"""Seconds; sockets take no more than 24 days, and no infinity."""
_END_OF_HEAD = b"\r\n\r\n"

_now = threading.local()


class Turn:
    """One request, and how long its thread may wait at this moment.

    `httpcore` hands its network backend a timeout for each operation, which a server that drips outlives. So
    the thread notes the turn it takes before it goes in, and the sockets look here.
    """

    __slots__ = (
        "_connect_by", "clock", "connect_timeout", "follows", "head", "origin", "proxy", "sent", "until",
        "uploads",
    )  # fmt: skip

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        until: float,
        connect_timeout: float,
        origin: Origin,
        proxy: Proxy | None,
        follows: bool = False,
    ) -> None:
        self.follows = follows
        """A body in one piece comes right after the head, so that one packet may hold both."""
        self.head = b""
        self.clock = clock
        self.until = until
        self.connect_timeout = connect_timeout
        self.origin = origin
        self.proxy = proxy
        self.sent = False
        self.uploads = False
        self._connect_by: float | None = None

    def take(self, until: float) -> None:
        """From here on this thread waits for this request, until then."""
        self.until = until
        _now.turn = self

    def left(self) -> float:
        """Seconds that may be waited.

        Raises:
            TransportTimeout: none.
        """
        until = self.until if self._connect_by is None else min(self.until, self._connect_by)
        seconds = until - self.clock()
        if seconds <= 0:
            raise self.over()
        return min(seconds, _LONGEST)

    def over(self) -> TransportError:
        """The error of a wait that took too long."""
        if self._connect_by is not None and self._connect_by < self.until:
            return failures.slow_to_connect(self.origin, self.proxy, self.connect_timeout)
        return failures.out_of_time(sent=self.sent)

    def connect(self) -> None:
        """A connection is being opened: the connect timeout counts."""
        self._connect_by = self.clock() + self.connect_timeout

    def connected(self) -> None:
        """The connection is open: what is written now is the request."""
        self._connect_by = None

    def upload(self) -> None:
        """The next piece of a streamed body is about to be read and written.

        Raises:
            TransportTimeout: no time is left for it.
        """
        self.uploads = True
        self.left()

    def begins(self, buffer: bytes) -> bool:
        """Whether it is the head of the request, and not something on the way to the server."""
        return self._connect_by is None and buffer.endswith(_END_OF_HEAD)

    def written(self) -> None:
        self.sent = self.sent or self._connect_by is None


def current() -> Turn:
    """The turn that this thread has taken."""
    turn: Turn = _now.turn
    return turn


def taken() -> Turn | None:
    """As `current`; None where the thread has taken none yet."""
    return getattr(_now, "turn", None)
