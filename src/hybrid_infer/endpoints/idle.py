"""A budget for machines that are kept although nobody uses them. Pure: the time is an argument."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hybrid_infer.calls.money import usd
from hybrid_infer.endpoints.state import HourlyPrice

_NANO = 1_000_000_000
_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleSpent:
    """What idle machines cost on a day: its date (UTC), and nano-dollars."""

    day: str
    nano: int

    @property
    def usd(self) -> Decimal:
        return usd(self.nano)

    def text(self) -> str:
        """As a journal keeps it."""
        return json.dumps({"day": self.day, "nano": self.nano})


def idle_spent(text: str | None, at: datetime) -> IdleSpent:
    """What was spent on the day of `at`, from `IdleSpent.text`; what another day cost does not count."""
    day = at.astimezone(UTC).date().isoformat()
    values: dict[str, Any] = json.loads(text) if text else {}
    return IdleSpent(day=day, nano=int(values["nano"]) if values.get("day") == day else 0)


class IdleBudget:
    """So many dollars a day (UTC) for the time in which machines answer nobody.

    Raises:
        ValueError: the amount is negative.
    """

    def __init__(self, usd_per_day: Decimal | float) -> None:
        self.nano = int(Decimal(str(usd_per_day)) * _NANO)
        if self.nano < 0:
            raise ValueError(
                f"a budget for idle machines of {usd_per_day} USD a day is negative; 0 keeps none"
            )

    @property
    def usd(self) -> Decimal:
        """Dollars a day."""
        return usd(self.nano)

    def spend(self, spent: IdleSpent, seconds: float, price: HourlyPrice, replicas: int) -> IdleSpent:
        """With so many seconds more, of so many replicas at `price` each."""
        more = round(max(0.0, seconds) * price.nano * replicas / _HOUR)
        return IdleSpent(day=spent.day, nano=spent.nano + more)

    def allows(self, spent: IdleSpent) -> bool:
        """Whether there is something left of the day's budget."""
        return spent.nano < self.nano
