"""Usage and cost, as data. Unknown is None and says why; an estimate says that it is one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

Basis = Literal["tokens", "machine-time", "request", "cache", "unknown"]

NANO = 1_000_000_000
"""Money is integer nano-dollars inside (1 USD = 10**9) and Decimal at the door; time is nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer. Cached is part of input, reasoning is part of output; None is unknown."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False

    @property
    def total_tokens(self) -> int | None:
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a call cost, in USD.

    Attributes:
        amount: USD, or None with a `reason`.
        basis: what was counted.
        source: where the price is from, e.g. a page and the way it was read.
        priced_at: the date the price was read at its source.
        estimated: True where tokens, time or the price itself are estimates; `reason` says which.
        reason: why the amount is unknown or an estimate.
    """

    amount: Decimal | None
    basis: Basis
    source: str | None = None
    priced_at: date | None = None
    estimated: bool = False
    reason: str | None = None


def usd(nano: int) -> Decimal:
    """Nano-dollars as USD, exactly."""
    return Decimal(nano).scaleb(-9)
