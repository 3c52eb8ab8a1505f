"""AsyncClient: the names of Client, with `await`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from hybrid_infer.calls.ask import CallOptions, merged
from hybrid_infer.calls.call import ModeChoice
from hybrid_infer.calls.timeouts import Timeouts
from hybrid_infer.colours import tasks
from hybrid_infer.core import Core
from hybrid_infer.resources.achat import AsyncChat
from hybrid_infer.settings import Settings

if TYPE_CHECKING:
    import httpx
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from hybrid_infer.calls.binary import RawAnswer
    from hybrid_infer.endpoints.keeper import Swept
    from hybrid_infer.endpoints.state import EndpointState, OnEvent
    from hybrid_infer.hooks import Hooks
    from hybrid_infer.migrating.plan import MigrateOptions, MigrationPlan
    from hybrid_infer.migrating.report import MigrationReport
    from hybrid_infer.resources.afunctions import AsyncFunctions
    from hybrid_infer.resources.amedia import AsyncAudio, AsyncImagesResource, AsyncVideos
    from hybrid_infer.resources.astored import AsyncBatches, AsyncFiles, AsyncModels
    from hybrid_infer.resources.atexts import AsyncCompletions, AsyncEmbeddings, AsyncRerank
    from hybrid_infer.resources.warmed import AsyncWarmed
    from hybrid_infer.telemetry.content import Redact
    from hybrid_infer.warming.status import MachineStatus


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

    @cached_property
    def chat(self) -> AsyncChat:
        return AsyncChat(self._core, self._defaults)

    @property
    def completions(self) -> AsyncCompletions:
        from hybrid_infer.resources.atexts import AsyncCompletions

        return AsyncCompletions(self._core, self._defaults)

    @property
    def embeddings(self) -> AsyncEmbeddings:
        from hybrid_infer.resources.atexts import AsyncEmbeddings

        return AsyncEmbeddings(self._core, self._defaults)

    @property
    def rerank(self) -> AsyncRerank:
        from hybrid_infer.resources.atexts import AsyncRerank

        return AsyncRerank(self._core, self._defaults)

    @property
    def images(self) -> AsyncImagesResource:
        from hybrid_infer.resources.amedia import AsyncImagesResource

        return AsyncImagesResource(self._core, self._defaults)

    @property
    def audio(self) -> AsyncAudio:
        from hybrid_infer.resources.amedia import AsyncAudio

        return AsyncAudio(self._core, self._defaults)

    @property
    def videos(self) -> AsyncVideos:
        from hybrid_infer.resources.amedia import AsyncVideos

        return AsyncVideos(self._core, self._defaults)

    @property
    def functions(self) -> AsyncFunctions:
        from hybrid_infer.resources.afunctions import AsyncFunctions

        return AsyncFunctions(self._core, self._defaults)

    @property
    def models(self) -> AsyncModels:
        from hybrid_infer.resources.astored import AsyncModels

        return AsyncModels(self._core, self._defaults)

    @property
    def files(self) -> AsyncFiles:
        from hybrid_infer.resources.astored import AsyncFiles

        return AsyncFiles(self._core, self._defaults)

    @property
    def batches(self) -> AsyncBatches:
        from hybrid_infer.resources.astored import AsyncBatches

        return AsyncBatches(self._core, self._defaults)

    @property
    def hooks(self) -> Hooks:
        """As `Client.hooks`; here they may be ``async``."""
        return self._core.hooks

    def with_options(self, *, model: str | None = None, **options: Unpack[CallOptions]) -> Self:
        """As `Client.with_options`."""
        copy = object.__new__(type(self))
        copy._core = self._core
        copy._defaults = merged(self._defaults, {"model": model, **options})
        return copy

    async def post(
        self, path: str, body: Mapping[str, Any] | None = None, **options: Unpack[CallOptions]
    ) -> RawAnswer:
        """As `Client.post`."""
        from hybrid_infer.calls.requests import request_call

        call = request_call("POST", self._defaults, path, body, options)
        answer: RawAnswer = (await self._core.run(call)).value
        return answer

    async def get(
        self, path: str, query: Mapping[str, Any] | None = None, **options: Unpack[CallOptions]
    ) -> RawAnswer:
        """As `Client.get`."""
        from hybrid_infer.calls.requests import request_call

        call = request_call("GET", self._defaults, path, query, options)
        answer: RawAnswer = (await self._core.run(call)).value
        return answer

    async def warm(
        self,
        model: str | None = None,
        *,
        replicas: int = 1,
        wait: bool = True,
        timeout: float = 1800.0,
        keep: float | None = None,
        on_event: OnEvent | None = None,
    ) -> EndpointState:
        """As `Client.warm`."""
        return await self._core.machines.warm(
            model, replicas=replicas, wait=wait, timeout=timeout, keep=keep, on_event=on_event
        )

    def warmed(
        self,
        model: str | None = None,
        *,
        replicas: int = 1,
        timeout: float = 1800.0,
        on_event: OnEvent | None = None,
    ) -> AsyncWarmed:
        """As `Client.warmed`, for ``async with``."""
        from hybrid_infer.resources.warmed import AsyncWarmed

        return AsyncWarmed(self._core, model, replicas=replicas, timeout=timeout, on_event=on_event)

    async def stop(
        self,
        model: str | None = None,
        *,
        force: bool = False,
        wait: bool = True,
        timeout: float = 900.0,
        on_event: OnEvent | None = None,
    ) -> EndpointState:
        """As `Client.stop`."""
        return await self._core.machines.stop(
            model, force=force, wait=wait, timeout=timeout, on_event=on_event
        )

    async def state(self, model: str | None = None) -> EndpointState:
        """As `Client.state`."""
        return await self._core.machines.state(model)

    async def status(self) -> tuple[MachineStatus, ...]:
        """As `Client.status`."""
        return await self._core.machines.status()

    async def sweep(self) -> Swept:
        """As `Client.sweep`."""
        return await self._core.machines.sweep()

    async def switch(self, mode: ModeChoice) -> None:
        """As `Client.switch`."""
        await self._core.switch(mode)

    async def migrate(
        self,
        target: ModeChoice | None = None,
        *,
        resume: bool = False,
        undo: bool = False,
        **options: Unpack[MigrateOptions],
    ) -> MigrationReport:
        """As `Client.migrate`."""
        from hybrid_infer.migrating.run import migrate

        return await migrate(self._core, target, options, resume=resume, undo=undo)

    def migration_plan(self, target: ModeChoice, **options: Unpack[MigrateOptions]) -> MigrationPlan:
        """As `Client.migration_plan`."""
        from hybrid_infer.migrating.plan import options_of, plan

        return plan(self._core, target, options_of(options))

    def describe(self) -> str:
        """As `Client.describe`."""
        return self._core.describe()

    async def close(self) -> None:
        """As `Client.close`."""
        await self._core.aclose()

    async def __aenter__(self) -> Self:
        self._core.wake()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core.mode}>"
