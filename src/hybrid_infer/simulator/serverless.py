"""Together serverless: a shared pool, with a tail of slow answers and a limit on the rate.

No figures are published. Ours are assumptions: an answer of 300 tokens takes about 3 s, one in fifty waits
several times longer for its first token (a recorded answer of 53 tokens took 15.8 s, 2025-02).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from hybrid_infer.simulator.exchange import Headers, Work
from hybrid_infer.simulator.replica import is_large
from hybrid_infer.simulator.units import Billed, UnitLedger, Units

STREAMS_ONLY = frozenset({"Qwen/Qwen3.6-Plus", "Qwen/Qwen3.7-Plus", "Qwen/Qwen3.7-Max", "Qwen/Qwen3.8-Flash"})
"""Models that answer ordinary requests with 400 `streaming_required` (third party, 2026-10-01)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a class of models answers: median seconds to the first token, median tokens per second."""

    first_token: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerlessPlan:
    """How the pool behaves.

    Attributes:
        small, large: the paces of models of the 8B and of the 70B class.
        spread: sigma of the lognormal time to the first token.
        slow_share, slow_factor: the tail: this share of first tokens takes so many times longer.
        jitter: sigma of the lognormal token speed.
        input_token: seconds that each input token adds to the first output token.
        requests, tokens: the limits per second and model; bursts of twice as much are allowed (Together docs,
            rate limits, 2026). Together sets them dynamically; these let a few dozen calls at a time pass.
    """

    small: Pace = Pace(first_token=0.35, tokens_per_second=120.0)
    large: Pace = Pace(first_token=0.6, tokens_per_second=75.0)
    spread: float = 0.4
    slow_share: float = 0.02
    slow_factor: float = 8.0
    jitter: float = 0.15
    input_token: float = 20e-6
    requests: float = 50.0
    tokens: float = 500_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUse:
    """What a model has been used for. Cancelled answers count with the tokens made until then."""

    model: str
    requests: int
    input_tokens: int
    output_tokens: int


Limit = Literal["dynamic_request_limited", "dynamic_token_limited"]


class Bucket:
    """A token bucket: `rate` per second, twice that at once."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.level = 2 * rate
        self._now = now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` may pass; 0 is now. More than a full bucket passes when it is full."""
        self.level = min(2 * self.rate, self.level + max(0.0, now - self._now) * self.rate)
        self._now = max(now, self._now)
        return max(0.0, min(amount, 2 * self.rate) - self.level) / self.rate

    def take(self, amount: float) -> None:
        self.level -= amount


class ServerlessWork(Work):
    """An answer with its own times, whatever else goes on.

    Args:
        first: the moment of the first token.
        each: seconds from one token to the next.
    """

    def __init__(self, *, first: float, each: float, tokens: int) -> None:
        self._first = first
        self._each = each
        self._tokens = tokens
        self._stopped: int | None = None

    def produced(self, now: float) -> int:
        if self._stopped is not None:
            return self._stopped
        made = math.floor((now - self._first) / self._each + 1e-6) + 1
        return max(0, min(made, self._tokens))

    def next_look(self, count: int) -> float:
        return self._first + (count - 1) * self._each

    def cancel(self, now: float) -> None:
        self._stopped = self.produced(now)

    @property
    def over(self) -> float:
        """When the last token is out."""
        return -math.inf if self._stopped is not None else self.next_look(self._tokens)

    def complete(self, now: float) -> bool:
        """Whether all tokens are out."""
        return self.produced(now) >= self._tokens


@dataclass(slots=True, eq=False)
class _Pool:
    """One model: its limits, and what has been made with it."""

    requests: Bucket
    tokens: Bucket
    answered: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    live: list[ServerlessWork] = field(default_factory=list[ServerlessWork])

    def settle(self, now: float) -> None:
        still: list[ServerlessWork] = []
        for work in self.live:
            if work.over <= now:
                self.output_tokens += work.produced(now)
            else:
                still.append(work)
        self.live = still


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whether a request may pass, and the headers that say how near the limit is."""

    limited: Limit | None
    headers: Headers


class Serverless:
    """All serverless models of one account. `chance` gives the random numbers of the n-th answer.

    Attributes:
        units: what is paid by something else than tokens.
    """

    def __init__(self, plan: ServerlessPlan, chance: Callable[[str], Random]) -> None:
        self._plan = plan
        self._chance = chance
        self._pools: dict[str, _Pool] = {}
        self._count = 0
        self.units = UnitLedger()

    def admit(self, model: str, tokens: int, now: float) -> Admission:
        """Count a request against the limits of its model."""
        pool = self._pool(model, now)
        waits = pool.requests.wait(1, now), pool.tokens.wait(tokens, now)
        limited: Limit | None = None
        if waits[0] > 0:
            limited = "dynamic_request_limited"
        elif waits[1] > 0:
            limited = "dynamic_token_limited"
        else:
            pool.requests.take(1)
            pool.tokens.take(tokens)
        return Admission(limited=limited, headers=_headers(pool, max(waits) if limited else None))

    def start(
        self, model: str, input_tokens: int, output_tokens: int, now: float, *, billed: Billed = "tokens"
    ) -> ServerlessWork:
        """Begin an answer."""
        self._count += 1
        chance, plan = self._chance(f"serverless {self._count}"), self._plan
        pace = plan.large if is_large(model) else plan.small
        wait = pace.first_token * math.exp(plan.spread * chance.gauss())
        if chance.random() < plan.slow_share:
            wait *= plan.slow_factor
        each = 1 / (pace.tokens_per_second * math.exp(plan.jitter * chance.gauss()))
        work = ServerlessWork(
            first=now + wait + plan.input_token * input_tokens, each=each, tokens=output_tokens
        )
        pool = self._pool(model, now)
        pool.settle(now)
        pool.answered += 1
        if isinstance(billed, Units):
            self.units.expect(model, billed, work, now)
            return work
        pool.input_tokens += input_tokens
        if billed == "tokens":
            pool.live.append(work)
        return work

    def use(self, now: float) -> tuple[TokenUse, ...]:
        """What each model has been used for until `now`."""
        for pool in self._pools.values():
            pool.settle(now)
        return tuple(
            TokenUse(
                model=model,
                requests=pool.answered,
                input_tokens=pool.input_tokens,
                output_tokens=pool.output_tokens + sum(work.produced(now) for work in pool.live),
            )
            for model, pool in self._pools.items()
        )

    def _pool(self, model: str, now: float) -> _Pool:
        pool = self._pools.get(model)
        if pool is None:
            plan = self._plan
            pool = self._pools[model] = _Pool(Bucket(plan.requests, now), Bucket(plan.tokens, now))
        return pool


def _headers(pool: _Pool, wait: float | None) -> Headers:
    """As recorded in 2025: `remaining` may be above `limit`, and successes carry `retry-after`."""
    requests, tokens = pool.requests, pool.tokens
    headers: Headers = (
        ("x-ratelimit-limit", f"{requests.rate:.0f}"),
        ("x-ratelimit-remaining", f"{max(0.0, requests.level):.0f}"),
        ("x-ratelimit-reset", "2" if wait is None else f"{wait:.3f}"),
        ("x-ratelimit-limit-tokens", f"{tokens.rate:.0f}"),
        ("x-ratelimit-remaining-tokens", f"{max(0.0, tokens.level):.0f}"),
    )
    return headers if wait is not None else (("retry-after", "2"), *headers)
