"""Price rows: one record for each price, how rows are found, and the tables that come with the package."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Literal

from hybrid_infer.calls.call import Mode

FILES = ("together_serverless", "together_units", "together_gpu", "modal_gpu", "modal_shared")

STALE_DAYS = 30
"""A price read longer ago still counts, as an estimate: five of Together's models were to retire between
2026-10-22 and 2026-11-06 alone (LiteLLM 1.109.1), and two prices rose on 2026-10-19."""

SECONDS_PER_HOUR = 3600

Resource = Literal["cpu", "memory"]
Unit = Literal["megapixel", "minute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What every price says of itself.

    Attributes:
        as_of: the day it was read at its source; None for a price of the user's own without a date.
        source: the publication, and how it was read.
        retires: the last day for which it was announced to hold; None is unannounced.
        note: what else is known.
        others: the same price as other sources have it; they are compared and never count.
    """

    as_of: date | None
    source: str
    retires: date | None = None
    note: str | None = None
    others: tuple[Price, ...] = ()

    def stale(self, at: date) -> bool:
        """Whether it was read too long before that day."""
        return self.as_of is not None and (at - self.as_of).days > STALE_DAYS

    @property
    def fresh_until(self) -> date:
        """The last day on which nothing speaks against it."""
        fresh = date.max if self.as_of is None else self.as_of + timedelta(days=STALE_DAYS)
        return fresh if self.retires is None else min(fresh, self.retires)

    def doubts(self, at: date) -> list[str]:
        """Why the price may not be the one charged on that day; empty where nothing speaks against it."""
        found: list[str] = []
        if self.stale(at):
            found.append(f"the price was read on {self.as_of}, more than {STALE_DAYS} days earlier")
        if self.retires is not None and at > self.retires:
            found.append(f"the offer was to retire on {self.retires}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrice(Price):
    """Prices of one model in nano-dollars per million tokens (1 USD per million tokens is 10**9).

    Attributes:
        model: the provider's name of the model.
        output: reasoning included; None where none was published.
        cached: input found in the provider's prompt cache; None where it costs as `input`.
    """

    model: str
    input: int
    output: int | None
    cached: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPrice(Price):
    """Price of one GPU in nano-dollars per hour: a unit in which prices per second and per hour are exact.

    Attributes:
        gpu: the name of the card.
    """

    gpu: str
    nano_per_hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePrice(Price):
    """What a container pays besides its GPUs, in nano-dollars per hour: one physical core, or one GiB."""

    resource: Resource
    nano_per_hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPrice(Price):
    """Price of what is not counted in tokens, in nano-dollars per unit.

    Attributes:
        unit: a megapixel (10**6 pixels) of an image, or a minute of audio.
        steps: of an image, the steps up to which the price holds; more cost in proportion, fewer cost the
            same. None where steps do not count.
    """

    model: str
    unit: Unit
    nano: int
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDiscount(Price):
    """What jobs without a hurry are let off, in percent, at most."""

    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Rows, each by mode and name: models exactly as the provider writes them, GPUs by `gpu_key`."""

    tokens: dict[tuple[str, str], TokenPrice] = field(default_factory=dict[tuple[str, str], TokenPrice])
    gpus: dict[tuple[str, str], GpuPrice] = field(default_factory=dict[tuple[str, str], GpuPrice])
    resources: dict[tuple[str, str], ResourcePrice] = field(
        default_factory=dict[tuple[str, str], ResourcePrice]
    )
    units: dict[tuple[str, str], UnitPrice] = field(default_factory=dict[tuple[str, str], UnitPrice])
    batch: dict[str, BatchDiscount] = field(default_factory=dict[str, BatchDiscount])

    def rows(self) -> Iterator[tuple[str, Price]]:
        """Every row with its mode, each once."""
        seen: set[int] = set()
        for table in (self.tokens, self.gpus, self.resources, self.units):
            for (mode, _), row in table.items():
                if id(row) not in seen:
                    seen.add(id(row))
                    yield mode, row
        yield from self.batch.items()


def gpu_key(name: str) -> str:
    """A GPU's name as it is looked up: case, spaces, a leading "NVIDIA" and Modal's final "!" do not count.

    The "!" forbids an upgrade and changes no price (modal.com/docs/guide/gpu). Memory sizes do count: they
    tell an A100-40GB from an A100-80GB.
    """
    key = name.strip().lower().replace(" ", "-").replace("_", "-")
    return key.removeprefix("nvidia-").removesuffix("!")


def nano(usd: Decimal) -> int:
    """USD as nano-dollars; a price finer than that is rounded, half to even."""
    return int(usd.scaleb(9).to_integral_value())


@cache
def shipped() -> Tables:
    """The rows that come with the package, read once and only when somebody asks for a price."""
    # Imported here because nobody else needs them; importlib.resources would load zipfile and tempfile too.
    import tomllib
    from pkgutil import get_data

    tables = Tables()
    for name in FILES:
        text = get_data("hybrid_infer.prices", f"data/{name}.toml") or b""
        _add(tables, tomllib.loads(text.decode(), parse_float=Decimal))
    return tables


@cache
def gpu_names(mode: str, key: str) -> tuple[str, ...]:
    """All keys under which the shipped table knows the card that `key` names; `key` alone if it does not.

    So a live price of "nvidia-h100-80gb" is found as "H100" too, and no name is guessed.
    """
    table = shipped().gpus
    card = table.get((mode, key))
    return tuple(k for (m, k), row in table.items() if row is card and m == mode) or (key,)


def _add(tables: Tables, table: dict[str, Any]) -> None:
    mode: Mode = table["mode"]
    for row in table.get("tokens", ()):
        tables.tokens[mode, row["model"]] = _tokens(row, row["model"])
    for row in table.get("gpus", ()):
        price = _gpu(row, row["gpu"])
        for name in (row["gpu"], *row.get("also", ())):
            tables.gpus[mode, gpu_key(name)] = price
    for row in table.get("resources", ()):
        tables.resources[mode, row["resource"]] = ResourcePrice(
            resource=row["resource"], nano_per_hour=_hourly(row), **_said(row)
        )
    for unit in ("megapixel", "minute"):
        for row in table.get(f"{unit}s", ()):
            tables.units[mode, row["model"]] = UnitPrice(
                model=row["model"], unit=unit, nano=nano(row["usd"]), steps=row.get("steps"), **_said(row)
            )
    if "batch" in table:
        row = table["batch"]
        tables.batch[mode] = BatchDiscount(percent=row["percent"], **_said(row))


def _tokens(row: dict[str, Any], model: str) -> TokenPrice:
    return TokenPrice(
        model=model,
        input=nano(row["input"]),
        output=nano(row["output"]) if "output" in row else None,
        cached=nano(row["cached"]) if "cached" in row else None,
        others=tuple(_tokens(other, model) for other in row.get("others", ())),
        **_said(row),
    )


def _gpu(row: dict[str, Any], gpu: str) -> GpuPrice:
    others = tuple(_gpu(other, gpu) for other in row.get("others", ()))
    return GpuPrice(gpu=gpu, nano_per_hour=_hourly(row), others=others, **_said(row))


def _said(row: dict[str, Any]) -> dict[str, Any]:
    """What every row says of itself."""
    return {key: row.get(key) for key in ("as_of", "source", "retires", "note")}


def _hourly(row: dict[str, Any]) -> int:
    return nano(row["usd_per_hour"] if "usd_per_hour" in row else row["usd_per_second"] * SECONDS_PER_HOUR)
