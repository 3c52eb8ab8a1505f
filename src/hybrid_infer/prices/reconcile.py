"""Reconcile: a bill against the ledger, by day, mode and model: the drift, and what it probably comes from.

Pure. A cause is only named where what it leaves behind is there: the same tokens at another price, whole
minutes, a factor that Modal has published, numbers of calls that are missing. Where nothing is there, it is
unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from hybrid_infer.calls.bills import Billed, Cause, Gaps, Provider, Recorded, Stopped
from hybrid_infer.calls.money import NANO, usd
from hybrid_infer.prices.drifts import Day, Finding, machine_cause, token_cause

TOLERANCE = {"modal": Decimal("0.1")}
EXACT = Decimal("0.005")
"""What counts as the same, as a share: Modal's containers are an estimate, all else is exact."""


_DAY = 86_400 * NANO


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One day of one model in one mode. Money is USD.

    Attributes:
        model: of a serverless model that the ledger does not have, what the bill calls it.
        ledger: None where the ledger has nothing, or does not know.
        billed: None where the bill has nothing.
        agrees: the two are the same, as far as the mode can be known.
        cause: the likely one; None where they agree, or nothing speaks for any.
        why: what speaks for it, or what is known instead.
    """

    day: date
    mode: str
    model: str
    ledger: Decimal | None
    billed: Decimal | None
    agrees: bool
    cause: Cause | None
    why: str

    @property
    def drift(self) -> Decimal:
        """By how much the bill is higher (or lower, negative)."""
        return (self.billed or Decimal(0)) - (self.ledger or Decimal(0))

    @property
    def share(self) -> Decimal | None:
        """The drift as a share of what the ledger has."""
        return self.drift / self.ledger if self.ledger else None


def reconcile(
    recorded: Sequence[Recorded],
    billed: Iterable[Billed],
    gaps: Gaps,
    *,
    covers: dict[Provider, date],
    region_multiplier: float = 1.0,
) -> list[Drift]:
    """Compare.

    Args:
        billed: lines whose mode and model are known (see `prices.matching`).
        covers: the last day that the bill of each provider has; providers without are left out.
        region_multiplier: the one that the ledger's prices of Modal hold already.
    """
    days: dict[tuple[str, str], dict[date, Day]] = {}
    for one in recorded:
        if _provider(one.mode) in covers:
            of = days.setdefault((one.mode, one.model), {})
            of[one.day] = Day(day=one.day, recorded=one)
    for line in billed:
        place = days.setdefault((line.mode or "", line.model or ""), {})
        place.setdefault(line.day, Day(day=line.day)).lines.append(line)
    found: list[Drift] = []
    for (mode, model), by_day in days.items():
        tolerance = TOLERANCE.get(mode, EXACT)
        series = [by_day[day] for day in sorted(by_day)]
        for day in series:
            found.append(
                _drift(mode, model, day, series, tolerance, gaps, covers, Decimal(str(region_multiplier)))
            )
    return sorted(found, key=lambda one: (one.day, one.mode, one.model))


def _drift(
    mode: str,
    model: str,
    day: Day,
    series: Sequence[Day],
    tolerance: Decimal,
    gaps: Gaps,
    covers: dict[Provider, date],
    multiplier: Decimal,
) -> Drift:
    ledger, bill = day.ledger, day.bill
    finding: Finding
    provider = _provider(mode)
    if bill is None and provider is not None and day.day > covers[provider]:
        finding = Finding("not-billed-yet", f"the bill ends with {covers[provider]}")
    elif ledger is not None and day.same(tolerance):
        estimate = "an estimate, " if mode == "modal" else ""
        finding = Finding(None, f"{estimate}within {tolerance:.1%}", agrees=True)
    elif day.machine is not None:
        finding = machine_cause(
            mode, day, series, tolerance, _lost(mode, model, day, series, gaps), multiplier
        )
    else:
        finding = token_cause(day, series, tolerance, _lost(mode, model, day, series, gaps))
    return Drift(
        day=day.day,
        mode=mode,
        model=model,
        ledger=ledger,
        billed=bill,
        agrees=finding.agrees,
        cause=finding.cause,
        why=finding.why,
    )


def _lost(mode: str, model: str, day: Day, series: Sequence[Day], gaps: Gaps) -> str | None:
    """What speaks for calls that were made and are not in the ledger; None if nothing does."""
    missing, lost = gaps.missing.get(day.day, 0), gaps.lost.get(day.day, 0)
    if missing:
        return f"{missing} calls are missing between those that processes have recorded: part of that is lost"
    if lost:
        return f"{lost} records could not be written that day"
    for one in gaps.stopped:
        last = datetime.fromtimestamp(one.last_ns // NANO, UTC)
        if (one.mode, one.model) != (mode, model) or not _as_usual(one, day):
            continue
        # Of the day on which it stopped only together with the next one: what others did would do as well.
        after = [other for other in series if other.day > last.date()]
        if day.day > last.date() or (after and _as_usual(one, after[0])):
            return (
                f"process {one.process} was last heard of on {last:%Y-%m-%d at %H:%M} UTC, and since then "
                "about as much is missing as it used to spend"
            )
    return None


def _as_usual(stopped: Stopped, day: Day) -> bool:
    """Whether what is missing that day is about what the process would have spent after it stopped."""
    begin = round(datetime(day.day.year, day.day.month, day.day.day, tzinfo=UTC).timestamp()) * NANO
    silent = begin + _DAY - max(begin, stopped.last_ns)
    usual = usd(stopped.nano_per_hour * max(0, silent) // (3600 * NANO))
    lacking = (day.bill or Decimal(0)) - (day.ledger or Decimal(0))
    return 0 < usual / 2 <= lacking <= usual * 2


def _provider(mode: str) -> Provider | None:
    return "modal" if mode == "modal" else "together" if mode.startswith("together") else None
