"""The settings below others: of a model, of a model in one mode, of mode hybrid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hybrid_infer.calls.call import Mode, ModeChoice
from hybrid_infer.settings.values import (
    Address,
    Count,
    Credential,
    Flag,
    Functions,
    Label,
    Number,
    Schedules,
)

CONFIG = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)
"""Of all models of settings."""

DAY = 86_400
"""Seconds; the most that any time limit can be."""


class ModelTarget(BaseModel):
    """A logical model in one mode: who serves it there. What is unset is taken from the mode's settings.

    Of the limits, None is "as for all targets": the setting of the client with the same name.
    """

    model_config = CONFIG

    model: Label = Field(
        default=None,
        description="The provider's name of the model; unset where its server has one model only.",
    )
    url: Address = Field(default=None, description="Address of the server, with or without /v1.")
    function: Label = Field(
        default=None,
        description="In mode modal, the deployed function that answers in place of a server: app/function.",
    )
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
    cpu: Number | None = Field(
        default=None, gt=0, description="Physical cores that a Modal container is billed for."
    )
    memory: Number | None = Field(
        default=None, gt=0, description="GiB of memory that a Modal container is billed for."
    )
    identity: Label = Field(
        default=None,
        description="The weights it serves, e.g. llama-3.3-70b@fp8: targets of one name share kept answers.",
    )
    priced_as: Label = Field(
        default=None,
        description="The row of the per-token price table it is billed by; for Modal shared endpoints.",
    )
    max_in_flight: Count | None = Field(
        default=None, ge=1, description="Requests at the same time, where it is not the client's number."
    )
    adaptive: Flag | None = Field(
        default=None, description="Whether it finds that number itself, where the client says otherwise."
    )
    requests_per_minute: Number | None = Field(
        default=None, gt=0, description="Requests a minute, where it is not the client's number."
    )
    tokens_per_minute: Number | None = Field(
        default=None, gt=0, description="Tokens a minute, where it is not the client's number."
    )
    max_queue: Count | None = Field(
        default=None, ge=0, description="Calls that may wait for it, where it is not the client's number."
    )
    max_wait: Number | None = Field(
        default=None,
        gt=0,
        description="Seconds that a call may wait for it, where they are not the client's.",
    )
    warm: Schedules = Field(
        default=(),
        description="When its machine is kept warm, e.g. Mon-Fri 08:00-19:00 Europe/Berlin; unset, never.",
    )
    replicas: Count = Field(
        default=1, ge=1, description="Replicas of its machine that are up at least while it is kept warm."
    )
    inactive_timeout: Count | None = Field(
        default=None,
        ge=30,
        le=1440,
        description="Minutes without a request after which Together itself stops it; unset, never.",
    )
    server: Label = Field(
        default=None,
        description="In mode modal, the deployed server behind the address, to scale it: app/Server.",
    )
    base_model: Label = Field(
        default=None,
        description="Together's model (or projects/…/models/…) to make the endpoint of where there is none.",
    )
    hardware: Label = Field(
        default=None,
        description="Together's projects/…/configs/… to run base_model on, where that is one of your own.",
    )


class ModelSettings(BaseModel):
    """A logical model: the name the application uses, and what it stands for in each mode."""

    model_config = CONFIG

    mode: ModeChoice | None = Field(
        default=None, description="The mode of calls to this model, where it is not the client's."
    )
    identity: Label = Field(
        default=None, description="The weights it stands for in all modes that do not say their own."
    )
    never_leave: Flag | None = Field(
        default=None,
        description="Whether its calls stay where they are meant to go, where the client says otherwise.",
    )
    targets: Mapping[Mode, ModelTarget] = Field(default_factory=dict[Mode, ModelTarget])

    def target(self, mode: Mode) -> ModelTarget | None:
        """What the model is in this mode; None where nothing is said of it."""
        return self.targets.get(mode)


class HybridSettings(BaseModel):
    """Mode hybrid: where calls go, and when they overflow to where."""

    model_config = CONFIG

    base: Mode | None = Field(default=None, description="The mode where calls go while there is room.")
    overflow: Mode | None = Field(
        default=None, description="The mode where they go when there is none; not the same as base."
    )
    max_wait: Number = Field(
        default=2.0,
        ge=0,
        le=DAY,
        description="Seconds of predicted wait for base from which on calls overflow.",
    )
    return_below: Number = Field(
        default=0.5, ge=0, le=1, description="Share of max_wait below which calls go back to base."
    )
    dwell: Number = Field(
        default=10.0,
        ge=0,
        le=DAY,
        description="Seconds for which the predicted wait must stay below that before they go back.",
    )
    cap: Number | None = Field(
        default=None, gt=0, description="USD an hour that overflow may cost; unset is no limit."
    )


class HookSettings(BaseModel):
    """Functions that are told what happens, each as ``package.module:function``."""

    model_config = CONFIG

    before_warm: Functions = Field(default=(), description="Told before a machine is brought up.")
    after_warm: Functions = Field(default=(), description="Told when it answers, or will not come up.")
    on_cold_start: Functions = Field(default=(), description="Told when a call finds a machine cold.")
    on_ready: Functions = Field(default=(), description="Told when that machine answers calls.")
    on_idle: Functions = Field(default=(), description="Told when no call came for a while.")
    before_stop: Functions = Field(default=(), description="Told before a machine is stopped.")
    on_switch: Functions = Field(default=(), description="Told when the client goes to another mode.")
    on_overflow: Functions = Field(
        default=(), description="Told when calls begin to overflow in mode hybrid, and when they cease to."
    )


class PriceSettings(BaseModel):
    """What the user pays for a model, in USD."""

    model_config = CONFIG

    input: Number | None = Field(
        default=None, ge=0, description="USD per million tokens of input that was not cached."
    )
    output: Number | None = Field(
        default=None, ge=0, description="USD per million tokens of output, reasoning included."
    )
    cached: Number | None = Field(
        default=None, ge=0, description="USD per million tokens of cached input; unset, as input."
    )
    second: Number | None = Field(
        default=None, ge=0, description="USD per second of one replica of its machine, all GPUs included."
    )
    hour: Number | None = Field(default=None, ge=0, description="The same per hour; give one of them.")
    request: Number | None = Field(
        default=None, ge=0, description="USD per request, on top of what else is given."
    )


class BudgetSettings(BaseModel):
    """What calls may spend: of each, or of all together in a clock hour or a day (UTC)."""

    model_config = CONFIG

    usd: Number | None = Field(default=None, gt=0, description="USD that may be spent; or give `tokens`.")
    tokens: Count | None = Field(
        default=None, ge=1, description="Tokens of prompts and answers together; or give `usd`."
    )
    per: Literal["call", "hour", "day"] = Field(
        default="day", description="For each call, each clock hour, or each day (UTC)."
    )
    purpose: Label = Field(default=None, description="Counts calls of this purpose alone; unset, all.")
