"""Reply: the answer, complete or live."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hybrid_infer.calls.money import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a reply ended: well (all unset), with an error, or abandoned by its holder.

    `collected`: its holder was collected, so the callbacks run in a finaliser, where any lock may be held.
    What needs one (exporters, log handlers) goes into `Leftovers`.
    """

    error: BaseException | None = None
    abandoned: bool = False
    collected: bool = False


_IDS = ("x-request-id", "x-together-traceid", "cf-ray")
"""Headers with an id of the request, the best first."""

WELL = Ending()
ABANDONED = Ending(abandoned=True)
COLLECTED = Ending(abandoned=True, collected=True)


@dataclass(slots=True, kw_only=True)
class Facts:
    """What is known of an answer besides its content; a live reply fills it in as it goes."""

    id: str | None = None
    model: str | None = None
    finish_reasons: tuple[str, ...] = ()
    usage: Usage | None = None
    first_token: float | None = None
    """`Runtime.now()` of the first piece of content; None for complete replies."""
    raw: RawResponse | None = None


@dataclass(slots=True, kw_only=True)
class RawResponse:
    """The provider's response as it came. `body` is empty for streams: their bytes are not kept.

    Nobody writes to it. It is a plain dataclass, as `Call` is, because there is one for every call.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    @property
    def request_id(self) -> str | None:
        """The provider's id of the request, from the headers that carry one."""
        for name in _IDS:
            for key, value in self.headers:
                if key == name and value:
                    return value
        return None

    def header(self, name: str) -> str | None:
        """The first value of a header, by its name in any case."""
        name = name.lower()
        return next((value for key, value in self.headers if key == name), None)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Source(Protocol):
    """What a live reply draws from."""

    async def next(self) -> Any | None:
        """The next event, None at a proper end; raises errors of our tree."""
        ...

    def final(self) -> Any:
        """What the events so far add up to."""
        ...

    async def aclose(self) -> None: ...

    def abandon(self) -> None:
        """Let go at once, from a finaliser: without locks and without waiting."""
        ...


class Reply:
    """A complete answer (`value`) or a live one (`next()` until None).

    What a layer holds to the end it gives to `on_end`: called once, when the reply finishes, breaks,
    is closed or collected; at once if it is complete already. Such callbacks neither wait nor lock.
    What needs I/O goes to `on_finish`: awaited at a proper end, a break or a close, skipped on collection.
    """

    __slots__ = ("_on_end", "_on_finish", "_released", "_source", "ending", "facts", "value")

    def __init__(self, value: Any = None, *, facts: Facts, source: Source | None = None) -> None:
        self.value = value
        self.facts = facts
        self._source = source
        self.ending: Ending | None = WELL
        """How it ended; None while it is live."""
        self._released = source is None
        if source is not None:
            self.ending = None
            self._on_end: list[Callable[[Ending], None]] = []
            self._on_finish: list[Callable[[], Awaitable[None]]] = []

    def on_end(self, callback: Callable[[Ending], None]) -> None:
        if self.ending is not None:
            callback(self.ending)
        else:
            self._on_end.append(callback)

    async def on_finish(self, callback: Callable[[], Awaitable[None]]) -> None:
        if self._released:
            await callback()
        else:
            self._on_finish.append(callback)

    async def next(self) -> Any | None:
        """The next event of a live reply; None when it has ended."""
        source = self._source
        if source is None or self.ending is not None:
            return None
        try:
            event = await source.next()
        except BaseException as error:
            self._end(Ending(error=error))
            await self.aclose()
            raise
        if event is None:
            self._end(WELL)
            await self.aclose()
        return event

    def final(self) -> Any:
        """The complete answer, or what there is of it."""
        return self.value if self._source is None else self._source.final()

    async def aclose(self) -> None:
        """Stop a live reply and release what it holds; harmless afterwards."""
        if self._released or self._source is None:
            return
        self._released = True
        self._end(ABANDONED)
        await self._source.aclose()
        callbacks, self._on_finish = self._on_finish, []
        for callback in callbacks:
            await callback()

    def abandon(self) -> None:
        """As `aclose`, from a finaliser."""
        if self._released or self._source is None:
            return
        self._released = True
        self._on_finish.clear()
        self._end(COLLECTED)
        self._source.abandon()

    def _end(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
            callbacks, self._on_end = self._on_end, []
            _call_all(callbacks, ending)


def _call_all(callbacks: Sequence[Callable[[Ending], None]], ending: Ending) -> None:
    """Every one of them, though one be interrupted (Ctrl-C): each holds something else. Then its error."""
    for done, callback in enumerate(callbacks, 1):
        try:
            callback(ending)
        except BaseException:
            _call_all(callbacks[done:], ending)
            raise


class Replayed:
    """A complete answer, given out as the events of a stream."""

    def __init__(self, value: Any, chunks: Sequence[Any]) -> None:
        self._value = value
        self._chunks = deque(chunks)

    async def next(self) -> Any | None:
        return self._chunks.popleft() if self._chunks else None

    def final(self) -> Any:
        return self._value

    async def aclose(self) -> None:
        return None

    def abandon(self) -> None:
        return None
