"""Admission: who may begin, and when. Pure: no clock, no I/O, no locks."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from hybrid_infer.calls.call import Priority
from hybrid_infer.calls.money import Usage
from hybrid_infer.layers.limits.adaptive import AdaptiveLimit
from hybrid_infer.layers.limits.policy import LimitPolicy
from hybrid_infer.layers.limits.rates import Bucket

PASSED_OVER = 20
"""Interactive calls that may go before a waiting batch call; then it is its turn. So batch work always gets
about one place in twenty."""

_PATIENCE = 2.0
"""How far the expected wait for a slot may exceed what the call has, before it is refused at once: stays
vary, so that up to twice the time there is a fair chance."""
_SMOOTHING = 0.05

Kind = Literal["answered", "saturated", "unbilled", "unsent", "unknown"]
"""What a call came to: an answer to its end; a 429; an error that took no tokens; nothing, because it was
given up before it was sent; anything else."""


@dataclass(slots=True, eq=False, kw_only=True)
class Ticket:
    """One call's place, in the queue and then on the target.

    Attributes:
        end: the latest moment to begin.
        prompt: tokens of the prompt, estimated.
        tokens: what it is expected to take of the tokens per minute.
        look: when its waiter looks again by itself.
        began: when it was admitted.
        gone: it has left; it never comes back.
    """

    priority: Priority = "interactive"
    end: float = math.inf
    prompt: float = 0.0
    tokens: float = 0.0
    arrived: float = 0.0
    look: float = 0.0
    began: float | None = None
    gone: bool = False
    read_before: float = 0.0
    stays_before: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a call may not wait (any longer), and after how many seconds there is room, where that is known."""

    reason: str
    after: float | None = None


