"""Live answers: events drawn from a response as they arrive, or from a complete answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from hybrid_infer.calls.call import Call
from hybrid_infer.calls.decoder import Decoder
from hybrid_infer.calls.reply import RawResponse
from hybrid_infer.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    DeadlineExceededError,
    StreamError,
)
from hybrid_infer.transport.base import TransportError, WireResponse

T = TypeVar("T")

_LAST_BYTES = 0.02
"""Seconds granted after the last event for the end of the body, so that the connection can be used again."""


Limit = Literal["total", "attempt", "first_token", "between_tokens"]


@dataclass(slots=True, kw_only=True)
class Wait:
    """How long may be waited for the provider, and which of the time limits says so."""

    until: float
    limit: Limit
    since: float
    """When it began."""


class Wire(Protocol):
    """What a live answer needs of the exchange that it belongs to."""

    async def received(self, work: Awaitable[T], call: Call, wait: Wait) -> T: ...
    def named(self, error: APIError) -> None: ...
    def now(self) -> float: ...


class LiveSource:
    """Draws events from a response as they arrive.

    Only content resets the time limit between two pieces: comments and empty events keep a connection open,
    not an answer alive. The time that the caller takes between two events does not count.
    """

    def __init__(self, wire: Wire, call: Call, response: WireResponse, decoder: Decoder) -> None:
        self._wire = wire
        self._call = call
        self._response = response
        self._decoder = decoder
        self._events: deque[Any] = deque()
        self._held: deque[Any] = deque()
        self._over = False
        self._waited = 0.0
        self._first: Wait | None = None
        """How long may be waited for the first content, while there is none."""
        self.facts = decoder.facts
        self.facts.raw = RawResponse(status=response.status, headers=tuple(response.headers))

    async def begin(self, wait: Wait) -> None:
        """Wait for the first content, so that what fails before it can still be retried unseen."""
        self._first = wait
        held: list[Any] = []
        while self.facts.first_token is None and (chunk := await self.next()) is not None:
            held.append(chunk)
        self._held.extend(held)
        self._first = None

    async def next(self) -> Any | None:
        """The next chunk; None at the end. Only where something has to be read the time is looked at."""
        if self._held:
            return self._held.popleft()
        decoder, events = self._decoder, self._events
        try:
            while True:
                while events:
                    chunk = decoder.read(events.popleft())
                    if chunk is not None:
                        if self._waited or self.facts.first_token is None:
                            self._heard(chunk)
                        return chunk
                if decoder.done and not self._over:
                    await self._drain()
                    self._over = True
                if self._over:
                    decoder.finish()
                    return None
                await self._more()
        except APIError as error:
            self._wire.named(error)
            if error.partial is None and self.facts.first_token is not None:
                error.partial = self._decoder.final()
            raise

    def final(self) -> Any:
        return self._decoder.final()

    async def aclose(self) -> None:
        await self._response.aclose()

    def abandon(self) -> None:
        self._response.abandon()

    def _heard(self, chunk: Any) -> None:
        """What a chunk with content is taken note of for: that it is the first, or ends the silence."""
        if self._decoder.carries_content(chunk):
            self._waited = 0.0
            if self.facts.first_token is None:
                self.facts.first_token = self._wire.now()

    async def _more(self) -> None:
        started = self._wire.now()
        data = await self._read(self._first or self._between(started))
        if self._first is None:
            self._waited += self._wire.now() - started
        self._over = not data
        self._events.extend(self._decoder.feed(data) if data else self._decoder.flush())

    def _between(self, now: float) -> Wait:
        """How long may be waited for the next piece of content."""
        until, between = self._call.end, self._call.timeouts.between_tokens
        if between is None or now + between - self._waited >= until:
            return Wait(until=until, limit="total", since=now)
        return Wait(until=now + between - self._waited, limit="between_tokens", since=now)

    async def _read(self, wait: Wait) -> bytes:
        try:
            return await self._wire.received(self._response.read(wait.until), self._call, wait)
        except (APITimeoutError, DeadlineExceededError):
            raise
        except APIConnectionError as error:
            message = error.message
        raise StreamError(f"the stream broke: {message}", hint="the partial answer is in error.partial")

    async def _drain(self) -> None:
        """Read the end of the body after the last event, so that the connection can serve again."""
        until = min(self._call.end, self._wire.now() + _LAST_BYTES)
        try:
            while await self._response.read(until):
                pass
        except TransportError:
            pass
