"""PriceBook: from what was used to what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType

from hybrid_infer.calls.call import Attempt, Mode, Target, Wait
from hybrid_infer.calls.money import Basis, Cost, Usage, half_even, usd
from hybrid_infer.prices.account import Terms
from hybrid_infer.prices.bill import Bill
from hybrid_infer.prices.rates import (
    MACHINE_SHARE,
    PARTS,
    Item,
    MachinePrice,
    Offered,
    Rate,
    item,
)
from hybrid_infer.prices.tables import (
    GpuPrice,
    Price,
    ResourcePrice,
    Tables,
    TokenPrice,
    UnitPrice,
    gpu_key,
    shipped,
)
from hybrid_infer.prices.user import UserPrice, by_time, own_rate

__all__ = ["MACHINE_SHARE", "Containers", "PriceBook"]

GPU_ONLY = "GPU only: CPU and memory are not known"
CONTAINER_TIME = "Modal does not tell the seconds of a container: they are estimated from what was observed"
NONPREEMPTIBLE = 3
"""Factor on CPU and memory of containers that must not be preempted (modal.com/docs/guide/preemption)."""

_NOTHING = usd(0)
_NO_USER: Mapping[str, UserPrice] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """How Modal bills the user's containers.

    Attributes:
        region_multiplier: the factor for containers pinned to a region; it has changed several times, from
            1.15 to 2.5, so it is the user's to say.
        nonpreemptible: three times the price for CPU and memory.
        scaledown_window: seconds a container stays up after its last request (Modal's default is 60).
        concurrency: calls that one container takes; None takes one container for all.
    """

    region_multiplier: float = 1.0
    nonpreemptible: bool = False
    scaledown_window: float = 60.0
    concurrency: int | None = None


class PriceBook:
    """Prices by exact name, and nothing is guessed: the user's own, then live ones, then the shipped tables.

    It does no I/O itself. The tables are read when the first price is asked for. All modes of `Target.mode`
    may be asked; those without a table have no prices but the user's.

    Args:
        user: the user's own prices, by the provider's name of a model or by its logical name. Under the
            provider's name they also say how it is paid, if that is not how the target is paid otherwise;
            under the logical name, which stands for a model in all modes, a price counts where that is how
            the target is paid.
        live: prices that were fetched and kept (see `prices.live`); asked once, at the first price.
        containers: how Modal bills.
        others: where else the model of a target is served, for `Cost.equivalent`; asked once a target.
    """

    def __init__(
        self,
        *,
        user: Mapping[str, UserPrice] = _NO_USER,
        live: Callable[[], Tables | None] | None = None,
        containers: Containers | None = None,
        others: Callable[[Target], Sequence[Offered]] | None = None,
    ) -> None:
        self._user = user
        self._load = live
        self._loaded: Tables | None = None
        self._containers = containers if containers is not None else Containers()
        self._others = others
        self._rates: dict[object, Rate] = {}
        self._recent: tuple[object, Rate] | None = None
        self._recent_others: tuple[object, tuple[Rate, ...]] | None = None
        self._elsewhere: dict[object, tuple[Rate, ...]] = {}

    def token_price(self, model: str, mode: Mode) -> TokenPrice | None:
        """The price of a model that is paid per token, by the provider's exact name; None is unknown."""
        return self._live().tokens.get((mode, model)) or shipped().tokens.get((mode, model))

    def unit_price(self, model: str, mode: Mode) -> UnitPrice | None:
        """The price of a model that is paid by what it makes or hears; None is unknown."""
        return self._live().units.get((mode, model)) or shipped().units.get((mode, model))

    def gpu_price(self, mode: Mode, gpu: str) -> GpuPrice | None:
        """The price of one GPU; None is unknown, as for "A100", which two cards are called."""
        key = (mode, gpu_key(gpu))
        return self._live().gpus.get(key) or shipped().gpus.get(key)

    def rate(self, target: Offered) -> Rate:
        """How calls to the target are priced."""
        recent = self._recent
        if recent is not None and recent[0] is target:
            return recent[1]
        key = _key(target)
        found = self._rates.get(key)
        if found is None:
            found = self._rates[key] = self._find(target)
        self._recent = target, found
        return found

    def terms(self, target: Offered) -> Terms | None:
        """How the machine behind a target is billed; None where the target is not paid by time."""
        rate = self.rate(target)
        if rate.basis != "machine-time" and (rate.basis != "unknown" or target.basis != "machine-time"):
            return None
        return self.terms_in(target.mode, None if rate.machine is None else rate.machine.nano_per_hour)

    def hourly(self, target: Offered) -> int | None:
        """Nano-dollars per hour of a replica; None is unknown, or it is not paid by time."""
        machine = self.rate(target).machine
        return None if machine is None else machine.nano_per_hour

    def terms_in(self, mode: str, nano_per_hour: int | None) -> Terms:
        """How a machine is billed in a mode, at this price."""
        if mode != "modal":
            return Terms(nano_per_hour=nano_per_hour)
        return Terms(
            nano_per_hour=nano_per_hour,
            cold_start=True,
            window=self._containers.scaledown_window,
            concurrency=self._containers.concurrency,
            estimated=CONTAINER_TIME,
        )

    def cost(self, attempts: Sequence[Attempt], *, at: date, waits: Sequence[Wait] = ()) -> Cost:
        """Everything billed on behalf of one call, in USD, at the prices known for the day `at`.

        An attempt that was not billed adds nothing. Where a billed attempt cannot be priced the amount is
        None: a sum without it would be too low. Where nobody knows whether an attempt was billed, the amount
        is that of the others, marked as an estimate; None if there are no others. The machine's time is paid
        either way, so where that is what is paid, only a refusal adds nothing. Basis, source and date are
        those of the last attempt that was billed. Sums are exact and rounded once, half to even, to a
        nano-dollar.

        Args:
            waits: shares of cold starts that the call waited for.
        """
        items: list[Item] = []
        last: Item | None = None
        answered: Attempt | None = None
        answered_at: Rate | None = None
        doubts: list[str] = []
        unknown: list[str] = []
        unsure = 0
        final = True
        for attempt in attempts:
            billed = attempt.billed
            if billed is False:
                continue
            rate = self.rate(attempt.target)
            if billed is None and (rate.machine is None or attempt.machine_ns is None):
                unsure += 1
                final = final and attempt.ended is not None
                continue
            if answered is None or not attempt.lost:
                answered, answered_at = attempt, rate
            found = item(
                rate, at, attempt.usage, attempt.machine_ns, attempt.cold_ns or 0, attempt.machine_nano
            )
            if isinstance(found, str):
                unknown.append(found)
                continue
            items.append(found)
            doubts += found.doubts
            final = final and rate.machine is None
            if answered is attempt:
                last = found
        waited = self._waited(waits, at) if waits else ()
        for one in waited:
            doubts += one.doubts
            final = False
        if unsure:
            doubts.append(f"{unsure} {'attempt' if unsure == 1 else 'attempts'} may have been billed")
            if not items and not waited:
                unknown += doubts
        bill = self._bill(items, waited, last, answered, answered_at, at)
        if unknown:
            return Cost(amount=None, basis="unknown", final=final, reason=_sentence(unknown), detail=bill)
        named = last or (items[-1] if items else waited[-1] if waited else None)
        if named is None:
            basis = self.rate(attempts[-1].target).basis if attempts else "unknown"
            return Cost(amount=usd(0), basis=basis)
        parts = 0
        for one in (*items, *waited):
            parts += one.parts
        return Cost(
            amount=usd(half_even(parts, PARTS)),
            basis=named.basis,
            source=named.price.source,
            priced_at=named.price.as_of,
            estimated=bool(doubts),
            final=final,
            reason=_sentence(doubts) if doubts else None,
            detail=bill,
        )

    def expected(self, target: Target, usage: Usage, *, at: date) -> int | str | None:
        """Nano-dollars of an answer that will use so many tokens, before it is asked for.

        Returns:
            None where a machine's time is paid, which nobody knows before; why the price is unknown, as text.
        """
        rate = self.rate(target)
        if rate.machine is not None:
            return None
        found = item(rate, at, usage, None)
        return found if isinstance(found, str) else half_even(found.parts, PARTS)

    def saved(self, target: Target, usage: Usage | None, *, at: date) -> Cost:
        """The cost of a cache hit: nothing. `equivalent` says what the answer would have cost."""
        recent = self._recent_others
        if recent is None or recent[0] is not target:
            recent = self._recent_others = target, (self.rate(target), *self._rates_elsewhere(target))
        bill = Bill((), (), None, None, usage, None, recent[1], at)
        return Cost(amount=_NOTHING, basis="cache", detail=bill)

    def _waited(self, waits: Sequence[Wait], at: date) -> list[Item]:
        found: list[Item] = []
        for wait in waits:
            rate = self.rate(wait.target)
            if rate.machine is not None and rate.tokens is None and wait.cold_ns:
                one = item(rate, at, None, 0, wait.cold_ns, wait.machine_nano)
                if isinstance(one, Item):
                    one.request = 0
                    found.append(one)
        return found

    def _bill(
        self,
        items: Sequence[Item],
        waited: Sequence[Item],
        last: Item | None,
        answered: Attempt | None,
        rate: Rate | None,
        at: date,
    ) -> Bill:
        if answered is None:
            return Bill(items, waited, None, None, None, None, (), at)
        others = self._rates_elsewhere(answered.target) if self._others is not None else ()
        return Bill(items, waited, last, rate, answered.usage, answered.machine_ns, others, at)

    def _rates_elsewhere(self, target: Target) -> tuple[Rate, ...]:
        key = _key(target)
        found = self._elsewhere.get(key)
        if found is None:
            places: Sequence[Offered] = () if self._others is None else self._others(target)
            found = tuple(self.rate(place) for place in places if _key(place) != key)
            self._elsewhere[key] = found
        return found

    def _live(self) -> Tables:
        if self._loaded is None:
            self._loaded = (self._load() if self._load is not None else None) or Tables()
        return self._loaded

    def _find(self, target: Offered) -> Rate:
        own = self._own(target)
        if own is not None:
            return own
        basis: Basis = target.basis
        found: Price | str
        match basis:
            case "tokens":
                found = self._tokens(target)
            case "machine-time":
                found = self._machine(target)
            case _:
                found = f"it is not known how {target.name} is paid"
        if isinstance(found, TokenPrice):
            return Rate(where=target.name, mode=target.mode, basis=basis, tokens=found)
        if isinstance(found, UnitPrice):
            return Rate(where=target.name, mode=target.mode, basis="request", unit=found)
        if isinstance(found, MachinePrice):
            return Rate(where=target.name, mode=target.mode, basis=basis, machine=found)
        return Rate(where=target.name, mode=target.mode, basis=basis, reason=str(found))

    def _own(self, target: Offered) -> Rate | None:
        """The user's own price, if there is one that counts for this target."""
        for name in (target.model, target.priced_as):
            own = self._user.get(name) if name is not None else None
            if own is not None:
                return own_rate(target, own, by_tokens=own.by_tokens and not by_time(target, own))
        own = self._user.get(target.logical) if target.logical is not None else None
        if own is None:
            return None
        if target.basis == "unknown":
            return own_rate(target, own, by_tokens=own.by_tokens)
        if target.basis == "tokens" and own.by_tokens:
            return own_rate(target, own, by_tokens=True)
        if by_time(target, own):
            return own_rate(target, own, by_tokens=False)
        return None

    def _tokens(self, target: Offered) -> TokenPrice | UnitPrice | str:
        model = target.priced_as or target.model
        if model is None:
            return f"no price known for a model without a name on {target.mode}"
        found = self.token_price(model, target.mode) or self.unit_price(model, target.mode)
        return found or f'no price known for model "{model}" on {target.mode}'

    def _machine(self, target: Offered) -> MachinePrice | str:
        if target.gpu is None:
            return f"the GPU of {target.name} is not known"
        price = self.gpu_price(target.mode, target.gpu)
        if price is None:
            which = _which(target.mode, target.gpu)
            return f'no price known for GPU "{target.gpu}" on {target.mode}{which}'
        machine = f"{target.gpus} x {price.gpu}"
        hourly = price.nano_per_hour * target.gpus
        if target.mode != "modal":
            return _machine_price([price], machine, hourly)
        multiplier = Decimal(str(self._containers.region_multiplier))
        rows: list[GpuPrice | ResourcePrice] = [price]
        total, known = Decimal(hourly), target.cpu is not None and target.memory is not None
        amounts = {"cpu": target.cpu, "memory": target.memory} if known else {}
        for resource, amount in amounts.items():
            row = self._live().resources.get(("modal", resource)) or shipped().resources["modal", resource]
            factor = NONPREEMPTIBLE if self._containers.nonpreemptible else 1
            total += Decimal(str(amount)) * row.nano_per_hour * factor
            rows.append(row)
        rounded = int((total * multiplier).to_integral_value())
        excludes = None if known else GPU_ONLY
        return _machine_price(rows, machine, rounded, excludes=excludes, estimated=CONTAINER_TIME)


def _machine_price(
    rows: Sequence[GpuPrice | ResourcePrice],
    machine: str,
    nano_per_hour: int,
    *,
    excludes: str | None = None,
    estimated: str | None = None,
) -> MachinePrice:
    """One price from several rows: as old as the oldest of them."""
    retires = [row.retires for row in rows if row.retires is not None]
    return MachinePrice(
        as_of=min((row.as_of for row in rows if row.as_of is not None), default=None),
        source="; ".join(dict.fromkeys(row.source for row in rows)),
        retires=min(retires, default=None),
        machine=machine,
        nano_per_hour=nano_per_hour,
        excludes=excludes,
        estimated=estimated,
    )


def _key(target: Offered) -> object:
    machine = (target.gpu, target.gpus, target.cpu, target.memory)
    return target.name, target.mode, target.model, target.basis, target.priced_as, target.logical, machine


def _which(mode: Mode, gpu: str) -> str:
    """The cards that an inexact name could mean, for the reason."""
    start = gpu_key(gpu) + "-"
    rows = shipped().gpus.items()
    names = sorted({price.gpu for (of, key), price in rows if of == mode and key.startswith(start)})
    return f": say which of {', '.join(names)}" if names else ""


def _sentence(reasons: list[str]) -> str:
    return "; ".join(dict.fromkeys(reasons))
