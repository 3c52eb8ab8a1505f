"""Exchange: the end of every stack. A backend's request goes over a transport; its answer becomes a Reply."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

from hybrid_infer.calls.call import Call, Target
from hybrid_infer.calls.reply import Facts, RawResponse, Reply
from hybrid_infer.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ColdError,
    DeadlineExceededError,
    StreamError,
)
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.transport.base import (
    Transport,
    TransportError,
    TransportTimeout,
    WireRequest,
    WireResponse,
    header,
)

T = TypeVar("T")

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_PORTS = {"http": 80, "https": 443}
_MOST_REDIRECTS = 20
"""Modal's web functions answer 303 every 150 s; 20 of them are about 50 minutes (Modal docs, 2026)."""
_LAST_BYTES = 0.02
"""Seconds granted after the last event for the end of the body, so that the connection can be used again."""


class Decoder(Protocol):
    """Turns the bytes of one stream into events. Pure."""

    done: bool
    facts: Facts

    def feed(self, data: bytes) -> Sequence[Any]: ...
    def flush(self) -> Sequence[Any]: ...
    def read(self, event: Any) -> Any | None: ...
    def carries_content(self, chunk: Any) -> bool: ...
    def finish(self) -> None: ...
    def final(self) -> Any | None: ...


class Backend(Protocol):
    """How a mode speaks. Pure: no clock, no I/O."""

    needs_model: ClassVar[bool]
    """Whether a request has to name one, because the provider serves many."""

    def encode(self, call: Call, target: Target) -> WireRequest: ...
    def decode(self, call: Call, response: RawResponse) -> tuple[Any, Facts]: ...
    def decoder(self, call: Call) -> Decoder: ...
    def chunks(self, completion: Any) -> Sequence[Any]: ...
    def error(self, response: RawResponse) -> APIStatusError: ...
    def probe(self, target: Target) -> WireRequest | None: ...
    def first_model(self, response: RawResponse) -> str | None: ...


class Exchange:
    """Sends, receives and names what went wrong.

    Args:
        attempt_timeout: seconds for one attempt: all of a complete answer, the first event of a stream.
    """

    def __init__(
        self,
        *,
        target: Target,
        backend: Backend,
        transport: Transport,
        runtime: Runtime,
        attempt_timeout: float,
    ) -> None:
        self._target = target
        self._backend = backend
        self._transport = transport
        self._runtime = runtime
        self._timeout = attempt_timeout

    async def __call__(self, call: Call) -> Reply:
        until = min(call.until, self._runtime.now() + self._timeout)
        try:
            if self._target.model is None and not self._backend.needs_model:
                await self._ask_for_the_model(call, until)
            response = await self._open(self._backend.encode(call, self._target), call, until)
            try:
                return await self._reply(call, response, until)
            except BaseException:
                await response.aclose()
                raise
        except APIError as error:
            error.where = error.where or self.where
            raise

    @property
    def where(self) -> str:
        return f"{self._target.mode} ({self._target.host})"

    async def probe(self, until: float) -> bool:
        """Whether the machine has come up: any answer but "cold" says so, and so does no answer at all."""
        request = self._backend.probe(self._target)
        if request is None:
            return True
        try:
            raw = await self._whole(await self._transport.send(request, until=until), until)
        except TransportError:
            return True  # let the call itself find out
        return raw.status < 400 or not isinstance(self._backend.error(raw), ColdError)

    async def received(self, work: Awaitable[T], call: Call) -> T:
        """`work` of the transport, its failures in the words of the error tree."""
        try:
            return await work
        except TransportError as error:
            failure = self._failure(error, call)
        raise failure

    def now(self) -> float:
        return self._runtime.now()

    async def _ask_for_the_model(self, call: Call, until: float) -> None:
        """No model is configured: the server's own list names it (`GET /v1/models`)."""
        request = self._backend.probe(self._target)
        if request is not None:
            response = await self._open(request, call, until)
            raw = await self.received(self._whole(response, until), call)
            self._target.model = self._backend.first_model(raw)

    async def _open(self, request: WireRequest, call: Call, until: float) -> WireResponse:
        """Send, follow redirects within the origin, and raise what the provider says is wrong."""
        response = await self.received(self._transport.send(request, until=until), call)
        for _ in range(_MOST_REDIRECTS):
            follow = _followed(request, response)
            if follow is None:
                break
            await response.aclose()
            request = follow
            response = await self.received(self._transport.send(request, until=until), call)
        if response.status < 300:
            return response
        raise self._backend.error(await self.received(self._whole(response, until), call))

    async def _whole(self, response: WireResponse, until: float) -> RawResponse:
        parts: list[bytes] = []
        try:
            while data := await response.read(until):
                parts.append(data)
        finally:
            await response.aclose()
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return RawResponse(status=response.status, headers=tuple(response.headers), body=body)

    async def _reply(self, call: Call, response: WireResponse, until: float) -> Reply:
        kind = header(response.headers, "content-type") or ""
        if call.stream and "json" not in kind and "html" not in kind:
            source = LiveSource(self, call, response, self._backend.decoder(call))
            await source.begin(until)
            return Reply(facts=source.facts, source=source)
        raw = await self.received(self._whole(response, until), call)
        value, facts = self._backend.decode(call, raw)
        facts.raw = raw
        if not call.stream:
            return Reply(value, facts=facts)
        call.tally.warnings.append("the server answered the stream request with a complete answer")
        facts.first_token = self._runtime.now()
        return Reply(facts=facts, source=Replayed(value, self._backend.chunks(value)))

    def _failure(self, error: TransportError, call: Call) -> APIConnectionError:
        billed = None if error.sent else False
        if not isinstance(error, TransportTimeout):
            return APIConnectionError(str(error), hint=error.hint, billed=billed)
        if self._runtime.now() >= call.until:
            return DeadlineExceededError(
                "the deadline of the call passed",
                billed=billed,
                hint="give it more with timeout= or deadline=, or use a model that answers sooner",
            )
        if error.connecting:
            return APITimeoutError(str(error), billed=False, hint="check the address; see connect_timeout")
        return APITimeoutError(
            f"no answer within the {self._timeout:g} s of one attempt",
            billed=billed,
            hint="the server hangs, or attempt_timeout is too short for this model",
        )


