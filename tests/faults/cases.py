"""The cases: every fault, in every shape, colour, routing and reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from hybrid_infer.calls.call import MODES, Mode
from hybrid_infer.calls.timeouts import Timeouts
from hybrid_infer.simulator.fault_catalogue import ALL_FAULTS
from hybrid_infer.simulator.fault_rules import FaultRule
from hybrid_infer.simulator.faults import Fault

Shape = Literal["unary", "stream", "restart"]
"""A complete answer; a stream; a stream that is to begin anew where it breaks."""

Colour = Literal["sync", "async"]
Routing = Literal["single", "fallback", "hybrid", "hedged"]

Reach = Literal["once", "first", "everywhere", "first, others fail", "first, others fail once"]
"""The fault happens to the first request alone; to all of the first target; to all of all targets; to all of
the first while the others answer 500, always or to their first request."""

SHAPES: tuple[Shape, ...] = get_args(Shape)
COLOURS: tuple[Colour, ...] = get_args(Colour)
REACHES: tuple[Reach, ...] = get_args(Reach)

FURTHER: Mapping[str, FaultRule] = MappingProxyType(
    {
        "cold_redirect_too_late": FaultRule(fault=Fault("cold", variant="redirect", seconds=100.0)),
        "drip_bearable": FaultRule(fault=Fault("drip", seconds=0.0005)),
        "error_event_saturated": FaultRule(fault=Fault("error_event", code="overloaded_error")),
        "malformed_event_first": FaultRule(fault=Fault("malformed_event", events=0)),
        "reset_before_content": FaultRule(fault=Fault("reset_mid_body", events=1)),
        "reset_within_an_event": FaultRule(fault=Fault("reset_mid_body", bytes=900)),
        "stall_before_content": FaultRule(fault=Fault("stall", events=1, keep_alive=3.0)),
        "stall_within_an_event": FaultRule(fault=Fault("stall", bytes=900)),
        "status_429_wait_too_long": FaultRule(fault=Fault("status", status=429, retry_after=300.0)),
        "status_503_wait_too_long": FaultRule(fault=Fault("status", status=503, retry_after=300.0)),
        "status_500_web_page": FaultRule(fault=Fault("status", status=500, body="<html>oops</html>")),
        "status_500_empty": FaultRule(fault=Fault("status", status=500, body="")),
        "clock_skew_behind": FaultRule(fault=Fault("clock_skew", seconds=-3600.0)),
        "truncate_before_content": FaultRule(fault=Fault("truncate", events=1)),
        "truncate_to_nothing": FaultRule(fault=Fault("truncate", events=0, bytes=0)),
        "truncate_at_the_end": FaultRule(fault=Fault("truncate", events=10_000)),
        "truncate_within_an_event": FaultRule(fault=Fault("truncate", bytes=900)),
    }
)
"""What the simulator's catalogue leaves out: where exactly it happens, and waits that do not fit."""

HEDGED: Mapping[str, tuple[Shape, ...]] = MappingProxyType(
    {
        "silence": ("unary", "stream"),
        "slow_first_token": ("unary", "stream"),
        "slow_first_token_after_the_head": ("unary", "stream"),
        "stall": ("unary",),
        "drip": ("unary", "stream"),
    }
)
"""What is slow before its first content, and not wrong at once: there a second request helps."""

FAULTS: Mapping[str, FaultRule] = MappingProxyType({**ALL_FAULTS, **FURTHER})

RETRIES = 2
WARM_UP = 20
"""Calls after which a hedge knows how long the target usually takes; none of them can be hedged yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast time goes, and the limits that suit it.

    Attributes:
        speed: seconds of the providers per second of the client.
        total, attempt, first_token, between_tokens, cold_start: as in `Timeouts`.
        redirected: of one attempt where its answer comes by way of a redirect.
        answer: seconds within which any of the simulated models answers in full.
        deadline: seconds by which the deadline may be passed.
        rounding: seconds by which a moment that both sides know may differ.
    """

    speed: float
    total: float
    attempt: float
    first_token: float
    between_tokens: float
    cold_start: float
    redirected: float
    answer: float
    deadline: float
    rounding: float


VIRTUAL = Pace(
    speed=1.0, total=60.0, attempt=20.0, first_token=10.0, between_tokens=5.0, cold_start=30.0,
    redirected=30.0, answer=3.0, deadline=1e-3, rounding=1e-3,
)  # fmt: skip
REAL = Pace(
    speed=20.0, total=4.0, attempt=1.0, first_token=0.6, between_tokens=0.4, cold_start=3.0,
    redirected=3.0, answer=1.5, deadline=0.25, rounding=0.3,
)  # fmt: skip

