"""One live answer, drawn by several calls."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

from hybrid_infer.calls.cached import Kept, Served
from hybrid_infer.calls.call import Call, Horizon
from hybrid_infer.calls.copies import json_of
from hybrid_infer.calls.reply import WELL, Facts, Reply
from hybrid_infer.errors import APIError, DeadlineExceededError, RefusedError, StreamError
from hybrid_infer.runtime.base import Promise, Runtime

MOST_KEPT = 1_048_576
"""Bytes of events that are kept for calls that may still join. A longer stream takes no more of them."""

_COPIED = tuple(field.name for field in fields(Facts) if field.name != "first_token")


Fill: TypeAlias = Callable[[Reply], Coroutine[Any, Any, None]]


class LostError(Exception):
    """The call that drew the answer is gone, and this one has shown nothing of it yet: it may ask itself."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is kept: each call reads its own from it."""

    kind: type[Any]
    json: bytes

    def read(self) -> Any:
        return self.kind.model_validate_json(self.json)


@dataclass(frozen=True, slots=True)
class End:
    """How the stream ended; well where there is no error."""

    error: BaseException | None = None


class SharedStream:
    """Hands the events of one reply to all who take part.

    Whoever wants an event that has not come yet draws it: in its own thread or task while it is alone, and
    beside all of them otherwise, so that nobody's deadline or cancellation ends the answer of the others. A
    call that joins while one is being drawn takes nothing until that has come, since it may end so. The last
    one to leave closes the reply.

    Args:
        call: the leader's, whose attempts brought the reply.
        horizon: until when the reply may be drawn; kept at the end of the call with most time.
        fill: stores the answer, once it has come well to its end.
        over: called once nobody may join any more.
    """

    def __init__(
        self,
        runtime: Runtime,
        reply: Reply,
        call: Call,
        kept: Kept,
        horizon: Horizon,
        *,
        fill: Fill,
        over: Callable[[], None],
    ) -> None:
        self.runtime = runtime
        self.reply = reply
        self.kept = kept
        self._call = call
        self._horizon = horizon
        self._fill = fill
        self._over: Callable[[], None] | None = over  # it leads back to here: kept no longer than needed
        self._guard = runtime.guard()
        self._events: deque[Event] = deque()
        self._first = 0
        """The number of the first event that is kept."""
        self._bytes = 0
        self._joinable = True
        self._taking: dict[Participant, None] = {}
        self._drawing = False
        self._drawn = 0
        """How many times an event was drawn."""
        self._stop: Callable[[], None] | None = None
        self._changed: Promise | None = None
        self._end: End | None = None
        self._gone: deque[Participant] = deque()

    def join(self, call: Call, *, leads: bool = False) -> Participant | None:
        """Take part from the first event on; None where it is too late."""
        with self._guard:
            if not self._joinable or (self._end is not None and self._end.error is not None):
                return None
            joined = Participant(self, call, leads=leads)
            joined.not_before = self._drawn + self._drawing
            self._taking[joined] = None
        self._work()
        return joined

    def served(self) -> Served | None:
        """Who gives the answer, as far as is known."""
        return served_by(self._call)

    async def take(self, taker: Participant) -> Any | None:
        """The next event for one of those who take part; None at a proper end.

        Raises:
            LostError: see there.
            APIError: the stream broke, or the taker's own time is over.
        """
        while True:
            inline = beside = False
            with self._guard:
                event = self._next_of(taker)
                end = self._end
                if event is None and end is None and not self._drawing:
                    self._drawing = True
                    inline = len(self._taking) == 1
                    beside = not inline
                    self._horizon.until = max(one.until for one in self._taking)
                changed = self._changed
                if event is None and changed is None and not inline:
                    changed = self._changed = self.runtime.promise()
            self._work()
            if event is not None:
                return event.read()
            if end is not None:
                self._check(taker, end)
                return None
            if beside:
                self._stop = self.runtime.detach(self._draw_beside)
                inline = self._stop is None
            if inline:
                event = await self._draw()
                if event is not None:
                    with self._guard:
                        taker.at += 1
                    return event
                continue
            if changed is not None and not await changed.wait(taker.until - self.runtime.now()):
                raise DeadlineExceededError(
                    "the deadline of the call passed while it shared a stream",
                    billed=False,
                    partial=self.reply.final(),
                    hint="give it more with timeout= or deadline=",
                )

    def leave(self, taker: Participant) -> bool:
        """Take part no more. True if that was the last one, and the caller is to close the reply."""
        with self._guard:
            last = self._remove(taker)
        self._work()
        return last

    def abandon(self, taker: Participant) -> None:
        """As `leave`, from a finaliser: whoever holds the guard, maybe this very thread, does it after."""
        self._gone.append(taker)
        self._work()

    def _work(self) -> None:
        # What is put after the last look and before the release finds the guard taken. Hence the loop.
        while self._gone and self._guard.acquire(blocking=False):
            last = False
            try:
                while self._gone:
                    last = self._remove(self._gone.popleft()) or last
            finally:
                self._guard.release()
            if last:
                self.reply.abandon()

    def _next_of(self, taker: Participant) -> Event | None:
        end = self._end
        if end is None:
            if taker.not_before > self._drawn:
                return None
        elif end.error is not None and taker.unseen and not can_be_shared(end.error):
            return None  # it asks itself
        position = taker.at - self._first
        if position >= len(self._events):
            return None
        taker.at += 1
        return self._events[position]

    def _remove(self, taker: Participant) -> bool:
        """Whether the reply is to be closed by who asked."""
        if taker not in self._taking:
            return False
        del self._taking[taker]
        if self._taking:
            return False
        self._events.clear()
        self._no_more()
        if self._end is not None:
            return False
        if self._drawing:  # whoever draws closes it
            if self._stop is not None:
                self._stop()
            return False
        self._end = End(LostError())
        return True

    def _no_more(self) -> None:
        if self._joinable:
            self._joinable = False
            over, self._over = self._over, None
            if over is not None:
                over()

    def _check(self, taker: Participant, end: End) -> None:
        """Raise what the end of the stream is for one of those who take part, where it is none."""
        error = end.error
        if error is None:
            return
        if can_be_shared(error):
            raise copied(error)
        if taker.unseen:
            raise LostError
        if isinstance(error, APIError):
            raise copied(error)
        raise StreamError(
            "the stream was shared with an identical call, and was lost with it",
            partial=self.reply.final(),
            billed=False,
        )

    async def _draw(self) -> Any | None:
        """Draw one event, and tell everybody. The event itself goes to who drew it."""
        event: Any | None = None
        end: End | None = None
        try:
            event = await self.reply.next()
            if event is None:
                end = End(None if self.reply.ending is WELL else LostError())
                if self.reply.ending is WELL:
                    await self._fill(self.reply)
        except BaseException as error:
            end = End(_without_traceback(error))
            raise
        finally:
            unwanted = self._arrived(event, end)
        if unwanted:
            await self.reply.aclose()
        return event

    async def _draw_beside(self) -> None:
        with suppress(BaseException):  # those who wait for the event are told of it
            await self._draw()

    def _arrived(self, event: Any | None, end: End | None) -> bool:
        """Keep what was drawn; True where nobody wants the rest."""
        kept = None if event is None else Event(event.__class__, json_of(event))
        with self._guard:
            if kept is not None:
                self._events.append(kept)
                self._bytes += len(kept.json)
                if self._bytes > MOST_KEPT:
                    self._no_more()
            if end is not None:
                self._end = end
                self._no_more()
            self._drawing, self._stop = False, None
            self._drawn += 1
            if not self._joinable:
                self._forget()
            changed, self._changed = self._changed, None
            unwanted = not self._taking and self._end is None
            if unwanted:
                self._end = End(LostError())
                self._events.clear()
        if changed is not None:
            changed.keep()
        self._work()
        return unwanted

    def _forget(self) -> None:
        """Drop the events that everybody has taken."""
        least = min((one.at for one in self._taking), default=self._first)
        while self._events and self._first < least:
            self._events.popleft()
            self._first += 1


