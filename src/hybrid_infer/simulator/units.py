"""Units: what Together's serverless models are paid by besides tokens. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

Unit = Literal["megapixels", "minutes", "characters", "videos", "batch input tokens", "batch output tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """A quantity on the bill; `steps` where the price of a picture depends on them."""

    unit: Unit
    quantity: float
    steps: int | None = None


Billed = Units | Literal["tokens", "input tokens"]
"""Tokens are counted where they are made; those that an operation is only timed by are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitUse:
    """What a model has been used for. What the client did not wait for is not in it (an assumption).

    Attributes:
        steps: of the pictures in this row; None where they do not matter.
    """

    model: str
    unit: Unit
    steps: int | None
    requests: int
    quantity: float


class Timed(Protocol):
    """Work of which is known whether it came to its end."""

    @property
    def over(self) -> float:
        """When it is done; a time long past if it was cancelled."""
        ...

    def complete(self, now: float) -> bool:
        """Whether it is done, and was not cancelled before."""
        ...


@dataclass(slots=True)
class UnitLedger:
    """Counts units when the work on them is done."""

    _rows: dict[tuple[str, Unit, int | None], tuple[int, float]] = field(
        default_factory=dict[tuple[str, Unit, int | None], tuple[int, float]]
    )
    _live: list[tuple[str, Units, Timed]] = field(default_factory=list[tuple[str, Units, Timed]])

    def add(self, model: str, units: Units) -> None:
        """Count at once."""
        key = model, units.unit, units.steps
        requests, quantity = self._rows.get(key, (0, 0.0))
        self._rows[key] = requests + 1, quantity + units.quantity

    def expect(self, model: str, units: Units, work: Timed, now: float) -> None:
        """Count when the work is done."""
        self._settle(now)
        self._live.append((model, units, work))

    def use(self, now: float) -> tuple[UnitUse, ...]:
        """What has been counted until `now`."""
        self._settle(now)
        return tuple(
            UnitUse(model=model, unit=unit, steps=steps, requests=requests, quantity=quantity)
            for (model, unit, steps), (requests, quantity) in self._rows.items()
        )

    def _settle(self, now: float) -> None:
        live = self._live
        self._live = [entry for entry in live if entry[2].over > now]
        for model, units, work in live:
            if work.over <= now and work.complete(now):
                self.add(model, units)
