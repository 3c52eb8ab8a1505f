"""AsyncClient: the names of Client, with `await`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from hybrid_infer.calls.ask import CallOptions, ChatArguments, chat_call, merged
from hybrid_infer.calls.call import ModeChoice
from hybrid_infer.calls.chat import ChatCompletion
from hybrid_infer.calls.timeouts import Timeouts
from hybrid_infer.core import Core, tasks
from hybrid_infer.settings import Settings
from hybrid_infer.streams import AsyncStream

if TYPE_CHECKING:
    import httpx
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from hybrid_infer.telemetry.content import Redact


class AsyncClient:
    """As `Client`, for the tasks of one asyncio event loop.

    Args:
        http_client: an `httpx.AsyncClient` to send with; it stays yours to close.
        mode, model, api_key, base_url, timeout, config, tracer_provider, meter_provider, redact, settings: as
            for `Client`.

    Raises:
        ConfigurationError: naming every setting that is wrong, missing or misspelt.
    """

    def __init__(
        self,
        *,
        mode: ModeChoice | None = None,
        model: str | None = None,
        api_key: str | Callable[[], str] | None = None,
        base_url: str | None = None,
        config: str | os.PathLike[str] | None = None,
        http_client: httpx.AsyncClient | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        redact: Redact | None = None,
        timeout: float | Timeouts | None = None,
        **settings: Any,
    ) -> None:
        given = {"mode": mode, "model": model, "api_key": api_key, "base_url": base_url, **settings}
        given["timeout"] = timeout
        loaded = Settings.load({k: v for k, v in given.items() if v is not None}, config=config)
        self._core = Core(
            loaded, tasks(), http_client, tracer_provider, meter_provider=meter_provider, redact=redact
        )
        self._defaults: Mapping[str, Any] = {}

    @property
    def chat(self) -> AsyncChat:
        return AsyncChat(self._core, self._defaults)

    def with_options(self, *, model: str | None = None, **options: Unpack[CallOptions]) -> Self:
        """As `Client.with_options`."""
        copy = object.__new__(type(self))
        copy._core = self._core
        copy._defaults = merged(self._defaults, {"model": model, **options})
        return copy

    async def switch(self, mode: ModeChoice) -> None:
        """As `Client.switch`."""
        await self._core.switch(mode)

    def describe(self) -> str:
        """As `Client.describe`."""
        return self._core.describe()

    async def close(self) -> None:
        """As `Client.close`."""
        await self._core.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core.mode}>"


class AsyncChat:
    """`client.chat`"""

    def __init__(self, core: Core, defaults: Mapping[str, Any]) -> None:
        self._core, self._defaults = core, defaults

    @property
    def completions(self) -> AsyncChatCompletions:
        return AsyncChatCompletions(self._core, self._defaults)


class AsyncChatCompletions:
    """`client.chat.completions`"""

    def __init__(self, core: Core, defaults: Mapping[str, Any]) -> None:
        self._core, self._defaults = core, defaults

    @overload
    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: Literal[False] | None = False,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion: ...
    @overload
    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: Literal[True],
        **options: Unpack[ChatArguments],
    ) -> AsyncStream: ...
    @overload
    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: bool | None,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion | AsyncStream: ...

    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: bool | None = False,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion | AsyncStream:
        """As `Client.chat.completions.create`."""
        call = chat_call(self._defaults, messages, model, stream, options)
        reply = await self._core.run(call)
        if stream:
            return AsyncStream(call, reply)
        completion: ChatCompletion = reply.value
        return completion
