"""The shipped price tables: one record for each row of `data/*.toml`, and how rows are found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

from hybrid_infer.calls.call import Mode

FILES = ("together_serverless", "together_gpu", "modal_gpu", "modal_shared")

STALE_DAYS = 30
"""A price read longer ago still counts, as an estimate: five of Together's models were to retire between
2026-10-22 and 2026-11-06 alone (LiteLLM 1.109.1), and two prices rose on 2026-10-19."""

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What every price says of itself.

    Attributes:
        as_of: the day it was read at its source.
        source: the publication, and how it was read.
        retires: the last day for which it was announced to hold; None is unannounced.
        note: what else is known, such as the figures of sources that disagree.
    """

    as_of: date
    source: str
    retires: date | None = None
    note: str | None = None

    def doubts(self, at: date) -> list[str]:
        """Why the price may not be the one charged on that day; empty where nothing speaks against it."""
        found: list[str] = []
        if (at - self.as_of).days > STALE_DAYS:
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
        excludes: what the provider bills besides, and this price does not hold; None is nothing.
    """

    gpu: str
    nano_per_hour: int
    excludes: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """All rows: token prices by mode and exact model name, GPU prices by mode and `gpu_key`."""

    tokens: dict[tuple[str, str], TokenPrice]
    gpus: dict[tuple[str, str], GpuPrice]


def gpu_key(name: str) -> str:
    """A GPU's name as it is looked up: case, spaces, a leading "NVIDIA" and Modal's final "!" do not count.

    The "!" forbids an upgrade and changes no price (modal.com/docs/guide/gpu). Memory sizes do count: they
    tell an A100-40GB from an A100-80GB.
    """
    key = name.strip().lower().replace(" ", "-").replace("_", "-")
    return key.removeprefix("nvidia-").removesuffix("!")


@cache
def shipped() -> Tables:
    """The rows that come with the package, read once and only when somebody asks for a price."""
    # Imported here because nobody else needs them; importlib.resources would load zipfile and tempfile too.
    import tomllib
    from pkgutil import get_data

    tables = Tables(tokens={}, gpus={})
    for name in FILES:
        text = get_data("hybrid_infer.prices", f"data/{name}.toml") or b""
        _add(tables, tomllib.loads(text.decode(), parse_float=Decimal))
    return tables


def _add(tables: Tables, table: dict[str, Any]) -> None:
    mode: Mode = table["mode"]
    for row in table.get("tokens", ()):
        tables.tokens[mode, row["model"]] = TokenPrice(
            model=row["model"],
            input=_nano(row["input"]),
            output=_nano(row["output"]) if "output" in row else None,
            cached=_nano(row["cached"]) if "cached" in row else None,
            as_of=row["as_of"],
            source=row["source"],
            retires=row.get("retires"),
            note=row.get("note"),
        )
    for row in table.get("gpus", ()):
        hourly = row["usd_per_hour"] if "usd_per_hour" in row else row["usd_per_second"] * SECONDS_PER_HOUR
        price = GpuPrice(
            gpu=row["gpu"],
            nano_per_hour=_nano(hourly),
            excludes=table.get("excludes"),
            as_of=row["as_of"],
            source=row["source"],
            retires=row.get("retires"),
            note=row.get("note"),
        )
        for name in (row["gpu"], *row.get("also", ())):
            tables.gpus[mode, gpu_key(name)] = price


def _nano(usd: Decimal) -> int:
    return int(usd.scaleb(9))
