"""The adaptive limit finds what a machine carries, without ever having seen it empty."""

from __future__ import annotations

import functools
import random

import pytest

from hybrid_infer.calls.money import Usage
from hybrid_infer.layers.limits.adaptive import START, THETA, AdaptiveLimit
from hybrid_infer.layers.limits.baseline import Baseline, Stay
from hybrid_infer.layers.limits.policy import LimitPolicy
from hybrid_infer.simulator.replica import SMALL
from layers.replica_load import Load, Mix

CHAT = Mix(machine=SMALL, input_tokens=1630, output_tokens=116)
CODE = Mix(machine=SMALL, input_tokens=2507, output_tokens=27)
"""The two mixes of Azure's traces of 2024."""

mixes = pytest.mark.parametrize("mix", [CHAT, CODE], ids=["chat", "code completion"])
SECONDS = 120.0
NO_END = 10**9


@functools.cache
def best_static(mix: Mix) -> float:
    """The most good answers a second that any fixed limit gives under a load that keeps it full."""
    return max(
        Load(mix=mix, offered=1.5, seconds=SECONDS)
        .run(LimitPolicy(in_flight=round(share * mix.right_limit), max_queue=NO_END))
        .goodput
        for share in (0.8, 0.9, 1.0, 1.1)
    )


@mixes
@pytest.mark.parametrize("offered", [0.75, 1.0, 1.5, 2.0])
def test_it_settles_at_the_right_limit_and_keeps_the_good_answers(mix: Mix, offered: float) -> None:
    """Theta is 3, so any load above two thirds of the capacity has to be held back. In flight: within 25 % of
    ``(theta - 1) * tau0 * E[K] / E[W]``. Good answers: at least 90 % of those of the best fixed limit."""
    seen = Load(mix=mix, offered=offered, seconds=SECONDS).run(LimitPolicy(adaptive=True, max_queue=NO_END))
    assert seen.in_flight == pytest.approx(mix.right_limit, rel=0.25)
    assert seen.goodput >= 0.9 * best_static(mix)


@mixes
def test_it_does_not_hold_back_a_load_that_the_machine_carries(mix: Mix) -> None:
    load = Load(mix=mix, offered=0.5, seconds=SECONDS)
    free = load.run(LimitPolicy())
    seen = load.run(LimitPolicy(adaptive=True, max_queue=NO_END))
    assert seen.goodput >= 0.98 * free.goodput
    assert seen.answers >= 0.98 * free.answers


class Line:
    """A machine whose iterations take ``empty + each * n`` seconds, always full: n is the limit."""

    def __init__(self, limit: AdaptiveLimit, *, empty: float, each: float, noise: float = 0.0) -> None:
        self.limit = limit
        self.empty = empty
        self.each = each
        self.now = 0.0
        self._noise = noise
        self._chance = random.Random(3)

    def round_trips(self, count: int, *, usage: Usage | None = None) -> list[int]:
        """The limit after each."""
        limits = list[int]()
        for _ in range(count):
            n = self.limit.limit
            iterations = 1 if usage is None else usage.output_tokens or 1
            for number in range(n):
                self.limit.began(number + 1)
            began, pace = self.now, self.empty + self.each * n
            for _ in range(n):
                seconds = iterations * pace * (1 + self._noise * self._chance.uniform(-1, 1))
                self.now = max(self.now, began + seconds)
                self.limit.answered(
                    began=began, now=began + seconds, usage=usage, read=0.0, in_flight=float(n)
                )
            limits.append(self.limit.limit)
        return limits


SHORT = Usage(input_tokens=0, output_tokens=50)


@pytest.mark.parametrize("usage", [SHORT, None], ids=["tokens known", "latency alone"])
def test_it_doubles_until_the_machine_slows_and_then_goes_in_small_steps(usage: Usage | None) -> None:
    line = Line(AdaptiveLimit(), empty=0.01, each=0.0002, noise=0.1)
    limits = line.round_trips(60, usage=usage)
    assert max(limits[:8]) >= 4 * START
    right = (THETA - 1) * line.empty / line.each
    assert all(0.75 * right <= limit <= 1.25 * right for limit in limits[-30:])
    steps = [later - earlier for earlier, later in zip(limits[-30:], limits[-29:], strict=False)]
    assert max(steps) <= 6


