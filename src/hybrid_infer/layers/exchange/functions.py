"""The end of a stack whose target is a Modal function: a call goes to it, what it returns becomes a Reply."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeVar

from hybrid_infer.calls.call import Call, Target
from hybrid_infer.calls.decoder import Decoder
from hybrid_infer.calls.functions import FunctionAsk, FunctionName, function_ask
from hybrid_infer.calls.reply import Facts, RawResponse, Replayed, Reply
from hybrid_infer.errors import (
    APIError,
    APIResponseError,
    APITimeoutError,
    DeadlineExceededError,
    HybridInferError,
    InvalidCallError,
    StreamError,
    Verdict,
)
from hybrid_infer.layers.exchange.functions_live import FunctionSource, ShapedStream
from hybrid_infer.layers.exchange.live import LiveSource, Wait
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.transport.base import WireRequest
from hybrid_infer.transport.functions import FunctionFailure, FunctionTimeout, FunctionTransport

T = TypeVar("T")

_PATIENCE = 30.0
"""Seconds of silence after which the end of the caller's time says something about the target, too."""


class FunctionBackend(Protocol):
    """Names what went wrong. Pure."""

    def error(self, failure: FunctionFailure, name: FunctionName | None) -> HybridInferError: ...
    def verdict(self, outcome: APIError | None) -> Verdict: ...


class Shape(Protocol):
    """How an OpenAI-shaped operation looks as JSON; the backends of HTTP modes fit."""

    def encode(self, call: Call, target: Target) -> WireRequest: ...
    def decode(self, call: Call, response: RawResponse) -> tuple[Any, Any]: ...
    def decoder(self, call: Call) -> Decoder: ...
    def chunks(self, answer: Any, /) -> Sequence[Any]: ...


