"""Usage and cost, as data. Unknown is None and says why; an estimate says that it is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal, Protocol

Basis = Literal["tokens", "machine-time", "request", "cache", "unknown"]

NANO = 1_000_000_000
"""Money is integer nano-dollars inside (1 USD = 10**9) and Decimal at the door; time is nanoseconds."""

_NOTHING = Decimal(0)


@dataclass(slots=True, kw_only=True)
class Usage:
    """Tokens of one answer. Cached is part of input, reasoning is part of output; None is unknown.

    Nobody writes to it. It is a plain dataclass, because a frozen one costs a microsecond more on every call.

    Attributes:
        pixels: of all images that were made, together.
        steps: that each of them took, where the request says so.
        audio_seconds: how long the audio is that was heard.
        estimated: some of it is.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    pixels: int | None = None
    steps: int | None = None
    audio_seconds: float | None = None
    estimated: bool = False

    @property
    def total_tokens(self) -> int | None:
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class CostParts:
    """What an amount is made of, in USD. The parts add up to it exactly.

    Attributes:
        input: tokens of the prompt that were not in the provider's cache.
        cached: tokens of the prompt that were.
        output: tokens of the answer, reasoning included.
        machine_time: the answer's share of a machine.
        request: what is paid for a request as such.
        attempts: everything billed for attempts before and beside the one that ended the call.
        cold_start: the call's share of machine time that was billed while the machine came up.
    """

    input: Decimal = _NOTHING
    cached: Decimal = _NOTHING
    output: Decimal = _NOTHING
    machine_time: Decimal = _NOTHING
    request: Decimal = _NOTHING
    attempts: Decimal = _NOTHING
    cold_start: Decimal = _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalent:
    """The same answer, paid for in another way that is known for its model.

    Attributes:
        where: mode and model, e.g. ``"together-serverless/Qwen/Qwen3.5-9B"``.
        basis: what would be counted there.
        amount: USD, or None with a `reason`. Failed attempts and cold starts are not in it.
        source, priced_at, estimated: as those of `Cost`.
    """

    where: str
    basis: Basis
    amount: Decimal | None
    source: str | None = None
    priced_at: date | None = None
    estimated: bool = False
    reason: str | None = None


class Detail(Protocol):
    """What a cost was worked out from; it can be pickled. Asked only by who wants to know more."""

    def nanos(self) -> Mapping[str, int]: ...
    def parts(self) -> CostParts | None: ...
    def equivalent(self) -> tuple[Equivalent, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a call cost, in USD.

    Attributes:
        amount: USD, or None with a `reason`.
        basis: what was counted.
        source: where the price is from, e.g. a page and the way it was read.
        priced_at: the date the price was read at its source; None for a price of your own.
        estimated: True where tokens, time or the price itself are estimates; `reason` says which.
        final: False where more may become known: a machine's share is settled once all processes that used
            it are known, and the loser of a hedge may still be at work.
        reason: why the amount is unknown or an estimate.
        detail: what `parts` and `equivalent` are worked out from when they are asked for.
    """

    amount: Decimal | None
    basis: Basis
    source: str | None = None
    priced_at: date | None = None
    estimated: bool = False
    final: bool = True
    reason: str | None = None
    detail: Detail | None = field(default=None, repr=False, compare=False)

    @property
    def parts(self) -> CostParts | None:
        """What the amount is made of; None where the amount is unknown."""
        if self.amount is None:
            return None
        return CostParts() if self.detail is None else self.detail.parts()

    @property
    def nanos(self) -> Mapping[str, int]:
        """The parts that are not 0 by name, in nano-dollars: for those who make no `Decimal` of them."""
        return {} if self.amount is None or self.detail is None else self.detail.nanos()

    @property
    def equivalent(self) -> tuple[Equivalent, ...]:
        """This answer on the other bases known for its model; of a cache hit, what was saved."""
        return () if self.detail is None else self.detail.equivalent()

    @property
    def saved(self) -> Decimal | None:
        """What a stored or shared answer would have cost; None where it was paid for, or unknown."""
        others = self.equivalent if self.basis == "cache" else ()
        return others[0].amount if others else None


def usd(nano: int) -> Decimal:
    """Nano-dollars as USD, exactly."""
    return Decimal(nano).scaleb(-9)


def half_even(parts: int, whole: int) -> int:
    """`parts / whole`, rounded half to even without leaving the integers."""
    found, rest = divmod(parts, whole)
    return found + (2 * rest > whole or (2 * rest == whole and found % 2 == 1))
