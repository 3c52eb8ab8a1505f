"""Exchange: the end of every stack. A backend's request goes over a transport; its answer becomes a Reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

from hybrid_infer.calls.call import Call, Target
from hybrid_infer.calls.decoder import Decoder
from hybrid_infer.calls.reply import RawResponse, Replayed, Reply
from hybrid_infer.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ColdError,
    DeadlineExceededError,
    StreamError,
    Verdict,
)
from hybrid_infer.layers.exchange.live import Limit, LiveSource, Wait
from hybrid_infer.layers.exchange.redirects import MOST_REDIRECTS, followed
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.transport.base import (
    Headers,
    Transport,
    TransportError,
    TransportTimeout,
    WireRequest,
    WireResponse,
    header,
)

T = TypeVar("T")

_PATIENCE = 30.0
"""Seconds of silence after which the end of the caller's time says something about the target, too."""


class Backend(Protocol):
    """How a mode speaks. Pure: no clock, no I/O."""

    needs_model: ClassVar[bool]
    """Whether a request has to name one, because the provider serves many."""

    def encode(self, call: Call, target: Target) -> WireRequest: ...
    def decode(self, call: Call, response: RawResponse) -> tuple[Any, Any]: ...
    def decoder(self, call: Call) -> Decoder: ...
    def chunks(self, answer: Any, /) -> Sequence[Any]: ...
    def error(self, response: RawResponse) -> APIStatusError: ...
    def verdict(self, outcome: APIError | None) -> Verdict: ...
    def probe(self, target: Target) -> WireRequest | None: ...
    def first_model(self, response: RawResponse) -> str | None: ...


Carry: TypeAlias = Callable[[Call, str], Headers]
"""The headers that tell the provider of a call's trace; and where the request goes."""