@pytest.mark.parametrize(("empty", "each"), [(0.02, 0.0004), (0.005, 0.0004)])
def test_within_two_hours_it_has_followed_a_machine_that_changed(empty: float, each: float) -> None:
    """Another GPU or another model behind the same name: slower, and faster with less room.
    What was learnt is forgotten slowly, so that a limit that others fill up now and then is not taken for
    another machine."""
    usage = Usage(input_tokens=0, output_tokens=200)
    line = Line(AdaptiveLimit(), empty=0.01, each=0.0002, noise=0.1)
    line.round_trips(60, usage=usage)
    line.empty, line.each, changed = empty, each, line.now
    while line.now < changed + 6000:
        line.round_trips(1, usage=usage)
    last = line.round_trips(20, usage=usage)
    assert sum(last) / len(last) == pytest.approx((THETA - 1) * empty / each, rel=0.25)


def test_one_call_that_hangs_is_not_a_slow_machine() -> None:
    line = Line(AdaptiveLimit(), empty=0.01, each=0.0002)
    line.round_trips(40, usage=SHORT)
    before = line.limit.limit
    line.limit.answered(
        began=line.now, now=line.now + 600, usage=SHORT, read=0.0, in_flight=float(line.limit.limit)
    )
    line.now += 600
    assert line.round_trips(1, usage=SHORT)[0] >= 0.8 * before


def test_429s_lower_it_once_a_round_trip_and_never_below_one() -> None:
    limit = AdaptiveLimit(most=100)
    before = limit.limit
    for _ in range(5):
        limit.saturated(began=1.0, now=2.0)
    assert limit.limit == int(before * 0.7)
    limit.saturated(began=2.5, now=3.0)
    assert limit.limit == int(before * 0.7 * 0.7)
    for number in range(50):
        limit.saturated(began=10.0 + number, now=10.5 + number)
    assert limit.limit == 1


def test_a_limit_that_nobody_reaches_does_not_grow() -> None:
    limit = AdaptiveLimit()
    for number in range(500):
        limit.began(3)
        limit.answered(began=float(number), now=number + 1.0, usage=SHORT, read=0.0, in_flight=3.0)
    assert limit.limit == START


def test_it_stays_at_the_upper_bound() -> None:
    limits = Line(AdaptiveLimit(most=20), empty=0.01, each=0.0).round_trips(30, usage=SHORT)
    assert max(limits) == 20


def test_an_idle_machine_is_inferred_from_a_busy_one() -> None:
    """Never fewer than 20 in flight, each reading noisy by a tenth: tau0 within a tenth."""
    chance, baseline = random.Random(5), Baseline()
    for number in range(3000):
        n, k = chance.uniform(20, 60), chance.randint(20, 200)
        read = 1500 * chance.uniform(0.8, 1.2) * n * k / 100
        seconds = (0.006 * k + 13e-6 * read + 0.00005 * n * k) * chance.uniform(0.9, 1.1)
        baseline.add(Stay(seconds=seconds, iterations=k, read=read, in_flight=n), number * 0.1)
    assert baseline.seconds(300.0) == pytest.approx(0.006, rel=0.1)


def test_what_was_learnt_at_light_load_outlives_hours_of_heavy_load() -> None:
    baseline = Baseline()
    for number in range(200):
        baseline.add(Stay(seconds=0.6 + 0.03 * 2, iterations=100, read=0.0, in_flight=2.0), number * 0.5)
    chance = random.Random(7)
    for number in range(20_000):
        seconds = (0.6 + 0.03 * 40) * chance.uniform(0.8, 1.2)
        baseline.add(Stay(seconds=seconds, iterations=100, read=0.0, in_flight=40.0), 100 + number * 0.18)
    assert baseline.seconds(3700.0) == pytest.approx(0.006, rel=0.1)


def test_a_year_of_silence_does_no_harm() -> None:
    line = Line(AdaptiveLimit(), empty=0.01, each=0.0002, noise=0.1)
    line.round_trips(60, usage=SHORT)
    line.now += 365 * 86_400.0
    right = (THETA - 1) * line.empty / line.each
    assert line.round_trips(60, usage=SHORT)[-1] == pytest.approx(right, rel=0.25)
