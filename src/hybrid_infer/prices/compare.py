"""Where sources of prices disagree, by how much, and how old each of them is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from hybrid_infer.prices.live import LiveList, merged
from hybrid_infer.prices.tables import (
    BatchDiscount,
    GpuPrice,
    Price,
    ResourcePrice,
    TokenPrice,
    UnitPrice,
    gpu_key,
    shipped,
)
from hybrid_infer.prices.user import UserPrice

Amounts = Mapping[str, int]
"""Nano-dollars by what is counted: input, output, cached (per million tokens), hour, megapixel, minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One source's price of one thing.

    Attributes:
        origin: ``"yours"``, the name of a live list, ``"shipped"``, or the name of another price set.
        as_of: the day it was read; None is unknown.
    """

    origin: str
    source: str
    as_of: date | None
    amounts: Amounts
    retires: date | None = None
    note: str | None = None

    def age(self, at: date) -> int | None:
        """Days since it was read."""
        return None if self.as_of is None else (at - self.as_of).days

    def doubts(self, at: date) -> list[str]:
        """Why it may not be the price charged on that day."""
        return Price(as_of=self.as_of, source=self.source, retires=self.retires).doubts(at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """Everything that is known of one price, the one that counts first.

    Attributes:
        mode: None for a price of the user's own, which holds wherever its name does.
        name: of the model, the GPU or the resource.
    """

    mode: str | None
    name: str
    quotes: Sequence[Quote]

    @property
    def used(self) -> Quote:
        return self.quotes[0]

    def difference(self, other: Quote) -> float | None:
        """By how much another source is above (or below, negative) the one that counts.

        The largest of its amounts, as a share: 0.1 is a tenth more. None where they count different things.
        """
        shares = [
            float(Fraction(other.amounts[key] - used, used))
            for key, used in self.used.amounts.items()
            if used and key in other.amounts
        ]
        return max(shares, key=abs, default=None)

    @property
    def disagreement(self) -> float:
        """The largest difference, without its sign; 0 where all agree."""
        found = (self.difference(quote) for quote in self.quotes[1:])
        return max((abs(share) for share in found if share is not None), default=0.0)


def quoted(
    user: Mapping[str, UserPrice], lists: Iterable[LiveList], others: Iterable[tuple[str, str, Quote]] = ()
) -> list[Quoted]:
    """Every price of which something is known, by mode and name.

    Args:
        others: mode, name and quote of further price sets, to be compared only: they never count.
    """
    lists = list(lists)
    counts = merged(lists)
    quotes: dict[tuple[str, str], list[Quote]] = {}
    for tables, origin in ((counts, None), (shipped(), "shipped")):
        for mode, row in tables.rows():
            name = name_of(row)
            own = user.get(name)
            found = quotes.setdefault((mode, _canonical(mode, row)), [])
            if own is not None and not found and isinstance(row, TokenPrice) and own.by_tokens:
                found.append(quote_of_user(own))
            if not isinstance(row, BatchDiscount):
                found.append(_quote(row, origin or _origin(lists, mode, row)))
                found += [_quote(other, other.source) for other in row.others]
    names = {one.name for one in lists}
    for one in lists:  # lists that say the same thing, and do not count
        for mode, row in one.rows.rows():
            said = quotes[mode, _canonical(mode, row)]
            if all(quote.origin != one.name for quote in said):
                after = next(place for place, quote in enumerate(said) if quote.origin in names)
                said.insert(after + 1, _quote(row, one.name))
    for mode, name, quote in others:
        if (mode, name) in quotes:
            quotes[mode, name].append(quote)
    known = [Quoted(mode=mode, name=name, quotes=of) for (mode, name), of in quotes.items() if of]
    named = {one.name for one in known if one.used.origin == "yours"}
    alone = [
        Quoted(mode=None, name=name, quotes=[quote_of_user(price)])
        for name, price in user.items()
        if name not in named
    ]
    return [*alone, *sorted(known, key=lambda one: (one.mode or "", one.name.lower()))]


def quote_of_user(price: UserPrice) -> Quote:
    amounts = {
        "input": price.input, "output": price.output, "cached": price.cached,
        "hour": price.hour, "request": price.request,
    }  # fmt: skip
    known = {key: amount for key, amount in amounts.items() if amount is not None}
    return Quote(origin="yours", source="your own prices", as_of=price.as_of, amounts=known)


def name_of(row: Price) -> str:
    match row:
        case TokenPrice() | UnitPrice():
            return row.model
        case GpuPrice():
            return row.gpu
        case ResourcePrice():
            return row.resource
        case _:
            return "batch"


def _canonical(mode: str, row: Price) -> str:
    """One name for a card, however a list writes it."""
    if isinstance(row, GpuPrice):
        card = shipped().gpus.get((mode, gpu_key(row.gpu)))
        return row.gpu if card is None else card.gpu
    return name_of(row)


def _origin(lists: Iterable[LiveList], mode: str, row: Price) -> str:
    """The live list that a merged row is from."""
    return next((one.name for one in lists if any(other is row for _, other in one.rows.rows())), "live")


def _quote(row: Price, origin: str) -> Quote:
    amounts: dict[str, int] = {}
    match row:
        case TokenPrice():
            known = {"input": row.input, "output": row.output, "cached": row.cached}
            amounts = {key: amount for key, amount in known.items() if amount is not None}
        case GpuPrice() | ResourcePrice():
            amounts = {"hour": row.nano_per_hour}
        case UnitPrice():
            amounts = {row.unit: row.nano}
        case _:
            pass
    return Quote(
        origin=origin,
        source=row.source,
        as_of=row.as_of,
        amounts=amounts,
        retires=row.retires,
        note=row.note,
    )
