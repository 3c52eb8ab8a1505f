"""Steps: how many of the calls go to the new mode, and whether it may have more. Pure."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from hybrid_infer.calls.shares import Outcome
from hybrid_infer.errors import InvalidCallError

STEPS: Final[tuple[float, ...]] = (5.0, 25.0, 50.0, 100.0)
"""Percent of the calls, one step after the other."""

_SAMPLE = 2000
_CLEAR = 3
"""So many failures, of at most twice as many calls, need no further calls to be clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """When the new mode does worse, while it has a share of the calls. None is no limit.

    Attributes:
        errors: by how much the share of its calls that fail may be above that of the old mode, 0 to 1. A
            moved call that somebody else had to answer counts as failed.
        latency: how many times the median time of the old the new one may take.
        least: calls of the new mode before that can be told.
    """

    errors: float | None = 0.05
    latency: float | None = 2.0
    least: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Calls of one mode: how many have ended, how many of them failed, how many still wait for an answer.

    Attributes:
        seconds: the median, of those that wait by what they have waited so far; None is unknown.
    """

    calls: int
    failed: int
    seconds: float | None
    waiting: int = 0

    @property
    def errors(self) -> float:
        """The share that failed."""
        return self.failed / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReading:
    """What was seen in one step: `percent` of the calls went to the new mode."""

    percent: float
    new: Reading
    old: Reading
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.percent:g} %: {_told('new', self.new)}; {_told('old', self.old)}"


class Counted:
    """Calls of one mode as they end; of their seconds, the last 2000 count."""

    def __init__(self) -> None:
        self._calls = self._failed = 0
        self._seconds: deque[float] = deque(maxlen=_SAMPLE)

    def add(self, outcome: Outcome) -> None:
        self._calls += 1
        if outcome.failed:
            self._failed += 1
        elif outcome.seconds is not None:
            self._seconds.append(outcome.seconds)

    def reading(self, waiting: Sequence[float] = ()) -> Reading:
        """What they come to so far; with those that wait, by the seconds they have waited."""
        known = [*self._seconds, *waiting]
        seconds = statistics.median(known) if known else None
        return Reading(calls=self._calls, failed=self._failed, seconds=seconds, waiting=len(waiting))


def worse(new: Reading, old: Reading, watch: Watch) -> tuple[str, ...]:
    """Why the new mode is to have no calls; empty where it does well, or nobody can tell yet."""
    reasons: list[str] = []
    clear = new.failed >= _CLEAR and 2 * new.failed >= new.calls
    told = new.calls >= watch.least
    if watch.errors is not None and (told or clear) and new.errors - old.errors > watch.errors:
        reasons.append(
            f"{new.failed} of {new.calls} calls failed or had to be answered by the old mode, of which "
            f"{old.failed} of {old.calls} failed ({watch.errors:.0%} more are allowed)"
        )
    slow, usual = new.seconds, old.seconds
    told = new.calls + new.waiting >= watch.least
    if watch.latency is not None and told and slow is not None and usual and slow > watch.latency * usual:
        reasons.append(
            f"calls take {slow:.2f} s, and {usual:.2f} s in the old mode (medians; "
            f"{watch.latency:g} times is allowed)"
        )
    return tuple(reasons)


def steps_of(given: str | Sequence[float]) -> tuple[float, ...]:
    """Percentages that grow to 100, from a list or a text such as ``"5,25,50,100"``.

    Raises:
        InvalidCallError: they do not.
    """
    try:
        found = tuple(float(one) for one in (given.split(",") if isinstance(given, str) else given))
    except (TypeError, ValueError):
        found = ()
    grow = all(one < other for one, other in pairwise(found))
    if not found or not grow or found[0] <= 0 or found[-1] != 100:
        raise InvalidCallError(f"steps={given!r}: must be percentages that grow to 100, e.g. 5,25,50,100")
    return found


def _told(name: str, one: Reading) -> str:
    took = "" if one.seconds is None else f", {one.seconds:.2f} s"
    waiting = f", {one.waiting} waiting" if one.waiting else ""
    return f"{name} {one.calls} calls, {one.failed} failed{waiting}{took}"
