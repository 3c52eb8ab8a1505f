"""Rates: how the calls to one target are priced, once its rows have been looked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from hybrid_infer.calls.call import Basis as TargetBasis
from hybrid_infer.calls.call import Mode
from hybrid_infer.calls.money import NANO, Basis, Usage
from hybrid_infer.prices import units
from hybrid_infer.prices.tables import SECONDS_PER_HOUR, Price, TokenPrice, UnitPrice

MILLION = 1_000_000

PARTS = MILLION * SECONDS_PER_HOUR * NANO
"""Parts of a nano-dollar: tokens at prices per million and time at prices per hour come out whole in them."""

_PER_TOKEN = PARTS // MILLION
_PER_NANOSECOND = PARTS // (SECONDS_PER_HOUR * NANO)

MACHINE_SHARE = "this process's share of the machine's busy time; idle time and other callers are not in it"
NO_COUNTS = "the answer did not say how many tokens it used"
NO_PIXELS = "neither the request nor the answer said how large the images are"
NO_SECONDS = 'the answer did not say how long the audio is (response_format="verbose_json" does)'


class Offered(Protocol):
    """A place where a model is served, as far as its price goes. `Target` is one."""

    @property
    def name(self) -> str: ...
    @property
    def mode(self) -> Mode: ...
    @property
    def model(self) -> str | None: ...
    @property
    def basis(self) -> TargetBasis: ...
    @property
    def priced_as(self) -> str | None: ...
    @property
    def gpu(self) -> str | None: ...
    @property
    def gpus(self) -> int: ...
    @property
    def cpu(self) -> float | None: ...
    @property
    def memory(self) -> float | None: ...
    @property
    def logical(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A place where a model could be served; see `Target` for the attributes."""

    name: str
    mode: Mode
    model: str | None
    basis: TargetBasis
    priced_as: str | None = None
    gpu: str | None = None
    gpus: int = 1
    cpu: float | None = None
    memory: float | None = None
    logical: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePrice(Price):
    """Price of one replica in nano-dollars per hour, all it is billed for included.

    Attributes:
        machine: which one, e.g. ``"2 x H100"``; None where the user gave the price.
        excludes: what the provider bills besides, and this price does not hold; None is nothing.
        estimated: why time on it is always an estimate, where it is.
    """

    machine: str | None
    nano_per_hour: int
    excludes: str | None = None
    estimated: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPrice(Price):
    """Price of a request, in nano-dollars."""

    nano: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How the calls to one target are priced.

    Attributes:
        where, mode: name and mode of the target.
        basis: what is counted; unknown where no price is.
        reason: why there is no price.
        fresh_until: the last day on which nothing speaks against the prices.
    """

    where: str
    mode: Mode
    basis: Basis
    tokens: TokenPrice | None = None
    unit: UnitPrice | None = None
    machine: MachinePrice | None = None
    request: RequestPrice | None = None
    reason: str | None = None
    fresh_until: date = field(init=False)

    def __post_init__(self) -> None:
        known = (self.tokens, self.unit, self.machine, self.request)
        prices = [price for price in known if price is not None]
        until = min((price.fresh_until for price in prices), default=date.max)
        object.__setattr__(self, "fresh_until", until)

    def doubts(self, price: Price, at: date) -> list[str]:
        """Those of one of its prices; worked out only once something speaks against one."""
        return [] if at <= self.fresh_until else price.doubts(at)


@dataclass(slots=True, eq=False)
class Item:
    """What one attempt was billed, in parts of a nano-dollar by what was counted."""

    price: Price
    basis: Basis
    doubts: list[str]
    input: int = 0
    cached: int = 0
    output: int = 0
    machine: int = 0
    request: int = 0
    cold: int = 0

    @property
    def parts(self) -> int:
        return self.input + self.cached + self.output + self.machine + self.request + self.cold


def item(
    rate: Rate,
    at: date,
    usage: Usage | None,
    machine_ns: int | None,
    cold_ns: int = 0,
    machine_nano: int | None = None,
) -> Item | str:
    """One answer at this rate, or why its cost is unknown.

    Args:
        machine_nano: what the meter has told for both times together, where it did; it has rounded so that
            the sums of calls come out.
    """
    found: Item | str
    if rate.tokens is not None:
        found = _by_tokens(rate, rate.tokens, usage, at)
    elif rate.unit is not None:
        found = _by_units(rate, rate.unit, usage, at)
    elif rate.machine is not None:
        found = _by_time(rate, rate.machine, machine_ns, cold_ns, machine_nano, at)
    elif rate.request is not None:
        found = Item(rate.request, "request", rate.doubts(rate.request, at))
    else:
        return rate.reason or f"it is not known how {rate.where} is paid"
    if rate.request is not None and isinstance(found, Item):
        found.request = rate.request.nano * PARTS
    return found


def _by_tokens(rate: Rate, price: TokenPrice, usage: Usage | None, at: date) -> Item | str:
    """Input, cached input and output at their prices; reasoning is part of output, cached of input."""
    if usage is None or usage.input_tokens is None:
        return NO_COUNTS
    found = Item(price, "tokens", rate.doubts(price, at))
    if price.output is None:
        if usage.output_tokens:
            return f'no price known for output of model "{price.model}" on {rate.mode}'
    elif usage.output_tokens is None:
        return NO_COUNTS
    else:
        found.output = usage.output_tokens * price.output * _PER_TOKEN
    cached = min(usage.cached_tokens or 0, usage.input_tokens)
    found.input = (usage.input_tokens - cached) * price.input * _PER_TOKEN
    if cached:
        found.cached = cached * (price.input if price.cached is None else price.cached) * _PER_TOKEN
    if usage.estimated:
        found.doubts.append("the tokens are estimated: the answer did not report them")
    return found


def _by_units(rate: Rate, price: UnitPrice, usage: Usage | None, at: date) -> Item | str:
    """Images by their pixels and steps, audio by its length (see `prices.units`)."""
    if price.unit == "megapixel":
        if usage is None or usage.pixels is None:
            return NO_PIXELS
        nano = units.images(price, width=usage.pixels, height=1, steps=usage.steps)
    else:
        if usage is None or usage.audio_seconds is None:
            return NO_SECONDS
        nano = units.audio(price, seconds=usage.audio_seconds)
    found = Item(price, "request", rate.doubts(price, at))
    found.request = round(nano * PARTS)
    if usage.estimated:
        found.doubts.append("the size is estimated: neither the request nor the answer said it")
    return found


def _by_time(
    rate: Rate, price: MachinePrice, busy_ns: int | None, cold_ns: int, told: int | None, at: date
) -> Item | str:
    """A share of the machine's time (see `prices.meter`)."""
    if busy_ns is None:
        return f"the time on the machine of {rate.where} was not measured"
    doubts = [MACHINE_SHARE]
    if price.estimated is not None:
        doubts.append(price.estimated)
    if price.excludes is not None:
        doubts.append(price.excludes)
    doubts += rate.doubts(price, at)
    found = Item(price, "machine-time", doubts)
    if told is None:
        found.machine = busy_ns * price.nano_per_hour * _PER_NANOSECOND
        found.cold = cold_ns * price.nano_per_hour * _PER_NANOSECOND
    else:
        found.cold = told * PARTS * cold_ns // (busy_ns + cold_ns) if cold_ns else 0
        found.machine = told * PARTS - found.cold
    return found