_PAIRS: Mapping[Routing, tuple[tuple[Mode, ...], ...]] = MappingProxyType(
    {
        "single": tuple((mode,) for mode in MODES),
        "fallback": (("modal", "together-serverless"), ("together-serverless", "modal")),
        "hybrid": (("together-dedicated", "together-serverless"), ("modal", "together-serverless")),
        "hedged": (("together-serverless",),),
    }
)
_MACHINES: Mapping[Routing, tuple[tuple[Mode, ...], ...]] = MappingProxyType(
    {
        "single": (("modal",), ("together-dedicated",)),
        "fallback": (("modal", "together-dedicated"),),
        "hybrid": (("together-dedicated", "modal"), ("modal", "together-dedicated")),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One call, and what goes wrong with it. `modes` are the targets that may answer, the first one first."""

    fault: str
    shape: Shape
    colour: Colour
    routing: Routing
    reach: Reach
    modes: tuple[Mode, ...]
    pace: Pace = VIRTUAL

    @property
    def rule(self) -> FaultRule:
        """As the catalogue has it."""
        return FAULTS[self.fault]

    def rules(self) -> tuple[FaultRule, ...]:
        """What goes wrong."""
        rule = self.rule
        if self.reach == "once":
            timed = rule.until is not None or rule.down is not None
            return (rule if timed else replace(rule, on=1),)
        if self.reach != "first, others fail":
            rule = replace(rule, until=None)
        if rule.down is not None:  # well before the call, then down for good
            rule = replace(rule, down=1e6)
        if self.reach == "everywhere":
            return (rule,)
        rule = replace(rule, mode=self.modes[0])
        if self.reach == "first" or len(self.modes) == 1:
            return (rule,)
        on = 1 if self.reach == "first, others fail once" else None
        return (rule, FaultRule(fault=Fault("status", status=500), mode=self.modes[1], on=on))

    @property
    def begin(self) -> float:
        """When the call is made: where the fault comes and goes, shortly before it goes or after it came."""
        up, down = self.rule.up, self.rule.down
        if up is None or down is None:
            return 0.0
        return (up + down - 0.1 if self.reach == "once" else up + 0.1) / self.pace.speed

    @property
    def retries(self) -> int:
        """Enough to outlast what passes within a tenth of a second."""
        return 10 if self.begin and self.reach == "once" else RETRIES

    def settings(self) -> dict[str, Any]:
        """Of the client."""
        first, *others = self.modes
        hedged = self.routing == "hedged"
        common: dict[str, Any] = {
            "max_in_flight": 2 if hedged else 1,
            "max_retries": self.retries,
            "retry_budget": 1.0,
            "hedge": hedged,
        }
        if self.routing == "hybrid":
            return {**common, "mode": "hybrid", "hybrid": {"base": first, "overflow": others[0]}}
        return {**common, "mode": first, "fallback": others}

    def timeouts(self) -> Timeouts:
        """Of the call."""
        pace, redirected = self.pace, self.rule.fault.variant == "redirect"
        return Timeouts(
            total=pace.total,
            attempt=pace.redirected if redirected else pace.attempt,
            first_token=pace.redirected if redirected else pace.first_token,
            between_tokens=pace.between_tokens,
            cold_start=pace.cold_start,
        )

    def __str__(self) -> str:
        sockets = "" if self.pace is VIRTUAL else ", over sockets"
        return f"{self.shape}, {self.colour}, {self.routing}{sockets}: {self.reach}, {' > '.join(self.modes)}"


def virtual_cases(fault: str) -> Iterator[Case]:
    """All of one fault in virtual time."""
    what = FAULTS[fault].fault
    for routing, pairs in (_MACHINES if what.kind == "cold" else _PAIRS).items():
        if what.variant == "redirect":  # web functions of Modal
            pairs = tuple(pair for pair in pairs if pair[0] == "modal")
        if routing == "hedged" and fault not in HEDGED:
            continue
        reaches: tuple[Reach, ...] = ("once", "everywhere") if routing == "single" else REACHES
        for modes, reach, shape, colour in product(pairs, reaches, SHAPES, COLOURS):
            if modes != pairs[0] and (shape == "restart" or reach.startswith("first, ")):
                continue  # in these it does not matter who the targets are
            if fault == "drip_bearable" and reach != "everywhere":
                continue  # thousands of reads each, and it harms nobody wherever it happens
            if routing == "hedged" and (reach != "once" or shape not in HEDGED[fault]):
                continue
            yield Case(fault=fault, shape=shape, colour=colour, routing=routing, reach=reach, modes=modes)


def real_cases(fault: str) -> Iterator[Case]:
    """One of each fault over real sockets and in real time: shapes, colours and routings take turns."""
    number = tuple(FAULTS).index(fault)
    shape, colour = SHAPES[number % 2], COLOURS[number // 2 % 2]
    routing, reach, modes = _IN_TURN[number % len(_IN_TURN)]
    if fault in _OF_THEIR_OWN:
        routing, reach, modes = _OF_THEIR_OWN[fault]
    yield Case(fault=fault, shape=shape, colour=colour, routing=routing, reach=reach, modes=modes, pace=REAL)
    if fault == "silence":
        for colour in COLOURS:
            yield Case(
                fault=fault, shape=shape, colour=colour, routing="hedged", reach="once",
                modes=("together-serverless",), pace=REAL,
            )  # fmt: skip
    if fault == "reset_mid_body":
        yield Case(
            fault=fault, shape="restart", colour=colour, routing="fallback", reach="first",
            modes=("modal", "together-serverless"), pace=REAL,
        )  # fmt: skip


_Way: TypeAlias = tuple[Routing, Reach, tuple[Mode, ...]]
_IN_TURN: tuple[_Way, ...] = (
    ("single", "once", ("together-serverless",)),
    ("fallback", "first", ("modal", "together-serverless")),
    ("hybrid", "first", ("together-dedicated", "together-serverless")),
    ("single", "once", ("modal",)),
    ("fallback", "once", ("together-serverless", "modal")),
)
_OF_THEIR_OWN: Mapping[str, _Way] = MappingProxyType(
    {
        "refuse": ("single", "everywhere", ("modal",)),  # a port that refuses does so for everybody
        "flapping": ("fallback", "first", ("modal", "together-serverless")),
        "cold": ("single", "once", ("modal",)),
        "cold_redirect": ("single", "once", ("modal",)),
        "cold_redirect_too_late": ("fallback", "first", ("modal", "together-dedicated")),
        "slow_first_token": ("single", "everywhere", ("together-serverless",)),  # up to the deadline
    }
)
