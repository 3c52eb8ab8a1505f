"""What a drift between bill and ledger comes from: the rules, one for each cause. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from hybrid_infer.calls.bills import Billed, Cause, MachineDay, Recorded, TokenKind
from hybrid_infer.calls.money import NANO, usd

REGIONS = tuple(Decimal(text) for text in ("1.15", "1.25", "1.5", "1.75", "2.5"))
"""Factors that Modal's pages have named for containers pinned to a region, at different dates to 2026-09."""

_SCALES = (Decimal(1), Decimal(1000), Decimal(1_000_000))
"""Tokens, or thousands or millions of them: Together does not say in which unit it counts. The ledger's own
number tells them apart, being a thousand times nearer to one of them."""
_FAR = 30
_STEADY = Decimal("0.01")
_LEAST = Decimal("0.000001")
"""A millionth of a dollar is no drift."""
_MINUTE = 60 * NANO
_MILLION = 1_000_000

OUTSIDE = "another program, another key, or a process without HYBRID_INFER_LEDGER"


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause and what speaks for it; None where nothing speaks for any."""

    cause: Cause | None
    why: str
    agrees: bool = False


@dataclass(slots=True, kw_only=True)
class Day:
    """What both have of one day of one model in one mode."""

    day: date
    recorded: Recorded | None = None
    lines: list[Billed] = field(default_factory=list[Billed])

    @property
    def machine(self) -> MachineDay | None:
        return None if self.recorded is None else self.recorded.machine

    @property
    def ledger(self) -> Decimal | None:
        """USD; of a machine all that it cost. None is unknown, or nothing is there."""
        if self.recorded is None:
            return None
        machine = self.recorded.machine
        if machine is None:
            return usd(self.recorded.cost_nano)
        return None if machine.total_nano is None else usd(machine.total_nano)

    @property
    def bill(self) -> Decimal | None:
        return sum((line.cost for line in self.lines), Decimal(0)) if self.lines else None

    def same(self, tolerance: Decimal) -> bool:
        ledger, bill = self.ledger or Decimal(0), self.bill or Decimal(0)
        return abs(bill - ledger) <= max(tolerance * max(bill, ledger), _LEAST)

    @property
    def ratio(self) -> Decimal | None:
        """The bill as a multiple of the ledger."""
        ledger, bill = self.ledger, self.bill
        return bill / ledger if ledger and bill else None


def token_cause(day: Day, series: Sequence[Day], tolerance: Decimal, lost: str | None) -> Finding:
    """Where tokens are paid: another price of the same tokens, or tokens that the ledger does not have."""
    recorded, bill = day.recorded, day.bill
    if bill is None:
        return Finding("not-billed", "the bill has nothing of that day")
    if recorded is None:
        if lost is not None:
            return Finding("lost-process", lost)
        return Finding("outside", f"the ledger has no such call that day: {OUTSIDE}")
    drift = bill - (day.ledger or Decimal(0))
    more = _tokens(day)
    if more is not None:
        quantity, ours, theirs = more
        price = drift - quantity
        if abs(price) > max(tolerance * bill, abs(quantity)):
            return Finding(
                "price",
                f"the same tokens were billed at ${theirs:.4f} a million, and the ledger has ${ours:.4f}"
                f"{_besides(quantity, tolerance * bill)}",
            )
        if quantity > 0:
            return _more(quantity, lost)
        if recorded.estimated_nano or recorded.unsure:
            return Finding("not-billed", "fewer tokens were billed than the ledger has estimated")
        return Finding(None, "fewer tokens were billed than the answers said that they used")
    if recorded.cost_unknown and drift > 0:
        return Finding("unpriced", f"the ledger has no price for {recorded.cost_unknown} of the calls")
    if lost is not None and drift > 0:
        return Finding("lost-process", lost)
    return _by_factor(day, series, _STEADY)


def machine_cause(
    mode: str,
    day: Day,
    series: Sequence[Day],
    tolerance: Decimal,
    lost: str | None,
    multiplier: Decimal,
) -> Finding:
    """Where a machine's time is paid."""
    machine, bill, ledger = day.machine, day.bill, day.ledger
    if machine is None or bill is None:
        return Finding("not-billed", "the bill has nothing of that day")
    if machine.nano_per_hour is None:
        return Finding("unpriced", "the ledger has no price for this machine")
    if ledger is None:
        used = usd(machine.used_nano or 0)
        if bill >= used * (1 - tolerance):
            return Finding(
                "idle",
                f"calls used ${used:.4f} of it; its state was not followed, so the ledger cannot know what "
                "it cost between them",
            )
        return Finding(None, f"less was billed than the calls used (${used:.4f})")
    minutes = bill * NANO * 60 / machine.nano_per_hour
    total_ns = machine.total_ns or 0
    more_ns = minutes * _MINUTE - total_ns
    if (
        mode != "modal"
        and 0 < more_ns <= machine.runs * _MINUTE
        and abs(minutes - round(minutes)) < Decimal("0.02")
    ):
        return Finding(
            "rounding",
            f"{round(minutes)} whole minutes were billed; it ran {Decimal(total_ns) / _MINUTE:.2f}, in "
            f"{machine.runs} {'run' if machine.runs == 1 else 'runs'}",
        )
    if mode == "modal":
        beside = _beside_gpus(day, tolerance)
        if beside is not None:
            return beside
        region = _region(day, series, tolerance, multiplier)
        if region is not None:
            return region
    billed_at = _hourly(day)
    if billed_at is not None:
        return Finding(
            "price",
            f"the same hours were billed at ${billed_at:.4f}, and the ledger has "
            f"${usd(machine.nano_per_hour):.4f} an hour",
        )
    if lost is not None and bill > ledger:
        return Finding("lost-process", lost)
    if bill > ledger and _same_price(day, machine.nano_per_hour):
        return Finding("outside", f"at the same price it was up longer than the ledger knows: {OUTSIDE}")
    return _by_factor(day, series, _STEADY if machine.followed or mode != "modal" else tolerance / 2)


