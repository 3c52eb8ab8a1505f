"""The settings of a client."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, cast

from pydantic import BaseModel, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from hybrid_infer.calls.call import ModeChoice, OnCold, OnStreamBreak
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings.environment import CONFIG_VARIABLE
from hybrid_infer.settings.layout import Entry, Named, Table
from hybrid_infer.settings.nested import (
    CONFIG,
    DAY,
    BudgetSettings,
    HookSettings,
    HybridSettings,
    ModelSettings,
    PriceSettings,
)
from hybrid_infer.settings.options import Option, read_options
from hybrid_infer.settings.relations import contradictions
from hybrid_infer.settings.source import Source, problem
from hybrid_infer.settings.tables import all_settings
from hybrid_infer.settings.tree import Given, Tree, given_in, plain
from hybrid_infer.settings.values import (
    REASON,
    Address,
    Also,
    CacheFile,
    Count,
    Credential,
    FilePath,
    Flag,
    Label,
    Name,
    Names,
    Number,
    RedisUrl,
)

if TYPE_CHECKING:
    from hybrid_infer.settings.explained import Explained

_NOTHING: Mapping[str, object] = MappingProxyType({})


class Settings(BaseModel):
    """Every option of a client. Made by `load`; frozen."""

    model_config = CONFIG

    mode: ModeChoice = Field(
        default="together-serverless",
        description="Where calls go, unless the call, its purpose or its model says otherwise.",
    )
    model: Label = Field(default=None, description="The model of calls that name none.")
    models: Mapping[str, ModelSettings] = Field(default_factory=dict[str, ModelSettings])
    hybrid: HybridSettings = Field(default_factory=HybridSettings)
    hooks: HookSettings = Field(default_factory=HookSettings)
    purposes: Mapping[str, ModeChoice] = Field(
        default_factory=dict[str, ModeChoice], description="The mode of calls with this purpose."
    )
    prices: Mapping[str, PriceSettings] = Field(default_factory=dict[str, PriceSettings])
    budgets: Mapping[str, BudgetSettings] = Field(default_factory=dict[str, BudgetSettings])
    prices_cache: CacheFile = Field(
        default=None,
        description="File that keeps live prices; unset, hybrid_infer/prices.json in your cache folder.",
    )
    fallback: Names = Field(
        default=(), description="Where a call goes when its target fails: modes or models, tried in order."
    )
    never_leave: Flag = Field(
        default=False,
        description="Calls stay where they are meant to go: no overflow, no fallback, whatever happens.",
    )
    on_cold: OnCold = Field(
        default="overflow",
        description="What calls do where no machine is running and another target may answer.",
    )
    on_stream_break: OnStreamBreak = Field(
        default="error",
        description="What becomes of a stream that breaks after its first content: an error, or a new start.",
    )

    base_url: Address = Field(
        default=None,
        description="Address of the server in mode openai-compatible. As an argument: of the client's mode.",
    )
    api_key: Credential = Field(
        default=None,
        repr=False,
        description="Bearer key in mode openai-compatible. As an argument: of the client's mode.",
    )
    together_api_key: Annotated[Credential, Also("TOGETHER_API_KEY")] = Field(
        default=None, repr=False, description="Key of both Together modes."
    )
    together_base_url: Annotated[Address, Also("TOGETHER_BASE_URL")] = Field(
        default=None, description="Address of both Together modes, where it is not Together's own."
    )
    modal_url: Address = Field(
        default=None, description="Address of the server in mode modal, with or without /v1."
    )
    modal_key: Credential = Field(
        default=None, repr=False, description="Modal proxy token, first half (wk-…)."
    )
    modal_secret: Credential = Field(
        default=None, repr=False, description="Modal proxy token, second half (ws-…)."
    )
    modal_api_key: Credential = Field(
        default=None,
        repr=False,
        description="Bearer key in mode modal: of the engine, or of a shared endpoint (wk-….ws-…).",
    )
    modal_token_id: Annotated[Credential, Also("MODAL_TOKEN_ID")] = Field(
        default=None,
        repr=False,
        description="Account token of the modal package (ak-…); never sent over HTTP.",
    )
    modal_token_secret: Annotated[Credential, Also("MODAL_TOKEN_SECRET")] = Field(
        default=None, repr=False, description="Secret of that account token (as-…); never sent over HTTP."
    )

    modal_region_multiplier: Number = Field(
        default=1.0, gt=0, le=10, description="Factor on the price of containers pinned to a region."
    )
    modal_nonpreemptible: Flag = Field(
        default=False, description="Containers are not preempted: three times the price of CPU and memory."
    )
    modal_scaledown_window: Number = Field(
        default=60.0, ge=0, le=DAY, description="Seconds a container stays up after its last request."
    )
    modal_concurrency: Count | None = Field(
        default=None, ge=1, description="Calls that one container takes; unset counts one container for all."
    )

    timeout: Number = Field(
        default=600.0, gt=0, le=DAY, description="Seconds for a whole call, all its attempts and waits."
    )
    attempt_timeout: Number = Field(default=300.0, gt=0, le=DAY, description="Seconds for one attempt.")
    connect_timeout: Number = Field(default=5.0, gt=0, le=DAY, description="Seconds to open a connection.")
    first_token_timeout: Number | None = Field(
        default=None,
        gt=0,
        le=DAY,
        description="Seconds to the first content of a stream; unset, attempt_timeout is the only limit.",
    )
    between_tokens_timeout: Number = Field(
        default=60.0, gt=0, le=DAY, description="Seconds between two pieces of content of a stream."
    )
    cold_start_timeout: Number = Field(
        default=600.0,
        ge=0,
        le=DAY,
        description="Seconds to wait for a machine that is not running; 0 does not wait.",
    )
    max_retries: Count = Field(
        default=2, ge=0, le=20, description="Repeats after the first try: 2 means at most 3 attempts."
    )
    retry_budget: Number = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Repeats and hedges of all calls together, as a share of the calls, at most.",
    )
    hedge: Flag = Field(
        default=False,
        description="Sends a slow attempt a second time and takes the first answer; both may cost money.",
    )
    breaker: Flag = Field(
        default=True, description="Leaves a target alone for a while after it has failed again and again."
    )
    max_in_flight: Count | None = Field(
        default=None, ge=1, description="Requests to one target at the same time; unset is no limit."
    )
    adaptive: Flag = Field(
        default=False,
        description="Finds by itself how many requests a target bears at the same time, up to max_in_flight.",
    )
    requests_per_minute: Number | None = Field(
        default=None, gt=0, description="Requests to one target in a minute; unset is no limit."
    )
    tokens_per_minute: Number | None = Field(
        default=None, gt=0, description="Tokens to and from one target in a minute; unset is no limit."
    )
    max_queue: Count = Field(
        default=1000, ge=0, description="Calls that may wait for one target; 0 refuses instead of waiting."
    )
    max_wait: Number | None = Field(
        default=None,
        gt=0,
        description="Seconds that a call may wait for one target; unset, as long as the call has.",
    )
    redis_url: RedisUrl = Field(
        default=None, repr=False, description="The Redis that shares state among processes."
    )
    redis_prefix: Name = Field(default="hybrid_infer", description="How the names of its keys there begin.")
    cache: Literal["off", "memory", "sqlite", "redis"] = Field(
        default="off", description="Where answers are kept, to be given again to the same request."
    )
    cache_path: CacheFile = Field(
        default=None,
        description="File of cache sqlite; unset, hybrid_infer/answers.sqlite in your cache folder.",
    )
    cache_max_bytes: Count = Field(
        default=268_435_456, ge=1, description="Bytes of kept answers; the least recently used go first."
    )
    cache_ttl: Number = Field(
        default=86_400.0, gt=0, description="Seconds for which an answer may be given again."
    )
    cache_namespace: Label = Field(
        default=None,
        description="Who shares answers: clients with the same name; unset, those with the same credential.",
    )
    cache_stale_if_error: Number = Field(
        default=0.0,
        ge=0,
        description="Seconds past its time for which an answer still serves while the provider is out.",
    )
    max_connections: Count = Field(
        default=1000, ge=1, le=100_000, description="Open connections of one client."
    )
    max_keepalive: Count = Field(
        default=100, ge=0, le=100_000, description="Idle connections kept for the next call."
    )
    keepalive_expiry: Number = Field(
        default=30.0, ge=0, le=DAY, description="Seconds an idle connection is kept."
    )

    propagate_trace: Flag = Field(
        default=True, description="Tells providers the trace that a request belongs to, in W3C headers."
    )
    trace_content_max_bytes: Count = Field(
        default=65_536,
        ge=256,
        description="Bytes of messages in one attribute of a span, where they are recorded; more is cut.",
    )
    metrics_names: Literal["1.41", "2026-10"] = Field(
        default="1.41", description="Edition of OpenTelemetry's conventions that names gen_ai metrics."
    )
    ledger: CacheFile = Field(default=None, description="File that records every call; unset, none does.")
    ledger_max_bytes: Count = Field(
        default=2**30, ge=1_000_000, description="Size at which a new file of the ledger is begun."
    )

    upkeep: Flag = Field(
        default=True, description="Looks after machines in the background: schedules, pings, idle stops."
    )
    warm_at_start: Flag = Field(
        default=False, description="Begins to warm the machines of its mode when a client is made."
    )
    keep_alive: Number | None = Field(
        default=None, gt=0, le=DAY, description="Seconds between pings that keep a machine up; unset, none."
    )
    idle_stop: Number | None = Field(
        default=None, gt=0, description="Seconds after the last call until a machine is stopped; unset, none."
    )
    lease_seconds: Number = Field(
        default=120.0, ge=15, le=DAY, description="Seconds a machine stays wanted by a process that vanished."
    )
    leases: Literal["sqlite", "redis", "memory"] = Field(
        default="sqlite", description="Where processes agree on which machines are wanted."
    )
    leases_path: CacheFile = Field(
        default=None,
        description="File of leases sqlite; unset, hybrid_infer/leases.sqlite in your state folder.",
    )
    idle_budget: Number | None = Field(
        default=None, gt=0, description="USD a day that machines may cost while idle; unset is no limit."
    )

    simulate: Flag = Field(
        default=False, description="Replaces the providers by the simulator: no keys, no network."
    )
    simulate_seed: Count = Field(
        default=0, ge=0, le=2**63 - 1, description="Same seed and same calls, same behaviour."
    )
    simulate_speed: Number = Field(default=1.0, gt=0, description="Simulated seconds per real second.")
    simulate_dedicated: Literal["ready", "stopped", "starting"] = Field(
        default="ready", description="How the simulated dedicated endpoint is found."
    )
    simulate_faults: FilePath = Field(
        default=None, description="File with what the simulator lets go wrong; see the page on faults."
    )

    _sources: Mapping[str, str] = PrivateAttr(default_factory=dict[str, str])  # of what `load` was given

    @classmethod
    def load(
        cls,
        arguments: Mapping[str, object] = _NOTHING,
        *,
        environ: Mapping[str, str] | None = None,
        config: str | os.PathLike[str] | None = None,
    ) -> Settings:
        """Arguments over environment over the file over defaults.

        `base_url` and `api_key` among the arguments belong to the mode the client is made for, and become
        `together_base_url` and so on; from the environment and the file they are those of openai-compatible.
        So a key that was set for one mode never goes to the address of another when only the mode changes.

        Args:
            arguments: by name of the setting; None counts as not given. `timeout` may be a `Timeouts`, too,
                whose parts are settings of their own.
            environ: variables, those of the process where None.
            config: a TOML file; where None, the one that HYBRID_INFER_CONFIG names, if it does.

        Raises:
            ConfigurationError: all that is wrong with names, values and the file, in one.
        """
        source = Source(_layout())
        tree = source.read(arguments, os.environ if environ is None else environ, config)
        problems = source.problems
        settings = None
        try:
            settings = cls.model_validate(plain(tree))
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)
            problems += [_problem(tree, detail) for detail in details]
        problems += contradictions(tree)
        # Raised here and not above, so that the validation error is not carried along.
        if settings is None or problems:
            # Bytes of the environment that are no text would make the message unprintable.
            raise ConfigurationError([p.encode(errors="backslashreplace").decode() for p in problems])
        settings._sources = {given.name: given.source for given in given_in(tree)}
        return settings

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """Everything that can be set, as the documentation lists it."""
        return (_CONFIG_OPTION, *dict.fromkeys(_options(_layout())))

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each value came from: ``"argument"``, ``"environment …"``, ``"file …"`` or ``"default"``."""
        return MappingProxyType({row.name: row.source for row in self.explain()})

    def explain(self) -> tuple[Explained, ...]:
        """Every setting with its value and source; of a secret only whether it is set."""
        from hybrid_infer.settings.explained import rows

        return tuple(rows(self, _layout(), self._sources))

    def __eq__(self, other: object) -> bool:
        """Same values; where they came from does not count."""
        return isinstance(other, Settings) and dict(self) == dict(other)


_CONFIG_OPTION = Option(
    name="config",
    variables=(CONFIG_VARIABLE,),
    default=None,
    allowed="the path of a TOML file",
    text="File with settings. Argument and variable only; no file is read unasked.",
)


@cache
def _layout() -> Table:
    return all_settings(read_options(Settings))


def _options(entry: Entry) -> Iterator[Option]:
    if isinstance(entry, Option):
        yield entry
    elif isinstance(entry, Named):
        yield from _options(entry.entry)
    else:
        for inner in (*entry.options.values(), *entry.tables.values()):
            yield from _options(inner)


def _problem(tree: Tree, detail: ErrorDetails) -> str:
    *path, leaf = (str(step) for step in detail["loc"])
    for step in path:
        tree = cast("Tree", tree[step])
    return problem(cast("Given", tree[leaf]), detail["msg"] if detail["type"] == REASON else None)