def _followed(request: WireRequest, response: WireResponse) -> WireRequest | None:
    """The request that a redirect within the same origin asks for; None where there is none to follow.

    Another origin is never followed: the credentials belong to this one. 303 (and, as browsers do, 301 and
    302) turn into a GET (RFC 9110, 15.4).
    """
    location = header(response.headers, "location") if response.status in _REDIRECTS else None
    if location is None:
        return None
    base = f"{request.origin}{request.path}"
    there = urlsplit(urljoin(base, location))
    origin = request.origin
    try:
        port = there.port or _PORTS.get(there.scheme)
    except ValueError:
        return None
    if (there.scheme, there.hostname, port) != (origin.scheme, origin.host.lower(), origin.port):
        return None
    path = (there.path or "/") + (f"?{there.query}" if there.query else "")
    if response.status in (307, 308):
        return replace(request, path=path)
    headers = tuple(pair for pair in request.headers if pair[0] not in ("content-type", "content-length"))
    return replace(request, method="GET", path=path, headers=headers, body=b"")


class LiveSource:
    """Draws events from a response as they arrive."""

    def __init__(self, exchange: Exchange, call: Call, response: WireResponse, decoder: Decoder) -> None:
        self._exchange = exchange
        self._call = call
        self._response = response
        self._decoder = decoder
        self._events: deque[Any] = deque()
        self._first: Any | None = None
        self._over = False
        self.facts = decoder.facts
        self.facts.raw = RawResponse(status=response.status, headers=tuple(response.headers))

    async def begin(self, until: float) -> None:
        """Wait for the first event, so that what fails before it can still be retried unseen."""
        self._first = await self._next(until)

    async def next(self) -> Any | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await self._next(self._call.until)

    def final(self) -> Any:
        return self._decoder.final()

    async def aclose(self) -> None:
        await self._response.aclose()

    def abandon(self) -> None:
        self._response.abandon()

    async def _next(self, until: float) -> Any | None:
        try:
            return await self._event(until)
        except APIError as error:
            error.where = error.where or self._exchange.where
            if error.partial is None:
                error.partial = self._decoder.final()
            raise

    async def _event(self, until: float) -> Any | None:
        decoder = self._decoder
        while True:
            while self._events:
                chunk = decoder.read(self._events.popleft())
                if chunk is not None:
                    if self.facts.first_token is None and decoder.carries_content(chunk):
                        self.facts.first_token = self._exchange.now()
                    return chunk
            if decoder.done:
                await self._drain(until)
                self._over = True
            if self._over:
                decoder.finish()
                return None
            data = await self._read(until)
            self._over = not data
            self._events.extend(decoder.feed(data) if data else decoder.flush())

    async def _read(self, until: float) -> bytes:
        try:
            return await self._exchange.received(self._response.read(until), self._call)
        except (APITimeoutError, DeadlineExceededError):
            raise
        except APIConnectionError as error:
            message = error.message
        raise StreamError(f"the stream broke: {message}", hint="the partial answer is in error.partial")

    async def _drain(self, until: float) -> None:
        """Read the end of the body after the last event, so that the connection can serve again."""
        try:
            while await self._response.read(min(until, self._exchange.now() + _LAST_BYTES)):
                pass
        except TransportError:
            pass


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
