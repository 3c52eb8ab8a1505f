"""PriceBook: from what was used to what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from hybrid_infer.calls.call import Attempt, Mode
from hybrid_infer.calls.money import NANO, Basis, Cost, usd
from hybrid_infer.prices.tables import SECONDS_PER_HOUR, GpuPrice, Price, TokenPrice, gpu_key, shipped

MILLION = 1_000_000

PARTS = MILLION * SECONDS_PER_HOUR * NANO
"""Parts of a nano-dollar: tokens at prices per million and time at prices per hour come out whole in them."""

MACHINE_SHARE = (
    "this process's share of the machine's busy time; idle time, cold starts and other callers are not in it"
)


@dataclass(slots=True)
class _Item:
    """What one attempt cost: `parts` of a nano-dollar, and why that is an estimate, if it is one."""

    parts: int
    price: Price
    basis: Basis
    doubts: list[str]


class PriceBook:
    """Prices from the tables that come with the package; names match exactly, and nothing is guessed.

    The tables are read when the first price is asked for. All modes of `Target.mode` may be asked; those
    without a table have no prices.
    """

    def token_price(self, model: str, mode: Mode) -> TokenPrice | None:
        """The price of a model that is paid per token, by the provider's exact name; None is unknown."""
        return shipped().tokens.get((mode, model))

    def gpu_price(self, mode: Mode, gpu: str) -> GpuPrice | None:
        """The price of one GPU; None is unknown, as for "A100", which two cards are called."""
        return shipped().gpus.get((mode, gpu_key(gpu)))

    def cost(self, attempts: Sequence[Attempt], *, at: date) -> Cost:
        """Everything billed on behalf of one call, in USD, at the prices known for the day `at`.

        An attempt that was not billed adds nothing. Where a billed attempt cannot be priced the amount is
        None: a sum without it would be too low. Where nobody knows whether an attempt was billed, the amount
        is that of the others, marked as an estimate; None if there are no others. Basis, source and date are
        those of the last attempt that was billed. Sums are exact and rounded once, half to even, to a
        nano-dollar.
        """
        parts = 0
        last: _Item | None = None
        doubts: list[str] = []
        unknown: list[str] = []
        unsure = 0
        for attempt in attempts:
            if attempt.billed is None:
                unsure += 1
            elif attempt.billed:
                item = self._item(attempt, at)
                if isinstance(item, str):
                    unknown.append(item)
                else:
                    last = item
                    parts += item.parts
                    doubts += item.doubts
        if unsure:
            doubts.append(f"{unsure} {'attempt' if unsure == 1 else 'attempts'} may have been billed")
            if last is None:
                unknown += doubts
        if unknown:
            return Cost(amount=None, basis="unknown", reason=_sentence(unknown))
        if last is None:
            return Cost(amount=usd(0), basis=attempts[-1].target.basis if attempts else "unknown")
        return Cost(
            amount=usd(_half_even(parts)),
            basis=last.basis,
            source=last.price.source,
            priced_at=last.price.as_of,
            estimated=bool(doubts),
            reason=_sentence(doubts) if doubts else None,
        )

    def _item(self, attempt: Attempt, at: date) -> _Item | str:
        """One billed attempt, or why its price is unknown."""
        match attempt.target.basis:
            case "tokens":
                return self._by_tokens(attempt, at)
            case "machine-time":
                return self._by_time(attempt, at)
            case _:
                return f"it is not known how {attempt.target.name} is paid"

    def _by_tokens(self, attempt: Attempt, at: date) -> _Item | str:
        """Input, cached input and output at their prices; reasoning is part of output, cached of input."""
        target, usage = attempt.target, attempt.usage
        model = target.priced_as or target.model
        if model is None:
            return f"no price known for a model without a name on {target.mode}"
        price = self.token_price(model, target.mode)
        if price is None:
            return f'no price known for model "{model}" on {target.mode}'
        if usage is None or usage.input_tokens is None:
            return "the answer did not say how many tokens it used"
        if price.output is None:
            if usage.output_tokens:
                return f'no price known for output of model "{model}" on {target.mode}'
            output = 0
        elif usage.output_tokens is None:
            return "the answer did not say how many tokens it used"
        else:
            output = usage.output_tokens * price.output
        cached = min(usage.cached_tokens or 0, usage.input_tokens)
        cached_price = price.input if price.cached is None else price.cached
        nano_millionths = (usage.input_tokens - cached) * price.input + cached * cached_price + output
        doubts = price.doubts(at)
        if usage.estimated:
            doubts.append("the tokens are estimated: the answer did not report them")
        return _Item(nano_millionths * (PARTS // MILLION), price, "tokens", doubts)

    def _by_time(self, attempt: Attempt, at: date) -> _Item | str:
        """The attempt's share of the machine's time (see `prices.meter`), for each of its GPUs."""
        target = attempt.target
        if target.gpu is None:
            return f"the GPU of {target.name} is not known"
        price = self.gpu_price(target.mode, target.gpu)
        if price is None:
            return f'no price known for GPU "{target.gpu}" on {target.mode}{_which(target.mode, target.gpu)}'
        if attempt.machine_ns is None:
            return f"the time on the machine of {target.name} was not measured"
        nano_hours = attempt.machine_ns * price.nano_per_hour * target.gpus
        doubts = [MACHINE_SHARE]
        if price.excludes is not None:
            doubts.append(price.excludes)
        doubts += price.doubts(at)
        return _Item(nano_hours * (PARTS // (SECONDS_PER_HOUR * NANO)), price, "machine-time", doubts)


def _which(mode: Mode, gpu: str) -> str:
    """The cards that an inexact name could mean, for the reason."""
    start = gpu_key(gpu) + "-"
    rows = shipped().gpus.items()
    names = sorted({price.gpu for (of, key), price in rows if of == mode and key.startswith(start)})
    return f": say which of {', '.join(names)}" if names else ""


def _sentence(reasons: list[str]) -> str:
    return "; ".join(dict.fromkeys(reasons))


def _half_even(parts: int) -> int:
    """`parts` as nano-dollars, rounded half to even without leaving the integers."""
    nano, rest = divmod(parts, PARTS)
    return nano + (2 * rest > PARTS or (2 * rest == PARTS and nano % 2 == 1))
