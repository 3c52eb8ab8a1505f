"""What a ledger adds up to: by mode, model, purpose or day."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

from hybrid_infer.calls.money import NANO, usd
from hybrid_infer.stores.ledger.buckets import percentile
from hybrid_infer.stores.ledger.reader import LedgerReader
from hybrid_infer.stores.ledger.schema import SUMS
from hybrid_infer.stores.ledger.settling import FIRST, LAST, Divide, Hours, Settled, settle

By = Literal["mode", "model", "purpose", "day"]

Key: TypeAlias = tuple[str | None, bool]
"""The name of a line, and whether it was simulated."""

_MACHINES = "SELECT name FROM machines"
_NAMES = {"mode": "mode", "model": "model", "purpose": "purpose", "day": "hour / 24", None: "NULL"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Sums of calls. Money is USD, times are seconds; None is unknown, or of nothing.

    Attributes:
        name: the mode, model, purpose or day (UTC, of the call's begin); None where the calls have none, or
            all are in one line.
        simulated: no provider was called, and nothing was paid.
        failed: calls that ended with an error; those the caller gave up are not among them.
        input_tokens, output_tokens, cached_tokens: of the calls that say so; `tokens_unknown` do not.
        cost: of the calls whose cost is known; `cost_unknown` have none.
        estimated: the part of `cost` that is an estimate; `cost_estimated` calls have such a cost.
        p50, p95: latency of the calls that succeeded, within 4 %.
        saved: what answers from the cache would have cost.
    """

    name: str | None
    simulated: bool
    calls: int
    failed: int
    attempts: int
    corrections: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    tokens_unknown: int
    cost: Decimal
    cost_unknown: int
    cost_estimated: int
    estimated: Decimal
    cold_starts: int
    cache_hits: int
    saved: Decimal
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Attributes:
    totals: everything in one line; the simulated calls in another.
    lost: records that could not be written.
    """

    lines: tuple[Line, ...]
    totals: tuple[Line, ...]
    settled: tuple[Settled, ...]
    lost: int


@dataclass(slots=True)
class _Sums:
    numbers: list[int] = field(default_factory=lambda: [0] * len(SUMS))
    latencies: dict[int, int] = field(default_factory=dict[int, int])
    shift: Fraction = Fraction(0)
    """What the settling of shared machines adds to the cost, in nano-dollars."""

    def add(self, other: _Sums) -> None:
        self.numbers = [mine + more for mine, more in zip(self.numbers, other.numbers, strict=True)]
        for number, count in other.latencies.items():
            self.latencies[number] = self.latencies.get(number, 0) + count
        self.shift += other.shift

    def line(self, name: str | None, simulated: bool) -> Line:
        sums = dict(zip(SUMS, self.numbers, strict=True))
        shift = round(self.shift)
        cost, estimated, saved = (sums.pop(of) for of in ("cost_nano", "estimated_nano", "saved_nano"))
        p50, p95 = (percentile(self.latencies.items(), share) for share in (50, 95))
        return Line(
            name=name,
            simulated=simulated,
            **sums,
            cost=usd(cost + shift),
            estimated=usd(estimated + shift),  # the share of a machine is always an estimate
            saved=usd(saved),
            p50=None if p50 is None else p50 / NANO,
            p95=None if p95 is None else p95 / NANO,
        )


def summarise(
    files: Sequence[Path],
    *,
    divide: Divide,
    by: By | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Summary:
    """Read the sums of all files.

    Args:
        files: see `ledger_files`.
        divide: how a machine's time is divided among the calls of several processes.
        since, until: calls that began at or after, and before; whole hours, with a time zone.

    Raises:
        ConfigurationError: a file cannot be read.
        ValueError: a moment that is not at a full hour.
    """
    hours = Hours(_hour(since, FIRST), _hour(until, LAST))
    groups: dict[Key, _Sums] = {}
    lost = 0
    with ExitStack() as stack:
        readers = [stack.enter_context(LedgerReader(file)) for file in files]
        for reader in readers:
            _add_sums(groups, reader, by, hours)
            lost += sum(row[0] for row in reader.query("SELECT records FROM losses"))
        settled: list[Settled] = []
        for machine in sorted({row[0] for reader in readers for row in reader.query(_MACHINES)}):
            divided = settle(readers, machine, _NAMES[by], hours, divide)
            if divided is not None:
                settled.append(divided.settled)
                for (of, simulated), nano in divided.shifts.items():
                    groups[_key(of, simulated)].shift += nano
    together: dict[bool, _Sums] = {}
    for (_, simulated), sums in groups.items():
        together.setdefault(simulated, _Sums()).add(sums)
    return Summary(
        lines=tuple(sums.line(*key) for key, sums in sorted(groups.items(), key=_place)),
        totals=tuple(sums.line(None, simulated) for simulated, sums in sorted(together.items())),
        settled=tuple(settled),
        lost=lost,
    )


def _hour(moment: datetime | None, otherwise: int) -> int:
    if moment is None:
        return otherwise
    hours, rest = divmod(moment - _EPOCH, timedelta(hours=1))
    if rest:
        raise ValueError(f"{moment.isoformat()} is not at a full hour")
    return hours


def _key(of: str | int | None, simulated: int) -> Key:
    name = (_EPOCH + timedelta(days=of)).date().isoformat() if isinstance(of, int) else of
    return name, bool(simulated)


def _place(item: tuple[Key, _Sums]) -> tuple[str, bool]:
    (name, simulated), _ = item
    return name or "", simulated


def _add_sums(groups: dict[Key, _Sums], reader: LedgerReader, by: By | None, hours: Hours) -> None:
    name = _NAMES[by]
    sums = ", ".join(f"sum({column})" for column in SUMS)
    # Names and sums are constants of this package.
    for of, simulated, *numbers in reader.query(
        f"SELECT {name}, simulated, {sums} FROM totals WHERE hour >= ? AND hour < ? GROUP BY 1, 2",
        (hours.low, hours.high),
    ):
        groups.setdefault(_key(of, simulated), _Sums()).add(_Sums(numbers))
    for of, simulated, bucket, calls in reader.query(
        f"SELECT {name}, simulated, bucket, sum(l.calls) FROM latencies l JOIN totals t ON t.id = l.total"
        " WHERE hour >= ? AND hour < ? GROUP BY 1, 2, 3",
        (hours.low, hours.high),
    ):
        counts = groups[_key(of, simulated)].latencies
        counts[bucket] = counts.get(bucket, 0) + calls
