"""Client: the blocking client. Every method steps the same core that AsyncClient awaits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from hybrid_infer.calls.ask import CallOptions, ChatArguments, chat_call, merged
from hybrid_infer.calls.call import ModeChoice
from hybrid_infer.calls.chat import ChatCompletion
from hybrid_infer.calls.timeouts import Timeouts
from hybrid_infer.core import Core, blocking
from hybrid_infer.runtime.step import step
from hybrid_infer.settings import Settings
from hybrid_infer.streams import Stream

if TYPE_CHECKING:
    import httpx
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from hybrid_infer.telemetry.content import Redact


class Client:
    """Inference on Together serverless, Together dedicated endpoints, Modal or any OpenAI-compatible server.

    Everything has an environment variable (`HYBRID_INFER_MODE=modal`), so `Client()` is usual. Safe to share
    between threads.

    Args:
        mode: where calls run unless they or their model say otherwise.
        model: the model of calls that name none.
        api_key: credential for `mode`; a text, or a function that returns the current one.
        base_url: address for `mode`, with or without `/v1`.
        timeout: seconds for a whole call, or `Timeouts` for its parts.
        config: a TOML file of settings.
        http_client: an `httpx.Client` to send with; it stays yours to close.
        tracer_provider, meter_provider: where spans and metrics go; the global providers if None.
        redact: what of messages may be recorded in spans, where that is switched on: takes those of a call,
            or of its answer, in the shape of the semantic conventions, and returns them changed, or None.
        settings: any other setting by its name (see the settings page).

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
        http_client: httpx.Client | None = None,
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
            loaded, blocking(), http_client, tracer_provider, meter_provider=meter_provider, redact=redact
        )
        self._defaults: Mapping[str, Any] = {}

    @property
    def chat(self) -> Chat:
        return Chat(self._core, self._defaults)

    def with_options(self, *, model: str | None = None, **options: Unpack[CallOptions]) -> Self:
        """A client with other defaults for its calls, on the same connections.

        Raises:
            InvalidCallError: an option is unknown or has the wrong type.
        """
        copy = object.__new__(type(self))
        copy._core = self._core
        copy._defaults = merged(self._defaults, {"model": model, **options})
        return copy

    def switch(self, mode: ModeChoice) -> None:
        """New calls go to `mode`; calls in flight end where they began; the last one out closes the old.

        Raises:
            ConfigurationError: `mode` lacks an address or a credential; nothing has changed then.
        """
        step(self._core.switch(mode))

    def describe(self) -> str:
        """The client as it was built: mode, transport and the stack with a reason for each place."""
        return self._core.describe()

    def close(self) -> None:
        """Close all connections. Calls after it raise ClientClosedError; copies share its fate."""
        step(self._core.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core.mode}>"


class Chat:
    """`client.chat`"""

    def __init__(self, core: Core, defaults: Mapping[str, Any]) -> None:
        self._core, self._defaults = core, defaults

    @property
    def completions(self) -> ChatCompletions:
        return ChatCompletions(self._core, self._defaults)


class ChatCompletions:
    """`client.chat.completions`"""

    def __init__(self, core: Core, defaults: Mapping[str, Any]) -> None:
        self._core, self._defaults = core, defaults

    @overload
    def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: Literal[False] | None = False,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion: ...
    @overload
    def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: Literal[True],
        **options: Unpack[ChatArguments],
    ) -> Stream: ...
    @overload
    def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: bool | None,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion | Stream: ...

    def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: bool | None = False,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion | Stream:
        """A chat completion, whole or as a stream.

        Options that are not ours go to the provider by their name, known to this package or not.

        Args:
            messages: the conversation, e.g. ``[{"role": "user", "content": "Hello"}]``.
            model: a name of the configuration, or the provider's own.
            stream: get chunks as they arrive.

        Raises:
            InvalidCallError: the arguments are wrong; nothing was sent.
            APIError: the call went out, or tried to, and did not end well; see its `retryable`, `billed`.
        """
        call = chat_call(self._defaults, messages, model, stream, options)
        reply = step(self._core.run(call))
        if stream:
            return Stream(call, reply)
        completion: ChatCompletion = reply.value
        return completion
