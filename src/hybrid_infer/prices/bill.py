"""Bill: what a cost was worked out from, and what it says when it is asked for more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from hybrid_infer.calls.money import CostParts, Equivalent, Usage, half_even, usd
from hybrid_infer.prices.rates import PARTS, Item, Rate, item
from hybrid_infer.prices.tables import gpu_key

KINDS = ("input", "cached", "output", "machine_time", "request", "attempts", "cold_start")
SAME_SECONDS = "the seconds are those it took where it ran"


@dataclass(slots=True, eq=False)
class Bill:
    """What one call was billed. Plain data: it can be pickled, and nothing is worked out before it is asked.

    Attributes:
        items: the billed attempts.
        waits: shares of cold starts that the call waited for.
        last: of the items, the one that ended the call.
        rate: how that one was priced; None for a cache hit.
        usage, busy_ns: what that one used.
        others: how the model is priced elsewhere.
        at: the day of the call.
    """

    items: Sequence[Item]
    waits: Sequence[Item]
    last: Item | None
    rate: Rate | None
    usage: Usage | None
    busy_ns: int | None
    others: Sequence[Rate]
    at: date

    def nanos(self) -> Mapping[str, int]:
        """The amount in pieces that add up to it, each less than a nano-dollar from its exact value.

        In nano-dollars, by the names that they have in `CostParts`.
        """
        last = self.last
        exact: dict[str, int] = {}
        if last is not None:
            found = (last.input, last.cached, last.output, last.machine, last.request, 0, last.cold)
            exact = {kind: parts for kind, parts in zip(KINDS, found, strict=True) if parts}
        others = [one for one in self.items if one is not last]
        if others or self.waits:
            cold = sum(one.parts for one in self.waits) + sum(one.cold for one in others)
            exact["attempts"] = sum(one.parts - one.cold for one in others)
            exact["cold_start"] = exact.get("cold_start", 0) + cold
        whole = {kind: parts // PARTS for kind, parts in exact.items()}
        missing = half_even(sum(exact.values()), PARTS) - sum(whole.values())
        if missing:
            by_rest = sorted(exact, key=lambda kind: exact[kind] % PARTS, reverse=True)
            for kind in by_rest[:missing]:
                whole[kind] += 1
        return {kind: nano for kind, nano in whole.items() if nano}

    def parts(self) -> CostParts:
        """`nanos` in USD."""
        return CostParts(**{kind: usd(nano) for kind, nano in self.nanos().items()})

    def equivalent(self) -> tuple[Equivalent, ...]:
        """The same answer at the other rates known for its model."""
        return tuple(self._at(rate) for rate in self.others)

    def _at(self, rate: Rate) -> Equivalent:
        busy_ns, why = self.busy_ns, None
        if rate.machine is not None and rate.tokens is None:
            busy_ns, why = self._seconds_on(rate)
        found = why if why is not None else item(rate, self.at, self.usage, busy_ns)
        if isinstance(found, str):
            return Equivalent(where=rate.where, basis=rate.basis, amount=None, reason=found)
        doubts = [SAME_SECONDS, *found.doubts[1:]] if found.basis == "machine-time" else found.doubts
        return Equivalent(
            where=rate.where,
            basis=found.basis,
            amount=usd(half_even(found.parts, PARTS)),
            source=found.price.source,
            priced_at=found.price.as_of,
            estimated=bool(doubts),
            reason="; ".join(dict.fromkeys(doubts)) or None,
        )

    def _seconds_on(self, rate: Rate) -> tuple[int | None, str | None]:
        """How long the answer keeps that machine busy: known only where it ran on one of the same kind."""
        there = rate.machine.machine if rate.machine is not None else None
        here = self.rate.machine.machine if self.rate is not None and self.rate.machine is not None else None
        if self.busy_ns is not None and here is not None and there is not None:
            if gpu_key(here) == gpu_key(there):
                return self.busy_ns, None
            return None, f"it ran on {here}; how long it takes on {there} is not known"
        return None, f"how long it keeps the machine of {rate.where} busy is not known"
