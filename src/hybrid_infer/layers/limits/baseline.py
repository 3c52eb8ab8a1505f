"""Baseline: how fast the machine would be if it were empty, from calls that never saw it so.

An iteration of the machine takes ``tau = tau0 + sum(w_j)`` seconds over the requests in its batch (see
`simulator.replica` for the source of the form). A call of K iterations therefore takes

    seconds = tau0 * K + read * P + write * n * K

where P is what the machine read during the call's stay (the prompts that began in it) and n the mean number
of calls in flight. A least squares fit of the three gives tau0. Prompts need a term of their own because
reading is most of the work of short answers and follows arrivals, not the number in flight: without it tau0
comes out a third too high on chat traffic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

HALF_LIFE = 300.0
HALF_LIFE_STAYS = 50
"""Seconds, and mean stays, after which what was seen counts half; the longer of the two."""

_RATIO = math.log(1.2)
"""Levels of load are this far apart."""
_ROUND_TRIPS = 30
"""What a level remembers. Calls that overlap see the same machine, so it is round trips that count."""
_LEAST = 64
"""Calls before a fit is trusted: fewer give an intercept that is off by half and more."""
_FEW = 5
_AGING = 4
"""Half-lives after which the fastest pace seen is thought to be twice as slow: it bounds tau0, but not for
ever. Too low a bound lowers the limit, and so light load is seen again; too high a one would run away."""
_OLDEST = 60.0
_SMOOTHING = 0.02
_SINGULAR = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One answered call's time on the machine.

    Attributes:
        iterations: of the machine, on the call's behalf; 1 for every call where nobody can know.
        read: tokens of the prompts that began during the stay, its own included.
        in_flight: calls on the machine, averaged over the stay.
    """

    seconds: float
    iterations: float
    read: float
    in_flight: float


@dataclass(slots=True)
class _Level:
    """What was seen around one number of calls in flight.

    Attributes:
        sums: the normal equations of the fit, each row divided by its iterations (a long call's noise adds
            up): products of K, P and nK with one another, and with the seconds.
    """

    at: float
    calls: float = 0.0
    sums: list[float] = field(default_factory=lambda: [0.0] * 9)

    def add(self, stay: Stay, now: float, half_life: float) -> None:
        keep = self.fresh(now, half_life)
        most = max(_LEAST, _ROUND_TRIPS * stay.in_flight)
        if self.calls * keep > most:
            keep = most / self.calls
        k, read, n, seconds = stay.iterations, stay.read, stay.in_flight, stay.seconds
        new = (k, read, n * k, read * read / k, read * n, n * n * k, seconds, read * seconds / k, n * seconds)
        self.at = now
        self.calls = self.calls * keep + 1
        self.sums = [old * keep + more for old, more in zip(self.sums, new, strict=True)]

    def fresh(self, now: float, half_life: float) -> float:
        """The share of its weight that age has left."""
        return math.exp2(-self.age(now, half_life))

    def age(self, now: float, half_life: float) -> float:
        """In half-lives."""
        return max(0.0, now - self.at) / half_life

    @property
    def pace(self) -> float:
        """Seconds per iteration."""
        return self.sums[6] / self.sums[0]


class Baseline:
    """Estimates tau0. Each level of load forgets by itself, so that what was learnt at light load is not
    washed away by hours of heavy load, when only heavy load is seen."""

    def __init__(self) -> None:
        self._levels: dict[int, _Level] = {}
        self._mean_stay = 0.0

    def add(self, stay: Stay, now: float) -> None:
        index = round(math.log(max(stay.in_flight, 1.0)) / _RATIO)
        level = self._levels.get(index)
        if level is None:
            level = self._levels[index] = _Level(now)
        level.add(stay, now, self._half_life)
        self._mean_stay += (stay.seconds - self._mean_stay) * _SMOOTHING

    def clear(self) -> None:
        self._levels.clear()

    def seconds(self, now: float) -> float | None:
        """tau0; the fastest pace seen where there is too little to go by, or it makes no sense; None before
        any call."""
        sums = [0.0] * 9
        calls, fastest = 0.0, math.inf
        light, seconds, iterations = 0.0, 0.0, 0.0
        half_life = self._half_life
        for _, level in sorted(self._levels.items()):
            light += level.calls
            seconds += level.sums[6]
            iterations += level.sums[0]
            if light >= _FEW or fastest == math.inf:
                slower = math.exp2(min(level.age(now, half_life) / _AGING, _OLDEST))
                fastest = min(fastest, seconds / iterations * slower)
            if light >= _FEW:
                light, seconds, iterations = 0.0, 0.0, 0.0
            weight = level.fresh(now, half_life)
            calls += weight * level.calls
            weight /= level.pace**2  # errors are a share of the pace
            sums = [total + weight * more for total, more in zip(sums, level.sums, strict=True)]
        if not self._levels:
            return None
        return fastest if calls < _LEAST else _intercept(sums, fastest)

    @property
    def _half_life(self) -> float:
        return max(HALF_LIFE, HALF_LIFE_STAYS * self._mean_stay)


def _intercept(sums: Sequence[float], fastest: float) -> float:
    """The fit with as many of its terms as come out positive."""
    kk, kr, kn, rr, rn, nn, ks, rs, ns = sums
    matrix = ((kk, kr, kn), (kr, rr, rn), (kn, rn, nn))
    for terms in ((0, 1, 2), (0, 1), (0, 2)):
        found = _solved(matrix, (ks, rs, ns), terms)
        if found is not None and min(found) > 0 and found[0] <= fastest:
            return found[0]
    return fastest


def _solved(
    matrix: Sequence[Sequence[float]], right: Sequence[float], terms: Sequence[int]
) -> list[float] | None:
    """The normal equations for some of the terms, by elimination; None where they say too little."""
    rows = [[*(matrix[i][j] for j in terms), right[i]] for i in terms]
    for step, term in enumerate(terms):
        pivot = rows[step][step]
        if pivot <= _SINGULAR * matrix[term][term]:
            return None
        for other, row in enumerate(rows):
            if other != step:
                factor = row[step] / pivot
                rows[other] = [mine - factor * its for mine, its in zip(row, rows[step], strict=True)]
    return [row[-1] / row[step] for step, row in enumerate(rows)]
