"""What a provider billed, and what the ledger has of the same day: data for comparing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

Provider = Literal["together", "modal"]
TokenKind = Literal["input", "output", "cached"]
Cause = Literal[
    "price",
    "outside",
    "lost-process",
    "rounding",
    "region",
    "cpu-memory",
    "idle",
    "unpriced",
    "not-billed",
    "not-billed-yet",
]
"""Why a bill is not what the ledger has; the page on reconciling says how each is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """One line of a bill. Money is USD.

    Attributes:
        product: as the bill calls it: Together's product, Modal's app.
        names: all that the bill says of what was used; one of them may be a model's name.
        mode, model: what it is in the ledger; None until that has been found out.
        kind: which tokens are counted; None where it does not say.
        quantity, unit_price: in the provider's unit; None where the bill has none.
        resources: of a container, what each resource cost; empty where the bill does not say.
    """

    day: date
    provider: Provider
    product: str
    cost: Decimal
    names: frozenset[str] = frozenset()
    mode: str | None = None
    model: str | None = None
    kind: TokenKind | None = None
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    resources: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineDay:
    """A machine on one day. Nanoseconds of replicas, and nano-dollars.

    Attributes:
        total_ns, total_nano: what it was billed for by the ledger; None is unknown, e.g. the idle time.
        used_ns, used_nano: of it, the shares of calls.
        nano_per_hour: of a replica; None is unknown.
        runs: how often replicas came into service, and those that were there before.
        followed: its state was told, and not estimated from the calls.
    """

    total_ns: int | None
    total_nano: int | None
    used_ns: int
    used_nano: int | None
    nano_per_hour: int | None
    runs: int
    followed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A day of one model in one mode, as the ledger has it.

    Attributes:
        host: where its requests went, for machines.
        cost_nano: of the calls whose cost is known; `cost_unknown` have none.
        estimated_nano: the part of it that is an estimate.
        input_tokens, output_tokens, cached_tokens: of all requests that were billed, or may have been.
        unsure: requests of which nobody knows whether they were billed, or how much.
        machine: where time is paid.
    """

    day: date
    mode: str
    model: str
    host: str | None = None
    calls: int = 0
    cost_nano: int = 0
    cost_unknown: int = 0
    estimated_nano: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    unsure: int = 0
    machine: MachineDay | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A process of which nothing was heard any more: when, and what it had spent on a model in an hour."""

    process: str
    last_ns: int
    mode: str
    model: str
    nano_per_hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """What the ledger itself knows that it lacks.

    Attributes:
        missing: by day, calls whose numbers are missing among those of their process.
        lost: by day, records of which a process said that it could not write them.
        stopped: processes that ended before the time that is looked at does.
    """

    missing: Mapping[date, int] = field(default_factory=dict[date, int])
    lost: Mapping[date, int] = field(default_factory=dict[date, int])
    stopped: tuple[Stopped, ...] = ()