def _more(quantity: Decimal, lost: str | None) -> Finding:
    if lost is not None:
        return Finding("lost-process", lost)
    return Finding(
        "outside", f"tokens for ${quantity:.4f} were billed for which the ledger has no call: {OUTSIDE}"
    )


def _besides(quantity: Decimal, least: Decimal) -> str:
    if abs(quantity) <= least:
        return ""
    return f"; besides, {'more' if quantity > 0 else 'fewer'} tokens were billed, ${abs(quantity):.4f}"


def _tokens(day: Day) -> tuple[Decimal, Decimal, Decimal] | None:
    """What the tokens cost, at the bill's prices, that it has more than the ledger; and what a million of the
    ledger's tokens costs by the ledger, and by the bill. None where the bill does not say how many it has."""
    recorded = day.recorded
    if recorded is None:
        return None
    counted: dict[TokenKind, int] = {
        "input": recorded.input_tokens,
        "output": recorded.output_tokens,
        "cached": 0,
    }
    if any(line.kind == "cached" for line in day.lines):
        counted["cached"] = recorded.cached_tokens
        counted["input"] -= recorded.cached_tokens
    more = at_their_price = Decimal(0)
    for kind, ours in counted.items():
        lines = [line for line in day.lines if line.kind == kind]
        theirs = sum((line.quantity or Decimal(0) for line in lines), Decimal(0))
        scale = _scale(ours, theirs)
        if (lines and scale is None) or (not lines and ours and kind != "cached"):
            return None
        if lines and scale is not None and theirs:
            each = sum((line.cost for line in lines), Decimal(0)) / (theirs * scale)
            more += (theirs * scale - ours) * each
            at_their_price += ours * each
    if any(line.kind is None for line in day.lines):
        return None
    tokens = recorded.input_tokens + recorded.output_tokens
    if not tokens:
        return None
    return more, usd(recorded.cost_nano) * _MILLION / tokens, at_their_price * _MILLION / tokens