class FunctionExchange:
    """Calls, receives and names what went wrong.

    Args:
        function: the function that serves the target's model. It gets the operation's body as one dict, in
            OpenAI's shape, and returns one (or yields the chunks of a stream). None where each call names its
            own function (`calls.functions.function_body`).
        shape: how such bodies are written and read; needed with `function`.
        environment: the Modal environment of functions that calls name.
    """

    def __init__(
        self,
        *,
        target: Target,
        backend: FunctionBackend,
        transport: FunctionTransport,
        runtime: Runtime,
        function: FunctionName | None = None,
        shape: Shape | None = None,
        environment: str | None = None,
    ) -> None:
        self._target = target
        self._backend = backend
        self._transport = transport
        self._runtime = runtime
        self._function = function
        self._shape = shape
        self._environment = environment

    async def __call__(self, call: Call) -> Reply:
        wait = self._wait(call)
        ask = self._ask(call)
        try:
            if call.operation in ("functions.spawn", "functions.get", "functions.cancel"):
                return await self._apart(call, ask, wait)
            if call.stream:
                return await self._stream(call, ask, wait)
            return await self._whole(call, ask, wait)
        except APIError as error:
            self.named(error, ask.name)
            raise

    def named(self, error: APIError, name: FunctionName | None = None) -> None:
        """Write into an error where it happened, and what it means to those who ask."""
        named = name or self._function
        error.where = error.where or f"{self._target.mode} ({self._target.host if named is None else named})"
        error.target = self._target.name
        error.verdict = self._backend.verdict(error)

    async def probe(self, until: float) -> bool:
        """Modal queues what no container can take yet, so a function is never cold to its callers."""
        return True

    def now(self) -> float:
        return self._runtime.now()

    async def received(self, work: Awaitable[T], call: Call, wait: Wait) -> T:
        """`work` of the transport, its failures in the words of the error tree."""
        return await self._received(work, call, wait, self._function)

    async def item(self, work: Awaitable[T], call: Call, wait: Wait, name: FunctionName) -> T:
        """As `received`, for the items of a function that the call names."""
        return await self._received(work, call, wait, name)

    async def _received(self, work: Awaitable[T], call: Call, wait: Wait, name: FunctionName | None) -> T:
        failure: HybridInferError
        try:
            return await work
        except FunctionTimeout as error:
            failure = self._too_late(error, call, wait)
        except FunctionFailure as error:
            failure = self._backend.error(error, name)
        raise failure from failure.__cause__

    def _wait(self, call: Call) -> Wait:
        """How long the answer to this attempt, or the first item of its stream, may take."""
        now, timeouts = self._runtime.now(), call.timeouts
        wait = Wait(until=call.until, limit="total", since=now)
        if timeouts.attempt is not None and now + timeouts.attempt < wait.until:
            wait = Wait(until=now + timeouts.attempt, limit="attempt", since=now)
        if call.stream and timeouts.first_token is not None and now + timeouts.first_token < wait.until:
            wait = Wait(until=now + timeouts.first_token, limit="first_token", since=now)
        return wait

    def _ask(self, call: Call) -> FunctionAsk:
        if self._function is None or self._shape is None:
            named = call.body if self._function is None else {**call.body, "function": str(self._function)}
            return function_ask(named, environment=self._environment)
        from pydantic_core import from_json

        body = self._shape.encode(call, self._target).body
        if not isinstance(body, bytes):
            raise InvalidCallError(
                f"{call.operation} sends a file as a form, which {self._function} cannot take: call the "
                "function by its name, with the bytes as an argument"
            )
        return FunctionAsk(name=self._function, args=(from_json(body),), kwargs={})

    async def _apart(self, call: Call, ask: FunctionAsk, wait: Wait) -> Reply:
        """Hand a call over that runs by itself, wait for one, or cancel one."""
        id: str = call.body.get("call_id", "")
        if call.operation == "functions.spawn":
            work = self._transport.spawn(
                ask.name,
                ask.args,
                ask.kwargs,
                until=wait.until,
                connect=call.timeouts.connect,
                notice=call.tally.warnings.append,
            )
            spawned = await self._received(work, call, wait, ask.name)
            return Reply(spawned.id, facts=Facts(id=spawned.id))
        held = self._transport.spawned(id)
        if call.operation == "functions.get":
            value = await self._received(held.get(wait.until), call, wait, ask.name)
            return Reply(value, facts=Facts(id=id))
        await self._received(held.cancel(wait.until), call, wait, ask.name)
        return Reply(None, facts=Facts(id=id))

    async def _whole(self, call: Call, ask: FunctionAsk, wait: Wait) -> Reply:
        work = self._transport.call(
            ask.name,
            ask.args,
            ask.kwargs,
            until=wait.until,
            connect=call.timeouts.connect,
            notice=call.tally.warnings.append,
        )
        value, id = await self._received(work, call, wait, ask.name)
        if self._shape is None or self._function is None:
            return Reply(value, facts=Facts(id=id))
        raw = RawResponse(
            status=200,
            headers=(("content-type", "application/json"), ("x-request-id", id)),
            body=_as_json(value, ask.name),
        )
        decoded, facts = self._shape.decode(call, raw)
        facts.raw = raw
        if not call.stream:
            return Reply(decoded, facts=facts)
        call.tally.warnings.append(
            f"{ask.name} is no generator: its complete answer was given out as a stream"
        )
        facts.first_token = self._runtime.now()
        return Reply(facts=facts, source=Replayed(decoded, self._shape.chunks(decoded)))

    async def _stream(self, call: Call, ask: FunctionAsk, wait: Wait) -> Reply:
        work = self._transport.stream(
            ask.name,
            ask.args,
            ask.kwargs,
            until=wait.until,
            connect=call.timeouts.connect,
            notice=call.tally.warnings.append,
        )
        items = await self._received(work, call, wait, ask.name)
        if self._shape is None or self._function is None:
            plain = FunctionSource(self, call, items, ask.name)
            await _begun(plain, wait)
            return Reply(facts=plain.facts, source=plain)
        stream = ShapedStream(items, call, ask.name)
        try:
            await stream.begin(wait.until)
        except FunctionFailure as error:
            if error.cause == "not_generator":
                return await self._whole(call, ask, wait)
            stream.fail(error)
        except FunctionTimeout as error:
            stream.fail(error)
        live = LiveSource(self, call, stream, self._shape.decoder(call))
        await _begun(live, wait)
        return Reply(facts=live.facts, source=live)

    def _too_late(self, error: FunctionTimeout, call: Call, wait: Wait) -> APIError:
        billed = None if error.stage in ("send", "wait") else False
        now, timeouts = self._runtime.now(), call.timeouts
        failure: APIError
        if now >= call.end:
            failure = DeadlineExceededError(
                f"the deadline of the call passed: {error}",
                billed=billed,
                request_id=error.call_id,
                hint="give it more with timeout= or deadline=; a container that starts counts, too",
            )
            failure.silent = billed is None and now - wait.since >= _PATIENCE
            return failure
        if error.stage == "connect":
            failure = APITimeoutError(
                str(error), billed=False, hint="check the network, and MODAL_SERVER_URL; see connect_timeout"
            )
        elif wait.limit == "between_tokens":
            return StreamError(
                f"the stream stalled: no item for {timeouts.between_tokens:g} s",
                hint="the partial answer is in error.partial; see between_tokens_timeout",
            )
        else:
            limit = "first_token_timeout" if wait.limit == "first_token" else "attempt_timeout"
            failure = APITimeoutError(
                f"{error}: nothing within {wait.until - wait.since:g} s",
                billed=billed,
                request_id=error.call_id,
                hint=f"no container was free, or {limit} is too short for this function",
            )
        failure.silent = True
        return failure


async def _begun(source: FunctionSource | LiveSource, wait: Wait) -> None:
    try:
        await source.begin(wait)
    except BaseException:
        await source.aclose()
        raise


def _as_json(value: Any, name: FunctionName) -> bytes:
    from pydantic_core import to_json

    try:
        return to_json(value)
    except ValueError as error:
        raise APIResponseError(
            f"{name} returned what is no answer in OpenAI's shape: {error}",
            hint="return a dict of plain values, as the OpenAI API does",
            retryable=False,
            billed=True,
        ) from None