class Exchange:
    """Sends, receives and names what went wrong."""

    def __init__(
        self,
        *,
        target: Target,
        backend: Backend,
        transport: Transport,
        runtime: Runtime,
        carry: Carry | None = None,
    ) -> None:
        self._carry = carry
        self._target = target
        self._backend = backend
        self._transport = transport
        self._runtime = runtime

    async def __call__(self, call: Call) -> Reply:
        wait = self._wait(call)
        try:
            if self._target.model is None and not self._backend.needs_model:
                await self._ask_for_the_model(call, wait)
            request = self._backend.encode(call, self._target)
            if call.tally.trace is not None and self._carry is not None:
                _add_trace(request, self._carry(call, f"{request.origin}{request.path}"))
            response = await self._open(request, call, wait)
            if call.stream and _is_stream(response):
                return await self._live(call, response, wait)
            return self._read(call, await self._whole(response, wait.until))
        except APIError as error:
            self.named(error)
            raise
        except TransportError as error:
            failure = self._failure(error, call, wait)
        self.named(failure)
        raise failure

    @property
    def where(self) -> str:
        return f"{self._target.mode} ({self._target.host})"

    def named(self, error: APIError) -> None:
        """Write into an error where it happened, and what it means to those who ask."""
        error.where = error.where or self.where
        error.target = self._target.name
        error.verdict = self._backend.verdict(error)

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

    async def received(self, work: Awaitable[T], call: Call, wait: Wait) -> T:
        """`work` of the transport for a stream, its failures in the words of the error tree."""
        try:
            return await work
        except TransportError as error:
            failure = self._failure(error, call, wait)
        raise failure

    def now(self) -> float:
        return self._runtime.now()

    def _wait(self, call: Call) -> Wait:
        """How long the answer to this attempt, or the first content of its stream, may take."""
        now, timeouts = self._runtime.now(), call.timeouts
        until: float = call.until
        limit: Limit = "total"
        if timeouts.attempt is not None and now + timeouts.attempt < until:
            until, limit = now + timeouts.attempt, "attempt"
        if call.stream and timeouts.first_token is not None and now + timeouts.first_token < until:
            until, limit = now + timeouts.first_token, "first_token"
        return Wait(until=until, limit=limit, since=now)

    async def _ask_for_the_model(self, call: Call, wait: Wait) -> None:
        """No model is configured: the server's own list names it (`GET /v1/models`)."""
        request = self._backend.probe(self._target)
        if request is not None:
            response = await self._open(request, call, wait)
            raw = await self._whole(response, wait.until)
            self._target.model = self._backend.first_model(raw)

    async def _open(self, request: WireRequest, call: Call, wait: Wait) -> WireResponse:
        """Send, follow redirects within the origin, and raise what the provider says is wrong."""
        request.connect_timeout = call.timeouts.connect
        response = await self._transport.send(request, until=wait.until)
        for _ in range(MOST_REDIRECTS):
            follow = followed(request, response)
            if follow is None:
                break
            await response.aclose()
            request = follow
            response = await self._transport.send(request, until=wait.until)
        if response.status < 300:
            return response
        raise self._backend.error(await self._whole(response, wait.until))

    async def _whole(self, response: WireResponse, until: float) -> RawResponse:
        try:
            body = await response.read(until)
            if body and (more := await response.read(until)):
                parts = [body, more]
                while data := await response.read(until):
                    parts.append(data)
                body = b"".join(parts)
        finally:
            await response.aclose()
        return RawResponse(status=response.status, headers=tuple(response.headers), body=body)

    async def _live(self, call: Call, response: WireResponse, wait: Wait) -> Reply:
        try:
            source = LiveSource(self, call, response, self._backend.decoder(call))
            await source.begin(wait)
        except BaseException:
            await response.aclose()
            raise
        return Reply(facts=source.facts, source=source)

    def _read(self, call: Call, raw: RawResponse) -> Reply:
        value, facts = self._backend.decode(call, raw)
        facts.raw = raw
        if not call.stream:
            return Reply(value, facts=facts)
        call.tally.warnings.append("the server answered the stream request with a complete answer")
        facts.first_token = self._runtime.now()
        return Reply(facts=facts, source=Replayed(value, self._backend.chunks(value)))

    def _failure(self, error: TransportError, call: Call, wait: Wait) -> APIError:
        billed = None if error.sent else False
        if not isinstance(error, TransportTimeout):
            return APIConnectionError(str(error), hint=error.hint, billed=billed)
        now, timeouts = self._runtime.now(), call.timeouts
        failure: APIError
        if now >= call.end:
            failure = DeadlineExceededError(
                "the deadline of the call passed",
                billed=billed,
                hint="give it more with timeout= or deadline=, or use a model that answers sooner",
            )
            failure.silent = error.sent and now - wait.since >= _PATIENCE
            return failure
        if error.connecting:
            failure = APITimeoutError(str(error), billed=False, hint="check the address; see connect_timeout")
        elif wait.limit == "between_tokens":
            return StreamError(
                f"the stream stalled: no content for {timeouts.between_tokens:g} s",
                hint="the partial answer is in error.partial; see between_tokens_timeout",
            )
        elif wait.limit == "first_token":
            failure = APITimeoutError(
                f"no content within {timeouts.first_token:g} s",
                billed=billed,
                hint="the server hangs, or first_token_timeout is too short for this model",
            )
        else:
            failure = APITimeoutError(
                f"no answer within the {timeouts.attempt:g} s of one attempt",
                billed=billed,
                hint="the server hangs, or attempt_timeout is too short for this model",
            )
        failure.silent = True
        return failure


def _is_stream(response: WireResponse) -> bool:
    """Whether it may be one; JSON and a web page are none."""
    kind = header(response.headers, "content-type") or ""
    return "json" not in kind and "html" not in kind


def _add_trace(request: WireRequest, headers: Headers) -> None:
    """A trace that the caller gave in `extra_headers` stays."""
    if headers and header(request.headers, headers[0][0]) is None:
        request.headers = (*request.headers, *headers)
