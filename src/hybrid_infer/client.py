"""Client: the blocking client. Every method steps the same core that AsyncClient awaits."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from hybrid_infer.calls.ask import CallOptions, merged
from hybrid_infer.calls.call import ModeChoice
from hybrid_infer.calls.timeouts import Timeouts
from hybrid_infer.colours import blocking
from hybrid_infer.core import Core
from hybrid_infer.resources.chat import Chat
from hybrid_infer.runtime.step import step
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
    from hybrid_infer.resources.functions import Functions
    from hybrid_infer.resources.media import Audio, ImagesResource, Videos
    from hybrid_infer.resources.stored import Batches, Files, Models
    from hybrid_infer.resources.texts import Completions, Embeddings, Rerank
    from hybrid_infer.resources.warmed import Warmed
    from hybrid_infer.telemetry.content import Redact
    from hybrid_infer.warming.status import MachineStatus


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

    @cached_property
    def chat(self) -> Chat:
        return Chat(self._core, self._defaults)

    @property
    def completions(self) -> Completions:
        from hybrid_infer.resources.texts import Completions

        return Completions(self._core, self._defaults)

    @property
    def embeddings(self) -> Embeddings:
        from hybrid_infer.resources.texts import Embeddings

        return Embeddings(self._core, self._defaults)

    @property
    def rerank(self) -> Rerank:
        from hybrid_infer.resources.texts import Rerank

        return Rerank(self._core, self._defaults)

    @property
    def images(self) -> ImagesResource:
        from hybrid_infer.resources.media import ImagesResource

        return ImagesResource(self._core, self._defaults)

    @property
    def audio(self) -> Audio:
        from hybrid_infer.resources.media import Audio

        return Audio(self._core, self._defaults)

    @property
    def videos(self) -> Videos:
        from hybrid_infer.resources.media import Videos

        return Videos(self._core, self._defaults)

    @property
    def functions(self) -> Functions:
        from hybrid_infer.resources.functions import Functions

        return Functions(self._core, self._defaults)

    @property
    def models(self) -> Models:
        from hybrid_infer.resources.stored import Models

        return Models(self._core, self._defaults)

    @property
    def files(self) -> Files:
        from hybrid_infer.resources.stored import Files

        return Files(self._core, self._defaults)

    @property
    def batches(self) -> Batches:
        from hybrid_infer.resources.stored import Batches

        return Batches(self._core, self._defaults)

    @property
    def hooks(self) -> Hooks:
        """Functions of yours that are told what happens: ``@client.hooks.on_ready``. Copies share them."""
        return self._core.hooks

    def with_options(self, *, model: str | None = None, **options: Unpack[CallOptions]) -> Self:
        """A client with other defaults for its calls, on the same connections.

        Raises:
            InvalidCallError: an option is unknown or has the wrong type.
        """
        copy = object.__new__(type(self))
        copy._core = self._core
        copy._defaults = merged(self._defaults, {"model": model, **options})
        return copy

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, **options: Unpack[CallOptions]
    ) -> RawAnswer:
        """Send a request of your own through the stack, to a path of the mode's server; never cached.

        It is not sent a second time once it went out, unless ``idempotent=True`` says that it may be.

        Args:
            path: what follows the host, e.g. ``"/v1/audio/voices"``.
            body: fields, sent as JSON.

        Raises:
            InvalidCallError: the arguments are wrong; nothing was sent.
            APIError: the call went out, or tried to, and did not end well.
        """
        from hybrid_infer.calls.requests import request_call

        call = request_call("POST", self._defaults, path, body, options)
        answer: RawAnswer = (step(self._core.run(call))).value
        return answer

    def get(
        self, path: str, query: Mapping[str, Any] | None = None, **options: Unpack[CallOptions]
    ) -> RawAnswer:
        """As `post`, for what changes nothing: it is repeated as any other call.

        Args:
            query: what follows the path's question mark.
        """
        from hybrid_infer.calls.requests import request_call

        call = request_call("GET", self._defaults, path, query, options)
        answer: RawAnswer = (step(self._core.run(call))).value
        return answer

    def warm(
        self,
        model: str | None = None,
        *,
        replicas: int = 1,
        wait: bool = True,
        timeout: float = 1800.0,
        keep: float | None = None,
        on_event: OnEvent | None = None,
    ) -> EndpointState:
        """Bring up the machine that calls for a model go to, and wait until it answers them.

        It stays up until the client is closed or `stop` is called, and longer where others need it. Where
        nothing has to be started (serverless, a server of your own) it returns a state that says so.

        Args:
            model: as calls name it; in mode ``hybrid`` its machine in the base mode.
            replicas: at least so many.
            wait: False returns at once, and has it come up in the background.
            timeout: seconds for that.
            keep: seconds for which it stays up from now on, also beyond this process; for scripts.
            on_event: told of each step in the provider's own words (an `EndpointChange` or `EndpointAction`).

        Raises:
            EndpointError: it cannot come up, or not in time; then nothing is kept up.
            ConfigurationError: the provider's package or a credential is missing.
        """
        return step(
            self._core.machines.warm(
                model, replicas=replicas, wait=wait, timeout=timeout, keep=keep, on_event=on_event
            )
        )

    def warmed(
        self,
        model: str | None = None,
        *,
        replicas: int = 1,
        timeout: float = 1800.0,
        on_event: OnEvent | None = None,
    ) -> Warmed:
        """As `warm`, for as long as a block runs: ``with client.warmed("assistant") as state:``.

        However the block ends, the machine is given back; should the process die, soon afterwards
        (`lease_seconds`). It stops then, unless others need it.
        """
        from hybrid_infer.resources.warmed import Warmed

        return Warmed(self._core, model, replicas=replicas, timeout=timeout, on_event=on_event)

    def stop(
        self,
        model: str | None = None,
        *,
        force: bool = False,
        wait: bool = True,
        timeout: float = 900.0,
        on_event: OnEvent | None = None,
    ) -> EndpointState:
        """Stop the machine that calls for a model go to. Harmless while it is stopped.

        In mode ``hybrid`` new calls go to the overflow first; what the machine works on is finished.

        Args:
            force: also if other processes need it.
            wait: False does not wait until it has stopped.
            timeout: seconds for that.
            on_event: as of `warm`.

        Raises:
            EndpointConflictError: others need it; says who, and until when.
            EndpointError, ConfigurationError: as `warm`.
        """
        return step(
            self._core.machines.stop(model, force=force, wait=wait, timeout=timeout, on_event=on_event)
        )

    def state(self, model: str | None = None) -> EndpointState:
        """Look at the machine that calls for a model go to.

        Raises:
            EndpointError, ConfigurationError: it cannot be looked at.
        """
        return step(self._core.machines.state(model))

    def status(self) -> tuple[MachineStatus, ...]:
        """Look at the machines of all configured models, in all modes: who needs them, and what they cost.

        One that cannot be looked at is in it with the reason. What cannot be known is None.
        """
        return step(self._core.machines.status())

    def sweep(self) -> Swept:
        """Take down what processes that died left up, as far as their leases have ended.

        It never takes a machine from somebody who needs it. Clients that keep machines do this by themselves.
        """
        return step(self._core.machines.sweep())

    def switch(self, mode: ModeChoice) -> None:
        """New calls go to `mode`; calls in flight end where they began; the last one out closes the old.

        Raises:
            ConfigurationError: `mode` lacks an address or a credential; nothing has changed then.
        """
        step(self._core.switch(mode))

    def migrate(
        self,
        target: ModeChoice | None = None,
        *,
        resume: bool = False,
        undo: bool = False,
        **options: Unpack[MigrateOptions],
    ) -> MigrationReport:
        """Move to another mode, step by step, while calls go on in other threads.

        Its machine is brought up, both modes are asked and compared, and a growing share of this client's
        calls goes there. If that does well, all do; what is in flight ends where it is, and the old machine
        is stopped. If it does not, all is as it was before. Calls that name a mode, or may not leave, stay
        until the end. What is done is written down beforehand, so any process can resume or undo it.

        Args:
            target: the mode; None takes it from the unfinished move.
            resume, undo: go on with an unfinished move, of this or another process, or take it back.
            options: see `MigrateOptions`, and the page on migrating.

        Raises:
            MigrationRefusedError: the answers differ too much; nothing was moved.
            RolledBackError: the new mode did worse; all calls are back.
            MigrationBusyError: another move is unfinished, or underway.
            EndpointError: a machine did not come up; what was begun is undone.
            MigrationError: calls are left where they were after `drain_timeout`; resume or undo it.
            InvalidCallError, ConfigurationError: it cannot be begun.
        """
        from hybrid_infer.migrating.run import migrate

        return step(migrate(self._core, target, options, resume=resume, undo=undo))

    def migration_plan(self, target: ModeChoice, **options: Unpack[MigrateOptions]) -> MigrationPlan:
        """What `migrate` would do, what it costs an hour, and what nobody can know before. Asks no provider.

        Raises:
            InvalidCallError, ConfigurationError: as `migrate`.
        """
        from hybrid_infer.migrating.plan import options_of, plan

        return plan(self._core, target, options_of(options))

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
