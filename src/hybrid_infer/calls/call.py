"""Call, Target and Tally: one logical request on its way through the stack."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

from hybrid_infer.calls.cached import CachePolicy, CacheUse, Served, Sharing
from hybrid_infer.calls.money import Cost, Usage
from hybrid_infer.calls.operations import Method, Operation
from hybrid_infer.calls.timeouts import NONE_GIVEN, Timeouts
from hybrid_infer.errors import Verdict

if TYPE_CHECKING:
    from hybrid_infer.calls.reply import Reply
    from hybrid_infer.calls.structured import Shape
    from hybrid_infer.calls.uploads import Upload

Mode = Literal["together-serverless", "together-dedicated", "modal", "openai-compatible"]
MODES: tuple[Mode, ...] = get_args(Mode)

ModeChoice = Literal["together-serverless", "together-dedicated", "modal", "openai-compatible", "hybrid"]
"""What may be chosen: a mode, or ``hybrid``: a base mode with overflow to another."""
CHOICES: tuple[ModeChoice, ...] = get_args(ModeChoice)

Priority = Literal["interactive", "batch"]
"""Who is served first where calls wait for a slot."""

OnStreamBreak = Literal["error", "restart"]
OnCold = Literal["wait", "overflow"]

Replying: TypeAlias = "Coroutine[Any, Any, Reply]"
Service: TypeAlias = "Callable[[Call], Replying]"


Basis = Literal["tokens", "machine-time", "unknown"]


def _stays() -> None:
    return None


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
        elsewhere: host and port of all that is not chat, where that differs.
        basis: how it is paid.
        priced_as: the row of the per-token price table it is billed by, where that is not `model`.
        gpu, gpus: the machine that is paid by time, e.g. ``"H100"`` and 2; None is unknown.
        cpu, memory: physical cores and GiB that it is billed for besides; None is unknown.
        logical: the name that the application uses, where it has one.
        place: address and path that requests go to.
        identity: the weights behind it, as the user declares them; targets of one identity answer alike.
        credential: the header pairs that prove who asks, as they are now.
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
    elsewhere: tuple[str, int] | None = None
    priced_as: str | None = None
    gpu: str | None = None
    gpus: int = 1
    cpu: float | None = None
    memory: float | None = None
    logical: str | None = None
    place: str = ""
    identity: str | None = None
    credential: Callable[[], Sequence[tuple[str, str]]] = field(default=tuple, repr=False)
    simulated: bool = False
    serve: Service = field(init=False, repr=False)
    probe: Callable[[float], Coroutine[Any, Any, bool]] = field(init=False, repr=False)
    """Asks with as little as possible, until that `Runtime.now()`, whether requests are answered there."""
    leaving: Callable[[], str | None] = field(default=_stays, repr=False)
    """Why calls that another may answer go there first, e.g. because the machine is about to stop."""
    predicted_wait: Callable[[], float] = field(init=False, repr=False)
    """Seconds that a new interactive call would wait for a slot, as far as can be told now."""

    def address(self, operation: Operation) -> tuple[str, int]:
        """Host and port that an operation's requests go to."""
        return (self.host, self.port) if operation == "chat" or self.elsewhere is None else self.elsewhere


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request to one target, as the Tally remembers it. Times are `Runtime.now()` seconds."""

    target: Target
    started: float
    ended: float | None = None
    status: int | None = None
    error: str | None = None
    verdict: Verdict | None = None
    """What the outcome means; None while it is open, or where the caller gave it up."""
    silent: bool = False
    retry_after: float | None = None
    """Seconds that the target asked to stay away, from `ended` on."""
    lane: int = 0
    lost: bool = False
    """The other racer of a hedge answered; what this one cost is part of the call's cost all the same."""
    billed: bool | None = True
    request_id: str | None = None
    usage: Usage | None = None
    machine_ns: int | None = None
    """This attempt's share of its machine's busy time (see `prices.meter`), where time is what is paid."""
    cold_ns: int | None = None
    """Its share of the time that was billed while the machine came up."""
    machine_nano: int | None = None
    """What both come to in nano-dollars, where the meter knows the price."""
    trace: Any = field(default=None, repr=False, compare=False)
    """Opaque to all but the tracing code: its span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One wait of a call for a machine that came up, where that is billed: its share of the time.

    `started` and `ended` are `Runtime.now()` seconds.
    """

    target: Target
    started: float
    ended: float
    cold_ns: int
    machine_nano: int | None


# `list` itself: to call `list[str]` takes six times as long, and there is a Tally for every call.
_attempts = cast("Callable[[], list[Attempt]]", list)
_waits = cast("Callable[[], list[Wait]]", list)
_targets = cast("Callable[[], list[Target]]", list)
_texts = cast("Callable[[], list[str]]", list)


