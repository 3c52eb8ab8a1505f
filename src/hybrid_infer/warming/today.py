"""What machines cost today, as far as the ledger was told of their state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from hybrid_infer.calls.money import NANO, usd
from hybrid_infer.calls.records import unix_ns
from hybrid_infer.errors import HybridInferError
from hybrid_infer.settings import Settings

_HOUR_NS = 3600 * NANO
_DAY_NS = 24 * _HOUR_NS
FRESH_NS = 300 * NANO
"""Nanoseconds for which a word on a machine's state counts: who follows one says it every minute."""

_STATES = """SELECT m.name, s.at_ns, s.serving, s.starting, s.rate FROM states s
  JOIN machines m ON m.id = s.machine WHERE s.at_ns >= ? ORDER BY s.at_ns"""

Word: TypeAlias = tuple[int, int | None, int, int | None]
"""When, replicas that serve and that come up, and nano-dollars an hour; None is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """Since midnight UTC. None is unknown.

    Attributes:
        billed_ns: replica-time in which its state was known, and it was billed.
        usd: what that cost.
        idle_share: of that time, what no call used (0 to 1).
    """

    billed_ns: int
    usd: Decimal | None
    idle_share: float | None


def today(settings: Settings, wall: datetime) -> Mapping[str, Today]:
    """Each machine that the ledger was told of today, by its name there; none without a ledger."""
    from hybrid_infer.prices.chosen import machine_division
    from hybrid_infer.stores.ledger.machines import machines
    from hybrid_infer.stores.ledger.reader import LedgerReader, ledger_files

    if settings.ledger is None:
        return {}
    now = unix_ns(wall)
    midnight = unix_ns(wall.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
    marks = (midnight, (now // _HOUR_NS + 1) * _HOUR_NS)
    words: dict[str, list[Word]] = {}
    try:
        files = ledger_files(Path(settings.ledger))
        for file in files:
            with LedgerReader(file) as reader:
                for name, *word in reader.query(_STATES, (midnight - _DAY_NS,)):
                    words.setdefault(name, []).append((word[0], word[1], word[2], word[3]))
        used = {
            machine.name: machine.reports[0].attributed.ns
            for machine in machines(files, marks, divide=machine_division(settings))
        }
    except HybridInferError:  # it has no file yet, or none that can be read
        return {}
    return {name: summed(name, told, used.get(name, 0), midnight, now) for name, told in words.items()}


def summed(name: str, words: Sequence[Word], used_ns: int, since: int, now: int) -> Today:
    """What a machine came to from one moment (ns since 1970) to another; calls used `used_ns` of it. Pure."""
    billed = nano = 0
    priced = True
    loading = name.startswith("modal ")  # where time in which a container comes up is billed
    ordered = sorted(words, key=lambda word: word[0])
    ends = [*(word[0] for word in ordered[1:]), now]
    for (at, serving, starting, rate), end in zip(ordered, ends, strict=True):
        passed = min(end, at + FRESH_NS, now) - max(at, since)
        up = (serving or 0) + (starting if loading else 0)
        if passed <= 0 or not up:
            continue
        billed += up * passed
        nano += 0 if rate is None else up * passed * rate // _HOUR_NS
        priced = priced and rate is not None
    return Today(
        billed_ns=billed,
        usd=usd(nano) if priced else None,
        idle_share=max(0.0, 1 - used_ns / billed) if billed else None,
    )
