"""Call, Target and Tally: one logical request on its way through the stack."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from hybrid_infer.calls.money import Cost, Usage

if TYPE_CHECKING:
    from hybrid_infer.calls.reply import Reply

Mode = Literal["together-serverless", "together-dedicated", "modal", "openai-compatible"]
MODES: tuple[Mode, ...] = get_args(Mode)

Operation = Literal["chat"]

Service: TypeAlias = "Callable[[Call], Coroutine[Any, Any, Reply]]"


Basis = Literal["tokens", "machine-time", "unknown"]


@dataclass(slots=True, kw_only=True, eq=False)
class Target:
    """One place to send to, with its own inner stack. Made by the assembly; the exchange
    fills in a model that only the server knows.

    Attributes:
        name: how traces and `reply.hybrid` call it: mode and model, e.g. ``"modal/llm"``.
        mode: the mode it belongs to.
        provider: the value of OpenTelemetry's ``gen_ai.provider.name``.
        model: the provider's name of the model; None lets the server's only model answer.
        host, port: where requests go.
        basis: how it is paid.
        priced_as: the row of the per-token price table it is billed by, where that is not `model`.
        gpu, gpus: the machine that is paid by time, e.g. ``"H100"`` and 2; None is unknown.
        simulated: the provider is the simulator.
        serve: the target's stack.
    """

    name: str
    mode: Mode
    provider: str
    model: str | None
    host: str
    port: int
    basis: Basis
    priced_as: str | None = None
    gpu: str | None = None
    gpus: int = 1
    simulated: bool = False
    serve: Service = field(init=False, repr=False)


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request to one target, as the Tally remembers it. Times are `Runtime.now()` seconds."""

    target: Target
    started: float
    ended: float | None = None
    status: int | None = None
    error: str | None = None
    billed: bool | None = True
    request_id: str | None = None
    usage: Usage | None = None
    machine_ns: int | None = None
    """This attempt's share of its machine's busy time (see `prices.meter`), where time is what is paid."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What happened on behalf of one call. Written by the layers while the call lives."""

    started: float = 0.0
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    cold_start: bool = False
    cold_wait: float = 0.0
    why: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    cost: Cost | None = None
    latency: float | None = None


@dataclass(slots=True, kw_only=True)
class Call:
    """One logical request. Nobody writes to it once it is made; layers pass on changed copies.

    It is a plain dataclass because a frozen one costs a microsecond more on every call.

    Attributes:
        operation: what is asked for.
        model: the logical name, or the provider's own.
        body: the request as the caller gave it, without model, stream and the options below.
        timeout: seconds for the whole call, from its start.
        deadline: an absolute end, time zone aware; the earlier of the two counts.
        trace: opaque to all but the tracing code: the context that attempt spans hang below.
        until: `Runtime.now()` at which the call's time is over, set by the deadline layer.
    """

    operation: Operation
    model: str | None
    body: Mapping[str, Any]
    stream: bool = False
    timeout: float | None = None
    deadline: datetime | None = None
    mode: Mode | None = None
    purpose: str | None = None
    session: str | None = None
    max_retries: int | None = None
    extra_headers: Mapping[str, str] | None = None
    extra_body: Mapping[str, Any] | None = None
    candidates: tuple[Target, ...] = ()
    tally: Tally = field(default_factory=Tally)
    trace: Any = None
    until: float = float("inf")