Reckon: TypeAlias = "Callable[[Tally, Usage | None, float], Cost]"
"""What a call cost: of its tally, the usage of its answer, and the `Runtime.now()` of its end."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What happened on behalf of one call. Written by the layers while the call lives."""

    started: float = 0.0
    attempts: list[Attempt] = field(default_factory=_attempts)
    cold_start: bool = False
    cold_wait: float = 0.0
    queue_wait: float = 0.0
    restarts: int = 0
    repeats: int = 0
    """Repeats that count against the call's number of retries."""
    waits: list[Wait] = field(default_factory=_waits)
    """Shares of cold starts that the call waited for."""
    visited: list[Target] = field(default_factory=_targets)
    """Candidates that were asked, or refused the call without being asked."""
    why: list[str] = field(default_factory=_texts)
    warnings: list[str] = field(default_factory=_texts)
    cache: CacheUse = "off"
    served: Served | None = None
    """Whose answer it is, where none of the attempts brought it."""
    raced: bool = False
    """A second request was sent beside a slow one. What lost may end after the call, or begin after it."""
    late: Callable[[], None] | None = None
    """Called when an attempt ends, once the call itself has."""
    latency: float | None = None
    reckon: tuple[Reckon, Usage | None, float] | None = field(default=None, repr=False, compare=False)
    """What works out the cost, and what it is to be given, once the call has ended; see `cost`."""
    reckoned: Cost | None = field(default=None, repr=False)
    trace: Any = field(default=None, repr=False, compare=False)
    """Opaque to all but the tracing code: the span of the call. Here, since copying a call costs more."""

    @property
    def cost(self) -> Cost | None:
        """What all of it cost; None until the call has ended. Worked out when it is asked for first."""
        if self.reckoned is None and self.reckon is not None:
            reckon, usage, ended = self.reckon
            self.reckoned, self.reckon = reckon(self, usage, ended), None
        return self.reckoned


@dataclass(slots=True, kw_only=True)
class Horizon:
    """Until when a stream that several calls share may be drawn: the end of the one with most time."""

    until: float


@dataclass(slots=True, kw_only=True)
class Call:
    """One logical request. Nobody writes to it once it is made; layers pass on changed copies.

    It is a plain dataclass because a frozen one costs a microsecond more on every call.

    Attributes:
        operation: what is asked for.
        model: the logical name, or the provider's own.
        body: the request as the caller gave it, without model, stream and the options below.
        timeouts: as the call gives them; from the deadline layer on all of them, None being no limit.
        deadline: an absolute end, time zone aware; the earlier of the two counts.
        tag: the caller's own mark; the ledger keeps a hash of it.
        fallback: modes or models that may answer where the first cannot; None leaves it to the settings.
        never_leave: nothing but the first candidate may answer; None leaves it to the settings.
        cache: whether and how it uses the cache; None leaves it to the request.
        idempotent: whether it may be sent again though nobody knows what became of it; None leaves it to the
            operation.
        method, path: of the request, where they are not those of the operation's line in the table.
        shape: what its answer is read into, beside its text.
        upload: the file that goes with the body, which is then sent as a form.
        candidates: the targets that may answer, the preferred one first, set by the plan layer.
        avoid: candidates that this attempt is not to go to.
        overflows: the second candidate takes what the first has no room for (mode ``hybrid``).
        patient: a cold machine may be waited for; False while another candidate may answer at once.
        lane: which of the two racers of a hedge this is.
        until: `Runtime.now()` at which the call's time is over, set by the deadline layer.
        sharing: set by the cache layer where identical calls in flight may share one answer.
        horizon: set where calls share a stream: until when it may be drawn.
    """

    operation: Operation
    model: str | None
    body: Mapping[str, Any]
    stream: bool = False
    timeouts: Timeouts = NONE_GIVEN
    deadline: datetime | None = None
    mode: ModeChoice | None = None
    purpose: str | None = None
    tag: str | None = None
    session: str | None = None
    priority: Priority | None = None
    fallback: tuple[str, ...] | None = None
    never_leave: bool | None = None
    on_stream_break: OnStreamBreak | None = None
    hedge: bool | None = None
    max_retries: int | None = None
    extra_headers: Mapping[str, str] | None = None
    extra_body: Mapping[str, Any] | None = None
    cache: CachePolicy | bool | None = None
    idempotent: bool | None = None
    method: Method | None = None
    path: str | None = None
    upload: Upload | None = None
    shape: Shape | None = None
    candidates: tuple[Target, ...] = ()
    avoid: tuple[Target, ...] = ()
    overflows: bool = False
    patient: bool = True
    lane: int = 0
    tally: Tally = field(default_factory=Tally)
    until: float = float("inf")
    sharing: Sharing | None = None
    horizon: Horizon | None = None

    def changed(self, **changes: Any) -> Call:
        """A copy with other values in some fields. As `dataclasses.replace`, in a quarter of its time."""
        copy = object.__new__(Call)
        copy.operation = self.operation
        copy.model = self.model
        copy.body = self.body
        copy.stream = self.stream
        copy.timeouts = self.timeouts
        copy.deadline = self.deadline
        copy.mode = self.mode
        copy.purpose = self.purpose
        copy.tag = self.tag
        copy.session = self.session
        copy.priority = self.priority
        copy.fallback = self.fallback
        copy.never_leave = self.never_leave
        copy.on_stream_break = self.on_stream_break
        copy.hedge = self.hedge
        copy.max_retries = self.max_retries
        copy.extra_headers = self.extra_headers
        copy.extra_body = self.extra_body
        copy.cache = self.cache
        copy.idempotent = self.idempotent
        copy.method = self.method
        copy.path = self.path
        copy.upload = self.upload
        copy.shape = self.shape
        copy.candidates = self.candidates
        copy.avoid = self.avoid
        copy.overflows = self.overflows
        copy.patient = self.patient
        copy.lane = self.lane
        copy.tally = self.tally
        copy.until = self.until
        copy.sharing = self.sharing
        copy.horizon = self.horizon
        for name, value in changes.items():
            setattr(copy, name, value)
        return copy

    @property
    def end(self) -> float:
        """`Runtime.now()` until which its answer may be waited for."""
        return self.until if self.horizon is None else self.horizon.until
