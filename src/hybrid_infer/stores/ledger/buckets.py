"""Durations in a few hundred classes, so that percentiles of millions of calls are sums of counts."""

from __future__ import annotations

from collections.abc import Iterable

_FINE = 4
"""Each doubling is divided into 2**4 classes: a class is at most 6.3 % wide."""


def bucket(ns: int) -> int:
    """The class of a duration; one below 0 counts as 0."""
    doublings = ns.bit_length() - _FINE - 1
    return max(ns, 0) if doublings <= 0 or ns < 0 else (doublings << _FINE) + (ns >> doublings)


def middle(number: int) -> int:
    """The middle of a class, in nanoseconds: at most 3.2 % from any duration in it."""
    doublings = (number >> _FINE) - 1
    if doublings <= 0:
        return number
    first = (number - (doublings << _FINE)) << doublings
    return first + (1 << doublings) // 2


def percentile(counts: Iterable[tuple[int, int]], share: int) -> int | None:
    """What about `share` percent of the durations do not exceed (nearest rank), in nanoseconds; None of none.

    Args:
        counts: classes, and how many durations are in each.
    """
    ranked = sorted(counts)
    rank = -(-share * sum(count for _, count in ranked) // 100)
    for number, count in ranked:
        rank -= count
        if rank <= 0:
            return middle(number)
    return None
