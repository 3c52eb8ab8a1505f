"""Exchange: one request to a simulated provider and the answer that grows with time. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Headers = tuple[tuple[str, str], ...]

Ending = Literal["whole", "short", "silent", "refused", "reset", "cut"]
"""What follows the last piece: the proper end, a clean end that comes too early, nothing ever, no connection
at all, a reset of the connection, or its close before the body is complete."""

Broken = Literal["refused", "reset", "cut"]

_ROUNDING = 1e-9
"""Seconds: what is due at the very moment of a poll counts, whatever floats make of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client sent. `path` begins with a slash and may have a query; header names are lower case."""

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
        pieces: bytes of the body, each with the number of tokens that must be out before it; ascending. An
            empty first piece sends the head alone.
        work: makes the tokens; None where nothing is waited for.
        gaps: for each piece, and last for the ending, the seconds that must have passed since the one before
            it (the first: since the request); the gaps of those that are not in it are 0.
        ending: what comes after the last piece.
        pulse: where the ending is ``silent``: seconds, and the bytes sent again and again after so many.
    """

    status: int
    headers: Headers
    pieces: tuple[tuple[int, bytes], ...]
    work: Work | None = None
    gaps: tuple[float, ...] = ()
    ending: Ending = "whole"
    pulse: tuple[float, bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a poll found.

    Attributes:
        status, headers: the head of the response, None and empty until its first piece is there.
        pieces: what has been added to the body since the last poll.
        wake: when to poll again, later than now; earlier does no harm. None when nothing will come any more.
        done: the answer is complete, broken, or was cancelled.
        broken: how the connection ends, where it does; such a step has no pieces.
    """

    status: int | None
    headers: Headers
    pieces: tuple[bytes, ...]
    wake: float | None
    done: bool
    broken: Broken | None = None


class Exchange:
    """Polled by whoever carries the bytes. Made by `World.receive`.

    Args:
        at: turns the carrier's time into the world's.
        zero: the carrier's time at which the world's began.
        began: when the request came, in the world's time.
        ended: called once with the exchange, and whether it was cancelled, when nothing more will come.
    """

    __slots__ = ("_at", "_ended", "_gone", "_last", "_over", "_response", "_sent", "_starved", "_zero")

    def __init__(
        self,
        response: Response,
        *,
        at: Callable[[float], float],
        zero: float,
        began: float = 0.0,
        ended: Callable[[Exchange, bool], None] | None = None,
    ) -> None:
        self._response = response
        self._at = at
        self._zero = zero
        self._ended = ended
        self._sent = 0
        self._last = began
        self._starved = False
        self._gone = False
        self._over = False

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
        gaps = response.gaps
        while not self._gone and last < len(pieces) and pieces[last][0] <= tokens:
            if gaps and not self._due(last, moment):
                break
            last += 1
        if last > first and not gaps:
            self._last = moment
        self._sent = last
        sent = tuple(piece for _, piece in pieces[first:last])
        broken: Broken | None = None
        done = self._gone
        wake: float | None = None
        if not done and last < len(pieces):
            self._starved = pieces[last][0] > tokens
            if not self._starved:
                wake = self._last + gaps[last]
            elif response.work is not None:
                wake = response.work.next_look(pieces[last][0])
        elif not done:
            sent, wake, broken = self._end(sent, moment)
            done = wake is None and (broken is not None or response.ending in ("whole", "short"))
            if done:
                self._finish(moment)
        return Step(
            status=response.status if last else None,
            headers=response.headers if last else (),
            pieces=sent,
            # Rounding between the two clocks must not ask for the same moment for ever.
            wake=None if wake is None else max(self._zero + wake, math.nextafter(now, math.inf)),
            done=done,
            broken=broken,
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
            self._leave(cancelled=True)

    def _due(self, index: int, moment: float) -> bool:
        """Whether the gap before a piece (or the ending) has passed; if so, the next one begins."""
        gap = self._gap(index)
        if gap and self._last + gap > moment + _ROUNDING:
            return False
        self._last = self._last + gap if gap and not self._starved else moment
        self._starved = False
        return True

    def _gap(self, index: int) -> float:
        gaps = self._response.gaps
        return gaps[index] if index < len(gaps) else 0.0

    def _end(
        self, sent: tuple[bytes, ...], moment: float
    ) -> tuple[tuple[bytes, ...], float | None, Broken | None]:
        """What follows the last piece: bytes to add, when to look again, how the connection breaks."""
        response = self._response
        ending = response.ending
        if ending == "whole" or ending == "short":  # type checkers do not follow `in`
            return sent, None, None
        if ending == "silent":
            if response.pulse is None:
                return sent, None, None
            every, beat = response.pulse
            while self._last + every <= moment + _ROUNDING:
                self._last += every
                sent = (*sent, beat)
            return sent, self._last + every, None
        due = self._last + self._gap(len(response.pieces))
        if sent or due > moment + _ROUNDING:
            return sent, due, None
        return sent, None, ending

    def _finish(self, moment: float) -> None:
        if self._response.ending != "whole" and self._response.work is not None:
            self._response.work.cancel(moment)
        self._leave(cancelled=False)

    def _leave(self, *, cancelled: bool) -> None:
        if not self._over:
            self._over = True
            if self._ended is not None:
                self._ended(self, cancelled)
