"""Live answers of generator functions: their items as they are, or as the events of an OpenAI stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from typing import Any, Protocol, TypeVar

from hybrid_infer.calls.call import Call
from hybrid_infer.calls.functions import FunctionItem, FunctionName
from hybrid_infer.calls.reply import Facts
from hybrid_infer.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    DeadlineExceededError,
    StreamError,
)
from hybrid_infer.layers.exchange.live import Wait
from hybrid_infer.transport.base import Headers
from hybrid_infer.transport.functions import FunctionFailure, FunctionTimeout, Items

T = TypeVar("T")


class Wire(Protocol):
    """What a live answer needs of the exchange that it belongs to."""

    async def item(self, work: Awaitable[T], call: Call, wait: Wait, name: FunctionName) -> T: ...
    def named(self, error: APIError, name: FunctionName | None = None) -> None: ...
    def now(self) -> float: ...


class FunctionSource:
    """Draws items from a generator function as they come; each is an event, and content."""

    def __init__(self, wire: Wire, call: Call, items: Items, name: FunctionName) -> None:
        self._wire = wire
        self._call = call
        self._items = items
        self._name = name
        self._held: deque[FunctionItem] = deque()
        self._seen: list[Any] = []
        self._over = False
        self.facts = Facts()

    async def begin(self, wait: Wait) -> None:
        """Wait for the first item, so that what fails before it can still be retried unseen."""
        first = await self._next(wait)
        if first is not None:
            self._held.append(first)

    async def next(self) -> FunctionItem | None:
        if self._held:
            return self._held.popleft()
        return await self._next(self._between())

    def final(self) -> list[Any]:
        """The items so far."""
        return list(self._seen)

    async def aclose(self) -> None:
        self._leave()
        await self._items.aclose()

    def abandon(self) -> None:
        self._leave()
        self._items.abandon()

    async def _next(self, wait: Wait) -> FunctionItem | None:
        if self._over:
            return None
        try:
            item = await self._drawn(wait)
        except APIError as error:
            self._wire.named(error, self._name)
            if not isinstance(error, APITimeoutError | DeadlineExceededError | StreamError):
                self._over = True  # it ended there, too
            if error.partial is None and self.facts.first_token is not None:
                error.partial = self.final()
            raise
        if item is None:
            self._over = True
            return None
        if self.facts.first_token is None:
            self.facts.first_token = self._wire.now()
        self._seen.append(item[0])
        return FunctionItem(value=item[0])

    async def _drawn(self, wait: Wait) -> tuple[Any] | None:
        try:
            return await self._wire.item(self._items.next(wait.until), self._call, wait, self._name)
        except (APITimeoutError, DeadlineExceededError):
            raise
        except APIConnectionError as error:
            if self.facts.first_token is None:
                raise
            message = error.message
        raise StreamError(f"the stream broke: {message}", hint="the partial answer is in error.partial")

    def _between(self) -> Wait:
        now, until, between = self._wire.now(), self._call.end, self._call.timeouts.between_tokens
        if between is None or now + between >= until:
            return Wait(until=until, limit="total", since=now)
        return Wait(until=now + between, limit="between_tokens", since=now)

    def _leave(self) -> None:
        if not self._over:
            self._over = True
            _warn(self._call, self._items, self._name)


class ShapedStream:
    """The chunks that a generator yields, as the bytes of server-sent events.

    That is what a decoder of OpenAI streams reads, whatever brings them.
    """

    def __init__(self, items: Items, call: Call, name: FunctionName) -> None:
        self.status = 200
        self.headers: Headers = (("content-type", "text/event-stream"),)
        self._items = items
        self._call = call
        self._name = name
        self._first: tuple[Any] | None = None
        self._began = False
        self._failed: FunctionFailure | FunctionTimeout | None = None
        self._over = False

    async def begin(self, until: float) -> None:
        """Draw the first item: only then is known whether the function is a generator."""
        self._first, self._began = await self._items.next(until), True

    def fail(self, error: FunctionFailure | FunctionTimeout) -> None:
        """Have the first `read` raise this."""
        self._failed = error

    async def read(self, until: float) -> bytes:
        from pydantic_core import to_json

        if self._over:
            return b""
        failed, self._failed = self._failed, None
        if failed is not None:
            self._over = isinstance(failed, FunctionFailure)
            raise failed
        if self._began:
            item, self._first, self._began = self._first, None, False
        else:
            item = await self._drawn(until)
        if item is None:
            self._over = True
            return b"data: [DONE]\n\n"
        return b"data: " + to_json(item[0]) + b"\n\n"

    async def aclose(self) -> None:
        self._leave()
        await self._items.aclose()

    def abandon(self) -> None:
        self._leave()
        self._items.abandon()

    async def _drawn(self, until: float) -> tuple[Any] | None:
        try:
            return await self._items.next(until)
        except FunctionFailure:
            self._over = True
            raise

    def _leave(self) -> None:
        if not self._over:
            self._over = True
            _warn(self._call, self._items, self._name)


def _warn(call: Call, items: Items, name: FunctionName) -> None:
    if not items.stoppable:
        call.tally.warnings.append(
            f"{name} may run on, and be billed: Modal has no way to stop a generator from outside"
        )
