"""The settings of a client."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from hybrid_infer.calls.call import Mode
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings.options import PREFIX, Option, read_options
from hybrid_infer.settings.source import CONFIG_VARIABLE, Given, Layout, Source, Tree, problem
from hybrid_infer.settings.values import REASON, Address, Also, Count, Credential, Flag, Label, Number
from hybrid_infer.settings.wording import dotted

_DAY = 86_400
_NOTHING: Mapping[str, object] = MappingProxyType({})
_CONFIG = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One row of `Settings.explain`: a setting, its value as it may be shown, and where it came from."""

    name: str
    value: str
    source: str


class ModelTarget(BaseModel):
    """A logical model in one mode: who serves it there. What is unset is taken from the mode's settings."""

    model_config = _CONFIG

    model: Label = Field(
        default=None,
        description="The provider's name of the model; unset where its server has one model only.",
    )
    url: Address = Field(default=None, description="Address of the server, with or without /v1.")
    gpu: Label = Field(
        default=None, description="GPU of the machine behind it, e.g. H100; gives its price by time."
    )
    gpus: Count = Field(default=1, ge=1, description="GPUs of one replica.")
    api_key: Credential = Field(default=None, repr=False, description="Bearer key of this address.")
    key: Credential = Field(
        default=None, repr=False, description="Modal proxy token of this address, first half (wk-…)."
    )
    secret: Credential = Field(
        default=None, repr=False, description="Modal proxy token of this address, second half (ws-…)."
    )
    priced_as: Label = Field(
        default=None,
        description="The row of the per-token price table it is billed by; for Modal shared endpoints.",
    )


class ModelSettings(BaseModel):
    """A logical model: the name the application uses, and what it stands for in each mode."""

    model_config = _CONFIG

    mode: Mode | None = Field(
        default=None, description="The mode of calls to this model, where it is not the client's."
    )
    targets: Mapping[Mode, ModelTarget] = Field(default_factory=dict[Mode, ModelTarget])

    def target(self, mode: Mode) -> ModelTarget | None:
        """What the model is in this mode; None where nothing is said of it."""
        return self.targets.get(mode)


class Settings(BaseModel):
    """Every option of a client. Made by `load`; frozen."""

    model_config = _CONFIG

    mode: Mode = Field(
        default="together-serverless",
        description="Where calls go, unless the call or its model says otherwise.",
    )
    model: Label = Field(default=None, description="The model of calls that name none.")
    models: Mapping[str, ModelSettings] = Field(default_factory=dict[str, ModelSettings])

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

    timeout: Number = Field(
        default=600.0, gt=0, le=_DAY, description="Seconds for a whole call, all its attempts and waits."
    )
    attempt_timeout: Number = Field(default=300.0, gt=0, le=_DAY, description="Seconds for one attempt.")
    connect_timeout: Number = Field(default=5.0, gt=0, le=_DAY, description="Seconds to open a connection.")
    cold_start_timeout: Number = Field(
        default=600.0,
        ge=0,
        le=_DAY,
        description="Seconds to wait for a machine that is not running; 0 does not wait.",
    )
    max_retries: Count = Field(
        default=2, ge=0, le=20, description="Repeats after the first try: 2 means at most 3 attempts."
    )
    max_connections: Count = Field(
        default=1000, ge=1, le=100_000, description="Open connections of one client."
    )
    max_keepalive: Count = Field(
        default=100, ge=0, le=100_000, description="Idle connections kept for the next call."
    )
    keepalive_expiry: Number = Field(
        default=30.0, ge=0, le=_DAY, description="Seconds an idle connection is kept."
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
            arguments: by name of the setting; None counts as not given.
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
            settings = cls.model_validate(_plain(tree))
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)
            problems += [_problem(tree, detail) for detail in details]
        # Raised here and not above, so that the validation error is not carried along.
        if settings is None or problems:
            # Bytes of the environment that are no text would make the message unprintable.
            raise ConfigurationError([p.encode(errors="backslashreplace").decode() for p in problems])
        settings._sources = _sources(tree)
        return settings

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """Everything that can be set, as the documentation lists it."""
        layout = _layout()
        return (_CONFIG_OPTION, *layout.top.values(), *layout.model.values(), *layout.target.values())

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each value came from: ``"argument"``, ``"environment …"``, ``"file …"`` or ``"default"``."""
        return MappingProxyType({row.name: row.source for row in self.explain()})

    def explain(self) -> tuple[Explained, ...]:
        """Every setting with its value and source; of a secret only whether it is set."""
        layout = _layout()
        rows = [self._row(name, option, getattr(self, name)) for name, option in layout.top.items()]
        for name, model in self.models.items():
            if model.mode is not None:
                rows.append(self._row(dotted(("models", name, "mode")), layout.model["mode"], model.mode))
            for mode, target in model.targets.items():
                rows += [
                    self._row(dotted(("models", name, mode, key)), option, getattr(target, key))
                    for key, option in layout.target.items()
                    if key in target.model_fields_set
                ]
        return tuple(rows)

    def _row(self, name: str, option: Option, value: object) -> Explained:
        unset = "argument" if "." in name or name in self.model_fields_set else "default"
        shown = "not set" if value is None else "set" if option.secret else str(value)
        return Explained(
            name=name,
            value=shown.lower() if isinstance(value, bool) else shown,
            source=self._sources.get(name, unset),
        )

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
def _layout() -> Layout:
    model = f"{PREFIX}MODELS__<NAME>__"
    return Layout(
        top=read_options(Settings),
        model=read_options(ModelSettings, under="models.<name>.", variables_under=model),
        target=read_options(ModelTarget, under="models.<name>.<mode>.", variables_under=f"{model}<MODE>__"),
    )


def _plain(tree: Tree) -> dict[str, object]:
    return {key: node.value if isinstance(node, Given) else _plain(node) for key, node in tree.items()}


def _problem(tree: Tree, detail: ErrorDetails) -> str:
    *path, leaf = (str(step) for step in detail["loc"])
    for step in path:
        tree = cast("Tree", tree[step])
    return problem(cast("Given", tree[leaf]), detail["msg"] if detail["type"] == REASON else None)


def _sources(tree: Tree, keys: tuple[str, ...] = ()) -> dict[str, str]:
    sources: dict[str, str] = {}
    for key, node in tree.items():
        if isinstance(node, Given):
            sources[dotted((*keys, key))] = node.source
        else:
            sources |= _sources(node, keys if key == "targets" and len(keys) == 2 else (*keys, key))
    return sources