class Admission:
    """Slots, rates and the queue of one target.

    First come, first served within a priority, interactive before batch (but see `PASSED_OVER`). Nobody
    overtakes the head of the queue, even if it waits for more tokens than others need. Each of `arrive`,
    `leave` and `admit` may be repeated after an interruption: what has happened does not happen twice.

    Args:
        one_asks: after each admission the next waits until `asked` says that the call has got what it needs
            from a shared store.
    """

    def __init__(self, policy: LimitPolicy, *, one_asks: bool = False) -> None:
        per_minute = policy.requests_per_minute, policy.tokens_per_minute
        self.adaptive = AdaptiveLimit(most=policy.in_flight) if policy.adaptive else None
        self.usual_answer: float | None = None
        """Tokens of an answer, moving average."""
        self._policy = policy
        self._one_asks = one_asks
        self._requests, self._tokens = (None if rate is None else Bucket(rate) for rate in per_minute)
        self._inside: set[Ticket] = set()
        self._interactive: OrderedDict[Ticket, None] = OrderedDict()
        self._batch: OrderedDict[Ticket, None] = OrderedDict()
        self._passed_over = 0
        self._asking: Ticket | None = None
        self._told: float = -math.inf
        self._mean_stay: float | None = None
        self._first: float | None = None
        self._has_rates = per_minute != (None, None)
        # What the baseline of the adaptive limit needs, as integrals: a call takes the difference.
        self._at: float | None = None
        self._stays = 0.0  # seconds that calls were in flight, of all calls
        self._read = 0.0

    @property
    def limit(self) -> int | None:
        return self._policy.in_flight if self.adaptive is None else self.adaptive.limit

    @property
    def in_flight(self) -> int:
        return len(self._inside)

    @property
    def waiting(self) -> int:
        return len(self._interactive) + len(self._batch)

    @property
    def head(self) -> Ticket | None:
        """Whose turn it is."""
        interactive, batch = self._interactive, self._batch
        if interactive and not (batch and self._passed_over >= PASSED_OVER):
            return next(iter(interactive))
        return next(iter(batch)) if batch else None

    def arrive(self, ticket: Ticket, now: float) -> Refusal | None:
        """Begin at once (`ticket.began` tells), or wait; a refusal if the queue is full."""
        if ticket.gone or ticket.began is not None:
            return None
        ticket.arrived = now
        if not self.waiting and self._opens(ticket, now) <= now:
            self._begin(ticket, now)
            return None
        if self.waiting >= self._policy.max_queue:
            return Refusal(reason=f"{self.waiting} calls wait already, and no more may")
        self._queue_of(ticket)[ticket] = None
        return None

    def leave(self, ticket: Ticket, now: float) -> bool:
        """Give back the slot or the place in the queue; True the first time for one that had begun."""
        if self.adaptive is not None:
            self._pass_time(now)
        ticket.gone = True
        if self.waiting:
            self._queue_of(ticket).pop(ticket, None)
        if self._asking is ticket:
            self._asking = None
        if ticket not in self._inside:
            return False
        self._inside.discard(ticket)
        return True

    def admit(self, now: float) -> Ticket | None:
        """Let the head of the queue begin, if it may now."""
        head = self.head
        if head is None or self._opens(head, now) > now:
            return None
        if head.priority == "interactive":
            self._passed_over += 1 if self._batch else 0
        else:
            self._passed_over = 0
        self._begin(head, now)
        self._queue_of(head).pop(head, None)
        return head

    def opens(self, now: float) -> float:
        """When the head may begin, as far as time alone decides; inf where it waits for others to leave."""
        head = self.head
        return math.inf if head is None else self._opens(head, now)

    def refusal(self, ticket: Ticket, now: float) -> Refusal | None:
        """Why a waiting call may not wait any longer, as soon as that is certain, or next to certain."""
        if now >= ticket.end:
            return Refusal(reason=f"no room within {now - ticket.arrived:.2f} s", after=None)
        rates = self._wait_for_rates(ticket.tokens, now)
        if now + rates > ticket.end:
            return Refusal(reason=f"its rate limits leave no room for {rates:.2f} s", after=rates)
        if ticket.arrived == now:
            ahead = len(self._interactive) + (0 if ticket.priority == "interactive" else len(self._batch))
            slots = self._wait_for_slots(ahead, now)  # it waits already, and counts itself
            if slots > _PATIENCE * (ticket.end - now):
                return Refusal(reason=f"{self.waiting} calls wait, for {slots:.2f} s as it seems")
        return None

    def asked(self, ticket: Ticket, told: float | None = None) -> None:
        """The call got its answer from the shared store, or was told to ask again at the moment `told`."""
        if self._asking is ticket:
            if told is None:
                self._asking = None
            else:
                self._told = told

    def learn(self, ticket: Ticket, now: float, kind: Kind, usage: Usage | None) -> None:
        """What a call that has left came to."""
        began = ticket.began
        if began is None:
            return
        if kind == "unsent":
            self._take(-1.0, -ticket.tokens, now)
            return
        stay = now - began
        mean = self._mean_stay
        self._mean_stay = stay if mean is None else mean + (stay - mean) * _SMOOTHING
        if kind in ("saturated", "unbilled"):
            self._take(0.0, -ticket.tokens, now)
        if kind == "saturated" and self.adaptive is not None:
            self.adaptive.saturated(began=began, now=now)
        if usage is not None:
            used, answer = usage.total_tokens, usage.output_tokens
            if used is not None:
                self._take(0.0, used - ticket.tokens, now)
            if answer is not None:
                usual = self.usual_answer
                self.usual_answer = float(answer) if usual is None else usual + (answer - usual) * _SMOOTHING
        if kind == "answered" and self.adaptive is not None and stay > 0:
            self.adaptive.answered(
                began=began,
                now=now,
                usage=usage,
                read=self._read - ticket.read_before,
                in_flight=(self._stays - ticket.stays_before) / stay,
            )

    def predicted_wait(self, now: float) -> float:
        """Seconds that a new interactive call of the usual size would wait."""
        ahead = len(self._interactive)
        store = self._told - now if self._asking is not None else 0.0
        waiting = sum(ticket.tokens for ticket in self._interactive) if self._tokens is not None else 0.0
        rates = self._wait_for_rates(self.usual_answer or 0.0, now, calls=ahead, tokens=waiting)
        return max(self._wait_for_slots(ahead + 1, now), rates, store, 0.0)

    def __iter__(self) -> Iterator[Ticket]:
        """Those who wait."""
        return chain(self._interactive, self._batch)

    def _opens(self, ticket: Ticket, now: float) -> float:
        limit = self.limit
        if (limit is not None and len(self._inside) >= limit) or self._asking is not None:
            return math.inf
        return now + self._wait_for_rates(ticket.tokens, now) if self._has_rates else now

    def _wait_for_rates(self, amount: float, now: float, *, calls: float = 0.0, tokens: float = 0.0) -> float:
        requests = 0.0 if self._requests is None else self._requests.wait(1.0, now, ahead=calls)
        if self._tokens is None:
            return requests
        return max(requests, self._tokens.wait(amount, now, ahead=tokens))

    def _wait_for_slots(self, place: int, now: float) -> float:
        """Seconds until the call in this place of the queue has a slot, from the mean stay."""
        limit = self.limit
        if limit is None:
            return 0.0
        short = place + len(self._inside) - limit
        if short <= 0:
            return 0.0
        stay = self._mean_stay
        if stay is None:  # none has ended yet: they stay at least as long as the first has been there
            stay = 0.0 if self._first is None else now - self._first
        return short * stay / limit

    def _begin(self, ticket: Ticket, now: float) -> None:
        if self._first is None:
            self._first = now
        if self.adaptive is not None:
            self._pass_time(now)
            ticket.read_before, ticket.stays_before = self._read, self._stays
            self._read += ticket.prompt
            self.adaptive.began(len(self._inside) + 1)
        if self._has_rates:
            self._take(1.0, ticket.tokens, now)
        if self._one_asks:
            self._asking, self._told = ticket, now
        self._inside.add(ticket)  # before it is told so: whoever is told holds a slot
        ticket.began = now

    def _take(self, requests: float, tokens: float, now: float) -> None:
        if self._requests is not None and requests:
            self._requests.take(requests, now)
        if self._tokens is not None and tokens:
            self._tokens.take(tokens, now)

    def _pass_time(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._stays += len(self._inside) * (now - self._at)
        self._at = now if self._at is None else max(self._at, now)

    def _queue_of(self, ticket: Ticket) -> OrderedDict[Ticket, None]:
        return self._interactive if ticket.priority == "interactive" else self._batch
