"""Both colours from one test body.

A test body is `async def` and uses an `Api`. For `[sync]` the Api holds a Client and the body is stepped,
without an event loop; for `[async]` it holds an AsyncClient and the body runs in a loop. Time is virtual in
both unless a test asks for real time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from hybrid_infer.aclient import AsyncClient
from hybrid_infer.calls.chat import ChatCompletion, ChatCompletionChunk
from hybrid_infer.calls.hybrid import Hybrid
from hybrid_infer.client import Client
from hybrid_infer.colours import blocking, tasks
from hybrid_infer.core import Core
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.settings import Settings
from hybrid_infer.streams import AsyncStream, Stream
from hybrid_infer.transport.choose import async_transport, blocking_transport

ASK = [{"role": "user", "content": "Why is the sky blue?"}]


async def settled(value: Any) -> Any:
    """The value, awaited where it must be."""
    return await value if inspect.isawaitable(value) else value


class EitherStream:
    """A Stream or an AsyncStream, for `async for`."""

    def __init__(self, stream: Stream[Any, Any] | AsyncStream[Any, Any]) -> None:
        self.held: Any = stream

    def __aiter__(self) -> EitherStream:
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        chunk: ChatCompletionChunk
        if isinstance(self.held, AsyncStream):
            chunk = await self.held.__anext__()
            return chunk
        try:
            chunk = next(self.held)
        except StopIteration:
            raise StopAsyncIteration from None
        return chunk

    async def text(self) -> str:
        """Read to the end; the content of the first choice."""
        parts = [chunk.choices[0].delta.content or "" async for chunk in self if chunk.choices]
        return "".join(parts)

    async def final(self) -> ChatCompletion:
        completion: ChatCompletion = await settled(self.held.final())
        return completion

    async def close(self) -> None:
        await settled(self.held.close())

    @property
    def hybrid(self) -> Hybrid:
        hybrid: Hybrid = self.held.hybrid
        return hybrid


class Api:
    """A client of either colour behind awaitable methods."""

    def __init__(self, client: Client | AsyncClient, runtime: Runtime) -> None:
        self.client: Any = client
        self.runtime = runtime

    async def create(self, *, messages: Any = None, **options: Any) -> ChatCompletion:
        reply: ChatCompletion = await settled(
            self.client.chat.completions.create(messages=messages or ASK, **options)
        )
        return reply

    async def stream(self, *, messages: Any = None, **options: Any) -> EitherStream:
        return EitherStream(
            await settled(
                self.client.chat.completions.create(messages=messages or ASK, stream=True, **options)
            )
        )

    async def switch(self, mode: Any) -> None:
        await settled(self.client.switch(mode))

    async def close(self) -> None:
        await settled(self.client.close())


class Making:
    """Makes Apis of one colour; `tests/conftest.py` hands it to tests as the fixture `make`.

    Each assembly of a client takes the next of `transports`, or always `transport`, or a real one.
    """

    def __init__(self, colour: str, *, real_time: bool) -> None:
        self.colour = colour
        self.real_time = real_time
        self.apis: list[Api] = []

    def __call__(
        self,
        *,
        transport: Any = None,
        transports: Iterable[Any] = (),
        environ: Mapping[str, str] | None = None,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        redact: Any = None,
        http_client: Any = None,
        **settings: Any,
    ) -> Api:
        runtime: Runtime
        if self.colour == "async":
            runtime = TaskRuntime()
        else:
            runtime = BlockingRuntime() if self.real_time else VirtualThreads()
        choose: Callable[..., Any] = async_transport if self.colour == "async" else blocking_transport
        given = iter([*transports] if transport is None else [transport] * 9)
        if transport is not None or transports:
            choose = partial(_next, given, runtime)
        loaded = Settings.load(settings, environ=environ or {})
        colour = replace(tasks() if self.colour == "async" else blocking(), runtime=runtime, transport=choose)
        core = Core(
            loaded, colour, http_client, tracer_provider, meter_provider=meter_provider, redact=redact
        )
        kind: type[Any] = AsyncClient if self.colour == "async" else Client
        client: Any = object.__new__(kind)
        client._core, client._defaults = core, {}
        api = Api(client, runtime)
        self.apis.append(api)
        return api


def _next(given: Iterator[Any], runtime: Runtime, **_: Any) -> Any:
    """In the place of choosing a transport: the next of those that the test gave."""
    transport = next(given)
    transport.runtime = runtime
    return transport
