"""The user's own prices, as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from hybrid_infer.prices.rates import MachinePrice, Offered, Rate, RequestPrice
from hybrid_infer.prices.tables import SECONDS_PER_HOUR, TokenPrice, nano

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


def by_time(target: Offered, own: UserPrice) -> bool:
    """Whether the target's time is what the price is for."""
    return target.basis == "machine-time" and own.hour is not None


def own_rate(target: Offered, own: UserPrice, *, by_tokens: bool) -> Rate:
    """How calls to the target are priced by it."""
    where, mode, request = target.name, target.mode, None
    if own.request is not None:
        request = RequestPrice(as_of=own.as_of, source=SOURCE, nano=own.request)
    if by_tokens and own.input is not None:
        tokens = TokenPrice(
            as_of=own.as_of,
            source=SOURCE,
            model=target.priced_as or target.model or target.name,
            input=own.input,
            output=own.output,
            cached=own.cached,
        )
        return Rate(where=where, mode=mode, basis="tokens", tokens=tokens, request=request)
    if own.hour is not None:
        machine = None if target.gpu is None else f"{target.gpus} x {target.gpu}"
        hourly = MachinePrice(as_of=own.as_of, source=SOURCE, machine=machine, nano_per_hour=own.hour)
        return Rate(where=where, mode=mode, basis="machine-time", machine=hourly, request=request)
    return Rate(where=where, mode=mode, basis="request", request=request)
