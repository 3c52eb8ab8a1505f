"""Budget: what calls may spend. Reserved before a call, settled after it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Literal, Protocol, TypeAlias

from hybrid_infer.calls.call import Call, Replying, Service, Target
from hybrid_infer.calls.expected import expected_usage
from hybrid_infer.calls.money import Cost, Usage, usd
from hybrid_infer.calls.operations import spends
from hybrid_infer.calls.reply import Ending, Facts, Reply
from hybrid_infer.errors import APIError, BudgetExceededError
from hybrid_infer.runtime.base import Leftovers, Runtime

Per = Literal["call", "hour", "day"]

_SECONDS: dict[Per, int] = {"hour": 3600, "day": 86_400}
_USUAL_ANSWER = 500.0
"""Tokens of an answer, until some have been seen and where the call sets no limit."""
_LEARN = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRule:
    """One budget.

    Attributes:
        name: how messages call it.
        most: what may be spent: nano-dollars, or tokens of prompts and answers together.
        unit: which of the two.
        per: of each call, or of all calls of a clock hour or a day (UTC) together.
        purpose: of calls with this purpose alone; None is of all.
    """

    name: str
    most: int
    unit: Literal["usd", "tokens"]
    per: Per
    purpose: str | None = None

    def window(self, wall: datetime) -> int:
        """Which hour or day, counted from 1970; 0 for budgets per call."""
        return 0 if self.per == "call" else int(wall.timestamp()) // _SECONDS[self.per]

    def frees(self, wall: datetime) -> float | None:
        """Seconds until the next hour or day begins; None for budgets per call."""
        if self.per == "call":
            return None
        length = _SECONDS[self.per]
        return length - wall.timestamp() % length

    def shown(self, amount: int) -> str:
        return f"{usd(amount):f} USD" if self.unit == "usd" else f"{amount} tokens"


@dataclass(slots=True, kw_only=True)
class Reservation:
    """What a call holds of the budgets that count for it.

    Attributes:
        held: of each the window and the amount; empty once it is settled.
        shared: the windows of those that other processes know of.
        changes: what was settled, against what was reserved.
    """

    held: dict[BudgetRule, tuple[int, int]]
    shared: dict[BudgetRule, int] = field(default_factory=dict[BudgetRule, int])
    changes: dict[BudgetRule, int] = field(default_factory=dict[BudgetRule, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The budget that has no room for what a call wants, and what is left of it."""

    rule: BudgetRule
    wanted: int
    left: int | None
    """None where other processes spent it."""


class Account:
    """What has been spent and reserved of each budget, in this process. Pure."""

    def __init__(self, rules: Sequence[BudgetRule]) -> None:
        self.rules = tuple(rules)
        self._spent: dict[BudgetRule, tuple[int, int]] = {}

    def reserve(self, purpose: str | None, amounts: dict[str, int], wall: datetime) -> Reservation | Refused:
        """Take the amounts (by unit) from every budget that counts, or from none of them."""
        wanted = [
            (rule, rule.window(wall), amounts[rule.unit])
            for rule in self.rules
            if rule.purpose in (None, purpose)
        ]
        for rule, window, amount in wanted:
            left = rule.most - self.spent(rule, window)
            if amount > left:
                return Refused(rule=rule, wanted=amount, left=left)
        for rule, window, amount in wanted:
            self._add(rule, window, amount)
        return Reservation(held={rule: (window, amount) for rule, window, amount in wanted})

    def settle(self, reservation: Reservation, amounts: Mapping[str, int | None]) -> None:
        """Replace what was reserved by what was used; None keeps the reservation. Harmless when repeated."""
        held, reservation.held = reservation.held, {}
        for rule, (window, amount) in held.items():
            used = amounts[rule.unit]
            if used is not None:
                reservation.changes[rule] = used - amount
                self._add(rule, window, used - amount)

    def spent(self, rule: BudgetRule, window: int) -> int:
        """Spent and reserved in a window."""
        known, amount = self._spent.get(rule, (window, 0))
        return amount if known == window and rule.per != "call" else 0

    def _add(self, rule: BudgetRule, window: int, amount: int) -> None:
        known = self._spent.get(rule, (window, 0))[0]
        if window >= known:  # what is settled after its hour or day is over changes nothing any more
            self._spent[rule] = (window, self.spent(rule, window) + amount)


class SharedBudgets(Protocol):
    """Budgets that several processes share. Every method fails soft when the store is down."""

    async def spend(self, name: str, window: int, amount: int, most: int, seconds: float) -> bool | None:
        """Add to what was spent in a window, unless that goes beyond `most`; None: the store is down.

        Args:
            seconds: after which the window may be forgotten.
        """
        ...

    async def correct(self, name: str, window: int, change: int) -> None: ...


Expected: TypeAlias = Callable[[Target, Usage], "int | str | None"]
"""Nano-dollars of an answer; None where only the time on a machine will tell; why it has no price."""

Costs: TypeAlias = Callable[[Call], Cost]
"""Everything billed on behalf of a call."""


