"""The user's own prices, as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from hybrid_infer.prices.tables import SECONDS_PER_HOUR, nano

if TYPE_CHECKING:
    from hybrid_infer.settings import PriceSettings

SOURCE = "your own prices"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPrice:
    """What the user pays for a model. Nano-dollars; None is not given.

    Attributes:
        input, output, cached: per million tokens.
        hour: per hour of one replica of its machine, all GPUs included.
        request: per request, on top of what else is given.
        as_of: since when, where the user says so.
    """

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    hour: int | None = None
    request: int | None = None
    as_of: date | None = None

    @property
    def by_tokens(self) -> bool:
        return self.input is not None


def user_prices(settings: Mapping[str, PriceSettings]) -> dict[str, UserPrice]:
    """The prices of the settings, by name of the model. A table without any price says nothing."""
    found = {name: _row(given) for name, given in settings.items()}
    return {name: price for name, price in found.items() if price != UserPrice()}


def _row(given: PriceSettings) -> UserPrice:
    hour = _nano(given.hour) if given.second is None else _nano(given.second, SECONDS_PER_HOUR)
    return UserPrice(
        input=_nano(given.input),
        output=_nano(given.output),
        cached=_nano(given.cached),
        hour=hour,
        request=_nano(given.request),
    )


def _nano(amount: float | None, times: int = 1) -> int | None:
    # By way of its text: the user wrote a decimal number.
    return None if amount is None else nano(Decimal(str(amount)) * times)
