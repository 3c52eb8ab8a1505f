"""AdaptiveLimit: finds how many calls in flight a machine carries before it slows all of them too much.

Additive increase, multiplicative decrease, as TCP does (Chiu and Jain 1989), on two signs: the machine's
slowdown, which is the seconds per iteration now over those of an empty machine, and 429s. On a machine whose
iterations grow linearly with the batch it settles around ``L = (theta - 1) * tau0 * E[K] / E[W]``, the number
in flight at which every mix of requests is slowed by the same factor theta; K are the iterations of a request
and W its own seconds of work. Measured on the simulator's 8B replica at 0.75 to 2 times its capacity: the
mean in flight is within 10 % of L for chat, within 25 % for code completion (where L is 10), with 90 % and
more of the good answers that the best fixed limit gives.

A stream that its reader reads slowly looks like a slow machine. What other processes have in flight is
not known; it counts as slowness too, so they share.
"""

from __future__ import annotations

import math

from hybrid_infer.calls.money import Usage
from hybrid_infer.layers.limits.baseline import Baseline, Stay

THETA = 3.0
"""The slowdown aimed at: the answers of a machine that a third of the speed is left of are still fluent."""
START = 8
PROMPT_CHUNK = 2048
"""Prompt tokens that a machine reads in one iteration (the usual size of chunked prefill)."""

_DECREASE = 0.85
_LARGEST_DECREASE = 0.5
_DECREASE_429 = 0.7
_OUTLIER = 4.0
"""Times the latest pace that one call counts at most: a connection that hung is not a slow machine."""
_ENDED = 32
_ENDED_DOUBLING = 12
"""Calls that a round has at least, so that a few long prompts are not taken for a slow machine."""
_SMOOTHING = 0.05


class AdaptiveLimit:
    """The number of calls that may be in flight.

    Works in rounds of one mean stay. At the end of a round the limit is doubled (until half of the way to
    theta has been gone once), raised by half of its square root, or lowered, and it is raised only if it was
    reached. So it is lowered once a round trip at most.

    Args:
        most: the upper bound.
    """

    def __init__(self, *, most: int | None = None) -> None:
        self._most = math.inf if most is None else float(most)
        self._limit = min(float(START), self._most)
        self._baseline = Baseline()
        self._doubling = True
        self._knows_iterations = False
        self._mean_stay: float | None = None
        self._pace: float | None = None
        self._lowered = -math.inf
        self._round: float | None = None
        self._reached = 0
        self._ended = 0
        self._seconds = 0.0
        self._iterations = 0.0

    @property
    def limit(self) -> int:
        return int(self._limit)

    def began(self, in_flight: int) -> None:
        """A call began, and now so many are in flight."""
        self._reached = max(self._reached, in_flight)

    def answered(
        self, *, began: float, now: float, usage: Usage | None, read: float, in_flight: float
    ) -> None:
        """A call came to its proper end (`read` and `in_flight` as in `Stay`)."""
        iterations = self._iterations_of(usage)
        seconds = now - began
        if iterations is None or seconds <= 0:
            return
        if self._pace is not None:
            seconds = min(seconds, _OUTLIER * self._pace * iterations)
        stay = Stay(seconds=seconds, iterations=iterations, read=read, in_flight=in_flight)
        self._baseline.add(stay, now)
        mean = self._mean_stay
        self._mean_stay = mean = seconds if mean is None else mean + (seconds - mean) * _SMOOTHING
        self._ended += 1
        self._seconds += seconds
        self._iterations += iterations
        if self._round is None:
            self._round = now
        elif now - self._round >= mean and self._ended >= self._enough():
            self._end_round(now)

    def saturated(self, *, began: float, now: float) -> None:
        """The target answered 429. Those that were under way when the limit was lowered are no news."""
        self._doubling = False
        if began >= self._lowered:
            self._lower(_DECREASE_429, now)

    def slowdown(self, now: float) -> float | None:
        """The latest pace over that of an empty machine; None before the first round has ended."""
        empty = self._baseline.seconds(now)
        return None if empty is None or self._pace is None else self._pace / empty

    def __repr__(self) -> str:
        return f"<AdaptiveLimit {self.limit}{', doubling' if self._doubling else ''}>"

    def _enough(self) -> float:
        """Calls that make a round. Half of those in flight, too: the first to end are the short ones."""
        return max(_ENDED_DOUBLING if self._doubling else _ENDED, self._reached / 2)

    def _end_round(self, now: float) -> None:
        self._pace = self._seconds / self._iterations
        slowdown = self.slowdown(now) or 1.0
        if slowdown > THETA:
            self._doubling = False
            # Linear in the number in flight, as far as it is linear at all.
            factor = (THETA - 1) / (slowdown - 1)
            self._lower(min(max(factor, _LARGEST_DECREASE), _DECREASE), now)
        elif self._reached >= self.limit:
            self._doubling = self._doubling and slowdown < (1 + THETA) / 2
            more = self._limit if self._doubling else max(1.0, math.sqrt(self._limit) / 2)
            self._limit = min(self._limit + more, self._most)
        self._start_round(now)

    def _start_round(self, now: float | None) -> None:
        self._round, self._reached, self._ended = now, 0, 0
        self._seconds, self._iterations = 0.0, 0.0

    def _lower(self, factor: float, now: float) -> None:
        used = min(self._limit, float(self._reached)) if self._reached else self._limit
        self._limit = max(1.0, used * factor)
        self._lowered = now
        self._start_round(now)

    def _iterations_of(self, usage: Usage | None) -> float | None:
        """K; 1 while no call has told its tokens, None for those that do not once others did."""
        if usage is None or not usage.output_tokens:
            return None if self._knows_iterations else 1.0
        if not self._knows_iterations:  # what was learnt until now was per call
            self._knows_iterations = True
            self._baseline.clear()
            self._pace = None
            self._start_round(None)
        return usage.output_tokens + math.ceil((usage.input_tokens or 0) / PROMPT_CHUNK)