def _scale(ours: int, theirs: Decimal) -> Decimal | None:
    for scale in _SCALES:
        if ours and theirs and Decimal(1) / _FAR <= theirs * scale / ours <= _FAR:
            return scale
    return Decimal(1) if not ours and not theirs else None


def _by_factor(day: Day, series: Sequence[Day], within: Decimal) -> Finding:
    """Where only the amounts are known: the same factor every day is a price, another one each day is not."""
    ratios = _ratios(day, series)
    if len(ratios) < 2:
        return Finding(None, "one day alone does not tell another price from other use")
    middle = sorted(ratios)[len(ratios) // 2]
    if all(abs(ratio / middle - 1) <= within for ratio in ratios):
        return Finding(
            "price", f"the bill is {middle:.3f} times the ledger on each day since {_since(day, series)}"
        )
    if all(ratio > 1 for ratio in ratios):
        return Finding("outside", f"the bill is higher, by another factor each day: {OUTSIDE}")
    return Finding(None, "the bill is higher on one day and lower on another")


def _region(day: Day, series: Sequence[Day], tolerance: Decimal, multiplier: Decimal) -> Finding | None:
    """One of the factors that Modal has published, on each day since the drift began."""
    ratios = _ratios(day, series)
    if not ratios:
        return None
    middle = sorted(ratios)[len(ratios) // 2] * multiplier
    near = min(REGIONS, key=lambda region: abs(middle / region - 1))
    machine = day.machine
    within = tolerance / 2 if machine is None or not machine.followed else tolerance / 4
    if near == multiplier or any(abs(ratio * multiplier / near - 1) > within for ratio in ratios):
        return None
    return Finding(
        "region",
        f"the bill is {middle / multiplier:.2f} times the ledger: Modal's factor of {near} for containers "
        f"pinned to a region; set modal_region_multiplier = {near}",
    )


def _ratios(day: Day, series: Sequence[Day]) -> list[Decimal]:
    """The factors between bill and ledger since the drift began."""
    since = _since(day, series)
    found = [one.ratio for one in series if one.day >= since and not one.same(_STEADY)]
    return [ratio for ratio in found if ratio is not None]


def _since(day: Day, series: Sequence[Day]) -> date:
    """The first of the days without a break, up to this one, on which the two differ."""
    first = day.day
    for one in reversed([one for one in series if one.day <= day.day]):
        if one.same(_STEADY):
            break
        first = one.day
    return first


def _beside_gpus(day: Day, tolerance: Decimal) -> Finding | None:
    """GPUs cost what the ledger says, and there is more on the bill than GPUs."""
    gpus = rest = Decimal(0)
    for line in day.lines:
        for name, cost in line.resources.items():
            if "gpu" in name.lower():
                gpus += cost
            else:
                rest += cost
    ledger = day.ledger
    if not gpus or not rest or ledger is None or abs(gpus - ledger) > tolerance * ledger:
        return None
    return Finding(
        "cpu-memory",
        f"${rest:.4f} of it are CPU and memory, which are not in the ledger's price: say cpu and memory of "
        "the model",
    )


def _hourly(day: Day) -> Decimal | None:
    """USD an hour of a replica, where the bill's quantity is as many hours as the ledger has."""
    machine = day.machine
    quantity = sum((line.quantity or Decimal(0) for line in day.lines), Decimal(0))
    if machine is None or not machine.total_ns or not quantity or day.bill is None:
        return None
    hours = Decimal(machine.total_ns) / (3600 * NANO)
    for gpus in range(1, 9):
        if abs(quantity / (hours * gpus) - 1) <= Decimal("0.005"):
            return day.bill / hours
    return None


def _same_price(day: Day, nano_per_hour: int) -> bool:
    """Whether the bill has the ledger's price, of a replica or of each of its GPUs."""
    prices = {line.unit_price for line in day.lines if line.unit_price}
    if len(prices) != 1:
        return False
    each = prices.pop() * NANO
    return any(abs(each * gpus / nano_per_hour - 1) <= Decimal("0.005") for gpus in range(1, 9))
