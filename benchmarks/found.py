"""What was measured, and what follows from it: medians, spreads, ratios, goals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from cases import GOALS, Goal

Figures = dict[str, float]


@dataclass(slots=True)
class Spread:
    """The median of several rounds, and the least and the most."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))


@dataclass(slots=True)
class Fit:
    """How a cost grows with a size.

    Attributes:
        kind: ``flat``, ``logarithmic`` or ``linear``.
        growth: the cost at the largest size over that at the smallest, by the fit.
        start, slope: of the curve: ``start + slope * x`` with the size, or its logarithm, as x.
    """

    kind: str
    growth: float
    start: float
    slope: float

    def at(self, size: float) -> float:
        x = {"flat": 0.0, "logarithmic": math.log(size), "linear": size}[self.kind]
        return self.start + self.slope * x


FLAT = 1.15
"""What grows by less over all sizes is flat: so much may one and the same thing differ on a busy machine."""
EXPLAINED = 0.75


def fit(sizes: Sequence[int], costs: Sequence[float]) -> Fit:
    """Least squares over the logarithm of the size, and over the size itself; the nearer one counts.

    Flat is what by that one grows by less than `FLAT` from the smallest size to the largest, or falls, and
    what goes up and down so much that it explains less than `EXPLAINED` of the variance.
    """
    curves = {
        "logarithmic": _line([math.log(size) for size in sizes], costs),
        "linear": _line([float(size) for size in sizes], costs),
    }
    kind = min(curves, key=lambda name: curves[name][2])
    start, slope, left = curves[kind]
    found = Fit(kind, 1.0, start, slope)
    found.growth = found.at(sizes[-1]) / found.at(sizes[0])
    mean = sum(costs) / len(costs)
    if found.growth < FLAT or left > (1 - EXPLAINED) * sum((cost - mean) ** 2 for cost in costs):
        return Fit("flat", costs[-1] / costs[0], median(costs), 0.0)
    return found


def _line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float, float]:
    """Start, slope, and the sum of squares that is left."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    wide = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / wide if wide else 0.0
    start = mean_y - slope * mean_x
    return start, slope, sum((y - start - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))


@dataclass(slots=True, kw_only=True)
class Verdict:
    """A goal, and what came of it.

    Attributes:
        value: None where one of the two figures was not measured.
        cpu: the same by CPU, which a busy machine disturbs less; None where that is the same.
    """

    goal: Goal
    value: Spread | None
    cpu: Spread | None

    @property
    def reached(self) -> bool | None:
        if self.value is None:
            return None
        if self.goal.most is not None:
            return self.value.middle <= self.goal.most
        return self.goal.least is not None and self.value.middle >= self.goal.least

    @property
    def limit(self) -> str:
        bound, sign = (self.goal.most, "≤") if self.goal.most is not None else (self.goal.least, "≥")
        return f"{sign} {bound:g}{self.goal.unit}"


@dataclass(slots=True, kw_only=True)
class Found:
    """One run of the benchmarks.

    Attributes:
        quick: few rounds. partial: not all cases, or not all clients.
        rounds: figures by case and client, one for each round.
        absent: why a client is not in a case, by case and client; case ``""`` is all of them.
        ladder: microseconds by layer, outermost first.
        scales: by thing and size, the cost of each round.
        server: what the server can do.
        about: the machine, and versions.
    """

    quick: bool
    partial: bool
    about: dict[str, str]
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    rounds: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    absent: dict[str, dict[str, str]] = field(default_factory=dict)
    ladder: dict[str, float] = field(default_factory=dict)
    scales: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    server: dict[str, Figures] = field(default_factory=dict)

    def add(self, case: str, peer: str, figures: Figures) -> None:
        self.rounds.setdefault(case, {}).setdefault(peer, []).append(figures)

    def miss(self, case: str, peer: str, why: str) -> None:
        self.absent.setdefault(case, {}).setdefault(peer, why)

    def spread(self, case: str, peer: str, figure: str) -> Spread | None:
        rounds = self.rounds.get(case, {}).get(peer)
        if not rounds or figure not in rounds[0]:
            return None
        return Spread.of([one[figure] for one in rounds])

    def ratio(self, one: tuple[str, str, str], other: tuple[str, str, str]) -> Spread | None:
        """A figure over another, each round by itself where both were made in the same rounds.

        Args:
            one, other: client, case and figure.
        """
        peer, case, figure = one
        against, in_case, its = other
        above = self.rounds.get(case, {}).get(peer)
        below = self.rounds.get(in_case, {}).get(against)
        if not above or not below or figure not in above[0] or its not in below[0]:
            return None
        if len(above) == len(below) and case == in_case:
            return Spread.of(
                [mine[figure] / its_own[its] for mine, its_own in zip(above, below, strict=True)]
            )
        middle = median(its_own[its] for its_own in below)
        return Spread.of([mine[figure] / middle for mine in above])

    def verdicts(self, ours: str) -> list[Verdict]:
        return [
            Verdict(goal=goal, value=self._value(goal, ours), cpu=self._by_cpu(goal, ours)) for goal in GOALS
        ]

    def _by_cpu(self, goal: Goal, ours: str) -> Spread | None:
        if goal.against is None or goal.ours[1] == "cpu_us":
            return None
        peer, case, figure = goal.against
        mine = (ours, goal.ours[0], "cpu_us")
        other = (peer, case, "loads_cpu_us" if figure == "loads_us" else "cpu_us")
        return self.ratio(other, mine) if figure == "rate" else self.ratio(mine, other)

    def _value(self, goal: Goal, ours: str) -> Spread | None:
        case, figure = goal.ours
        if case == "ladder":
            alone = self.ladder.get(figure)
            return None if alone is None else Spread(alone, alone, alone)
        if goal.against is None:
            return self.spread(case, ours, figure)
        return self.ratio((ours, case, figure), goal.against)

    def fits(self) -> dict[str, Fit]:
        """Of the least cost at each size: what disturbs a measurement only adds to it."""
        return {
            name: fit(sorted(sizes), [min(sizes[size]) for size in sorted(sizes)])
            for name, sizes in self.scales.items()
        }

    def as_json(self) -> dict[str, Any]:
        """All of it, for other programs."""
        return {
            "quick": self.quick,
            "about": self.about,
            "versions": self.versions,
            "rounds": self.rounds,
            "absent": self.absent,
            "ladder_us": self.ladder,
            "scales_us": self.scales,
            "server": self.server,
        }