class Participant:
    """The source of one call's reply: its own place in a shared stream.

    Attributes:
        at: how many events it has taken.
        not_before: it takes nothing until so many have been drawn.
        unseen: its caller has been shown nothing yet.
        facts: of its reply.
    """

    def __init__(self, stream: SharedStream, call: Call, *, leads: bool) -> None:
        self.call = call
        self.until = call.until
        self.at = 0
        self.not_before = 0
        self.unseen = not leads
        self.facts = stream.reply.facts if leads else replace(stream.reply.facts, first_token=None)
        self._leads = leads
        self._stream = stream
        self._held: deque[Any | None] = deque()
        self._left = False

    async def first(self) -> None:
        """Wait for the first event, so that the call may still ask itself where none comes.

        Raises: see `SharedStream.take`.
        """
        self._held.append(await self._take())
        self.unseen = False

    async def whole(self) -> Any:
        """Draw to the end; the complete answer.

        Raises: see `SharedStream.take`.
        """
        while await self._take() is not None:
            pass
        return self.final()

    async def next(self) -> Any | None:
        return self._held.popleft() if self._held else await self._take()

    def final(self) -> Any:
        value = self._stream.reply.final()
        return value if self._leads or value is None else self._stream.kept.read(json_of(value))

    async def aclose(self) -> None:
        if not self._left:
            self._left = True
            if self._stream.leave(self):
                await self._stream.reply.aclose()

    def abandon(self) -> None:
        if not self._left:
            self._left = True
            self._stream.abandon(self)

    async def _take(self) -> Any | None:
        stream = self._stream
        event = await stream.take(self)
        if not self._leads:
            for name in _COPIED:
                setattr(self.facts, name, getattr(stream.reply.facts, name))
            if self.facts.first_token is None and stream.reply.facts.first_token is not None:
                self.facts.first_token = stream.runtime.now()
            self.call.tally.served = stream.served()
        if event is None:
            await self.aclose()
        return event


def served_by(call: Call) -> Served | None:
    """Who answered a call, for those that get its answer."""
    if call.tally.served is not None:
        return call.tally.served
    attempts = call.tally.attempts
    target = next((attempt.target for attempt in reversed(attempts) if not attempt.lost), None)
    return None if target is None else Served(mode=target.mode, target=target.name, like=target)


def can_be_shared(error: BaseException) -> bool:
    """Whether what one call failed with is what an identical one would fail with: not its own deadline, nor a
    refusal of this client, nor that it was cancelled."""
    return isinstance(error, APIError) and not isinstance(error, DeadlineExceededError | RefusedError)


def copied(error: BaseException) -> BaseException:
    """The error as another call raises it, which was billed nothing for it."""
    found = copy.copy(error)
    if isinstance(found, APIError):
        found.billed = False
    return found


def _without_traceback(error: BaseException) -> BaseException:
    """To keep: a traceback leads back to the frames of who drew it, and from there to here."""
    return copy.copy(error) if isinstance(error, APIError) else LostError()
