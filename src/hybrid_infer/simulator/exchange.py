"""Exchange: one request to a simulated provider and the answer that grows with time. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client sent. `path` begins with a slash; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


class Work(Protocol):
    """Makes the tokens of one answer."""

    def produced(self, now: float) -> int:
        """Tokens that are out at `now`, which never goes back."""
        ...

    def next_look(self, count: int) -> float:
        """When to look again for token number `count`; may be early, and is asked right after `produced`."""
        ...

    def cancel(self, now: float) -> None:
        """Nobody waits any more. Harmless when all tokens are out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer and what each part of it waits for.

    Attributes:
        pieces: bytes of the body, each with the number of tokens that must be out before it; ascending.
        work: makes the tokens; None where nothing is waited for.
    """

    status: int
    headers: Headers
    pieces: tuple[tuple[int, bytes], ...]
    work: Work | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a poll found.

    Attributes:
        status, headers: the head of the response, None and empty until its first piece is there.
        pieces: what has been added to the body since the last poll.
        wake: when to poll again, later than now; earlier does no harm. None when nothing is waited for.
        done: the answer is complete, or was cancelled.
    """

    status: int | None
    headers: Headers
    pieces: tuple[bytes, ...]
    wake: float | None
    done: bool


class Exchange:
    """Polled by whoever carries the bytes. Made by `World.receive`.

    Args:
        at: turns the carrier's time into the world's.
        zero: the carrier's time at which the world's began.
    """

    __slots__ = ("_at", "_gone", "_response", "_sent", "_zero")

    def __init__(self, response: Response, *, at: Callable[[float], float], zero: float) -> None:
        self._response = response
        self._at = at
        self._zero = zero
        self._sent = 0
        self._gone = False

    @property
    def cancelled(self) -> bool:
        """Nothing more will come."""
        return self._gone

    def poll(self, now: float) -> Step:
        """What there is at `now`."""
        response, pieces = self._response, self._response.pieces
        moment = self._at(now)
        tokens = response.work.produced(moment) if response.work is not None and not self._gone else 0
        first = last = self._sent
        while not self._gone and last < len(pieces) and pieces[last][0] <= tokens:
            last += 1
        self._sent = last
        done = self._gone or last == len(pieces)
        wake: float | None = None
        if not done and response.work is not None:
            # Rounding between the two clocks must not ask for the same moment for ever.
            wake = max(self._zero + response.work.next_look(pieces[last][0]), math.nextafter(now, math.inf))
        return Step(
            status=response.status if last else None,
            headers=response.headers if last else (),
            pieces=tuple(piece for _, piece in pieces[first:last]),
            wake=wake,
            done=done,
        )

    def cancel(self, now: float) -> None:
        """The client went away: stop the work and free what it held. Harmless afterwards."""
        self.stop(self._at(now))

    def stop(self, moment: float) -> None:
        """As `cancel`, in the world's own time."""
        if not self._gone:
            self._gone = True
            if self._response.work is not None:
                self._response.work.cancel(moment)
