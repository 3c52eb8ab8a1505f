"""What is known of a machine at a moment, and what happened to it. Data, and pure transitions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from hybrid_infer.calls.money import usd

Life = Literal["absent", "cold", "warming", "warm", "draining", "failed"]
"""Where a machine is in its life:

- absent: there is none of this name;
- cold: it is there and stopped; requests are refused, nothing is billed;
- warming: it comes up, or is up and not reachable yet;
- warm: requests are answered, by as many replicas as `Replicas.ready` says;
- draining: it finishes what it has, and stops;
- failed: it will not come up; `EndpointState.said` has the provider's words.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Copies of the machine; None is unknown. `ready` ones answer and are billed, `wanted` shall be there."""

    ready: int | None
    starting: int | None
    wanted: int | None


NO_REPLICAS = Replicas(ready=0, starting=0, wanted=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyPrice:
    """What one ready replica costs: nano-dollars per hour, and who says so."""

    nano: int
    source: str

    @property
    def usd(self) -> Decimal:
        """Dollars per hour."""
        return usd(self.nano)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """A machine at a moment.

    Attributes:
        name: mode and model, as `Target.name`, e.g. ``"together-dedicated/acme/assistant"``.
        minimum, maximum: bounds of the provider's autoscaler; None is unknown.
        routed: whether requests are led to it; None where the provider knows no such thing.
        price: None is unknown.
        said: the provider's own words, e.g. ``"SCALING: Starting replicas"``; empty where it said nothing.
        since: when this process saw `life` begin; None where it was so at the first look.
        at: when it was looked at (UTC).
    """

    name: str
    life: Life
    replicas: Replicas
    minimum: int | None
    maximum: int | None
    routed: bool | None
    price: HourlyPrice | None
    said: str
    since: datetime | None
    at: datetime

    @property
    def serves(self) -> bool:
        """Whether requests are answered."""
        return self.life == "warm"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """The machine, or what the provider says of it, is another than at the look before (None: the first)."""

    at: datetime
    before: EndpointState | None
    state: EndpointState

    def __str__(self) -> str:
        ready, wanted = self.state.replicas.ready, self.state.replicas.wanted
        counted = "" if ready is None else f" {ready}" if wanted is None else f" {ready}/{wanted}"
        return f"{self.state.name}: {self.state.life}{counted} ({self.state.said})"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAction:
    """Something was done to the machine, e.g. ``"scale to 1..1"``."""

    at: datetime
    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


EndpointEvent: TypeAlias = EndpointChange | EndpointAction
OnEvent: TypeAlias = Callable[[EndpointEvent], object]
"""Told of what happens while a machine is waited for. Plain and quick; what it raises is logged."""


def followed(before: EndpointState | None, now: EndpointState) -> EndpointState:
    """`now` with its `since`, after the look before."""
    if before is None:
        return replace(now, since=None)
    return replace(now, since=before.since if before.life == now.life else now.at)


def changed(before: EndpointState | None, now: EndpointState) -> bool:
    """Whether anything but the time is another."""
    return before is None or replace(before, at=now.at, since=now.since) != now


def next_look(waited: float) -> float:
    """Seconds until a machine that is waited for is looked at again, after so many seconds of waiting."""
    return 2.0 if waited < 30 else 5.0 if waited < 120 else 10.0