class Budget:
    """Refuses a call once, before its first attempt, where a budget has no room for it.

    Reserved is what the dearest candidate would cost: the prompt at 4 characters a token, and `max_tokens` of
    answer, or as much as answers have usually had; images by their pixels. Where a machine is paid by time it
    is the mean of the calls before. A call whose cost stays unknown is charged what was reserved; one that
    was cancelled, what is known.
    """

    def __init__(
        self,
        runtime: Runtime,
        rules: Sequence[BudgetRule],
        *,
        expected: Expected,
        costs: Costs,
        leftovers: Leftovers,
        shared: SharedBudgets | None = None,
    ) -> None:
        self._runtime = runtime
        self._account = Account(rules)
        self._expected = expected
        self._costs = costs
        self._leftovers = leftovers
        self._shared = shared
        self._guard = runtime.guard()
        self._usual = _USUAL_ANSWER
        self._machine_call = 0.0  # mean nano-dollars of a call to a machine

    def __call__(self, call: Call, inner: Service) -> Replying:
        return self._reserved(call, inner) if spends(call.operation, call.method) else inner(call)

    async def _reserved(self, call: Call, inner: Service) -> Reply:
        amounts = self._amounts(call)
        wall = self._runtime.wall()
        with self._guard:
            reservation = self._account.reserve(call.purpose, amounts, wall)
        if isinstance(reservation, Refused):
            raise _exceeded(reservation, wall)
        if self._shared is not None:
            await self._share(self._shared, reservation, wall)
        try:
            reply = await inner(call)
        except BaseException as error:
            self._settle(call, None, reservation, cancelled=not isinstance(error, APIError))
            await self._correct(reservation)
            raise
        facts = reply.facts

        def end(ending: Ending) -> None:
            settle = partial(self._settle, call, facts, reservation, cancelled=ending.abandoned)
            if ending.collected:
                self._leftovers.put(settle)
            else:
                settle()

        reply.on_end(end)
        if self._shared is not None:
            await reply.on_finish(partial(self._correct, reservation))
        return reply

    def _amounts(self, call: Call) -> dict[str, int]:
        usage = expected_usage(call, self._usual)
        amounts = {"tokens": usage.total_tokens or 0, "usd": 0}
        if any(rule.unit == "usd" and rule.purpose in (None, call.purpose) for rule in self._account.rules):
            amounts["usd"] = max(self._nano(target, usage) for target in call.candidates)
        return amounts

    def _nano(self, target: Target, usage: Usage) -> int:
        expected = self._expected(target, usage)
        if isinstance(expected, str):
            raise BudgetExceededError(
                f"a budget in USD cannot be held: {expected}",
                where=target.name,
                hint="give a price of your own ([prices]), or a budget in tokens",
            )
        return math.ceil(self._machine_call) if expected is None else expected

    def _settle(self, call: Call, facts: Facts | None, reservation: Reservation, *, cancelled: bool) -> None:
        cost = self._costs(call)
        usages = [attempt.usage for attempt in call.tally.attempts if attempt.usage is not None]
        totals = [usage.total_tokens for usage in usages]
        sent = any(attempt.billed is not False for attempt in call.tally.attempts)
        known = [total for total in totals if total is not None]
        tokens = sum(known) if known or cancelled or not sent else None
        nano = None if cost.amount is None else int(cost.amount.scaleb(9))
        if nano is None and (cancelled or not sent):
            nano = 0
        with self._guard:
            output = facts.usage.output_tokens if facts is not None and facts.usage is not None else None
            if output is not None:
                self._usual += _LEARN * (output - self._usual)
            if nano is not None and cost.basis == "machine-time":
                self._machine_call += _LEARN * (nano - self._machine_call)
            self._account.settle(reservation, {"usd": nano, "tokens": tokens})

    async def _share(self, shared: SharedBudgets, reservation: Reservation, wall: datetime) -> None:
        """Take the reservation from the budgets of all processes, too, or give it back whole."""
        for rule, (window, amount) in list(reservation.held.items()):
            if rule.per == "call":
                continue
            seconds = (rule.frees(wall) or 0.0) + _SECONDS[rule.per]
            answer = await shared.spend(rule.name, window, amount, rule.most, seconds)
            if answer is False:
                with self._guard:
                    self._account.settle(reservation, {"usd": 0, "tokens": 0})
                await self._correct(reservation)
                raise _exceeded(Refused(rule=rule, wanted=amount, left=None), wall)
            if answer:
                reservation.shared[rule] = window

    async def _correct(self, reservation: Reservation) -> None:
        """Tell the other processes what was settled. What is left to a finaliser stays reserved there."""
        if self._shared is not None:
            for rule, window in reservation.shared.items():
                change = reservation.changes.get(rule)
                if change:
                    await self._shared.correct(rule.name, window, change)


def _exceeded(refused: Refused, wall: datetime) -> BudgetExceededError:
    rule = refused.rule
    seconds = rule.frees(wall)
    of = f" for {rule.purpose}" if rule.purpose is not None else ""
    left = "less" if refused.left is None else rule.shown(max(0, refused.left))
    message = (
        f'budget "{rule.name}" of {rule.shown(rule.most)} a {rule.per}{of}: this call may take '
        f"{rule.shown(refused.wanted)}, and {left} is left"
    )
    if seconds is None:
        hint = "nothing was sent; set max_tokens, shorten the prompt, or raise the budget"
    else:
        at = datetime.fromtimestamp(wall.timestamp() + seconds, UTC)
        hint = f"nothing was sent; the budget is free again at {at:%Y-%m-%d %H:%M} UTC"
    return BudgetExceededError(message, retry_after=seconds, hint=hint)
