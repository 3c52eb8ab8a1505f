"""When faults happen: rules that choose requests by what they are, by number, chance and time. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any, Literal, TypeAlias, cast, get_args

from hybrid_infer.calls.call import MODES, Mode
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings.wording import did_you_mean, found
from hybrid_infer.simulator.faults import BEFORE_THE_ANSWER, Fault

Requests = Literal["calls", "streams", "unary", "gets", "all"]
"""Calls are POSTs. GETs are probes, lists of models and the results that a redirect leads to."""

_RANGE = re.compile(r"(\d+)(-(\d*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request as rules see it. `model` is None where it names none."""

    mode: Mode
    model: str | None
    path: str
    stream: bool
    get: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """Lets a fault happen to some requests; everything that it says must hold.

    A rule counts, from 1, the requests that fit it (`mode`, `model`, `path`, `requests`) in its time
    (`since`, `until`, `up`, `down`); `on`, `every` and `probability` choose among them. Times are seconds of
    the world.

    Attributes:
        mode: one or several; None is all.
        model: the provider's name of it; None is all.
        path: the path begins so, e.g. ``"/v1/models"``; None is all.
        requests: which of them.
        on: numbers: 1, ``"2-4"``, ``"5-"``, or a list of these.
        every: each n-th.
        probability: from 0 to 1, drawn anew for each.
        since, until: the time from the one to before the other.
        up, down: well for so long, then at fault for so long, again and again.

    Raises:
        ConfigurationError: naming everything that is wrong.
    """

    fault: Fault
    mode: Mode | Sequence[Mode] | None = None
    model: str | None = None
    path: str | None = None
    requests: Requests = "calls"
    on: int | str | Sequence[int | str] | None = None
    every: int | None = None
    probability: float | None = None
    since: float | None = None
    until: float | None = None
    up: float | None = None
    down: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name in CONDITIONS if (value := getattr(self, name)) is not None}
        if problems := rule_problems(given):
            raise ConfigurationError([f"FaultRule: {problem}" for problem in problems])

    def fits(self, arrival: Arrival) -> bool:
        """Whether it is about such requests."""
        modes = (self.mode,) if isinstance(self.mode, str) else self.mode
        kinds = {
            "calls": not arrival.get,
            "streams": not arrival.get and arrival.stream,
            "unary": not arrival.get and not arrival.stream,
            "gets": arrival.get,
            "all": True,
        }
        return (
            kinds[self.requests]
            and (modes is None or arrival.mode in modes)
            and (self.model is None or arrival.model == self.model)
            and (self.path is None or arrival.path.startswith(self.path))
        )

    def in_time(self, moment: float) -> bool:
        """Whether its time is now."""
        if moment < (self.since or 0.0) or (self.until is not None and moment >= self.until):
            return False
        if self.down is None:
            return True
        up = self.up or 0.0
        return (moment - (self.since or 0.0)) % (up + self.down) >= up

    def chosen(self, number: int, chance: float) -> bool:
        """Whether it happens to its request of this number; `chance` is from 0 to below 1."""
        return (
            (self.on is None or any(first <= number <= last for first, last in _ranges(self.on)))
            and (self.every is None or number % self.every == 0)
            and (self.probability is None or chance < self.probability)
        )

    def next_change(self, moment: float) -> float | None:
        """When `in_time` may answer differently, after `moment`; None if never."""
        since, times = self.since or 0.0, [self.since or 0.0, self.until]
        if self.down is not None:
            up = self.up or 0.0
            began = since + (max(0.0, moment - since) // (up + self.down)) * (up + self.down)
            times += [began + up, began + up + self.down]
        return min((time for time in times if time is not None and time > moment), default=None)

    @property
    def everybody(self) -> bool:
        """It depends on nothing but the time."""
        return all(
            getattr(self, name) is None for name in ("mode", "model", "path", "on", "every", "probability")
        ) and self.requests in ("calls", "all")

    def as_table(self) -> dict[str, Any]:
        """The rule as a file writes it."""
        given = {name: getattr(self, name) for name in CONDITIONS}
        said = {k: v for k, v in given.items() if v is not None and (k, v) != ("requests", "calls")}
        return {**self.fault.as_table(), **said}


CONDITIONS: tuple[str, ...] = tuple(each.name for each in fields(FaultRule) if each.name != "fault")

Faults: TypeAlias = "FaultPlan | FaultRule | Fault | Iterable[FaultRule | Fault]"
"""What may be given where faults are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """Rules in order: the first one that fires wins. Those in front of the provider are asked first.

    Attributes:
        seed: of the probabilities; None takes the world's.
    """

    rules: tuple[FaultRule, ...] = ()
    seed: int | None = None

    @staticmethod
    def of(faults: Faults | None, *, seed: int | None = None) -> FaultPlan:
        """A plan of one fault or several, each with its rule or happening always."""
        if isinstance(faults, FaultPlan):
            return faults
        if faults is None:
            return FaultPlan(seed=seed)
        several = (faults,) if isinstance(faults, Fault | FaultRule) else tuple(faults)
        rules = tuple(FaultRule(fault=each) if isinstance(each, Fault) else each for each in several)
        return FaultPlan(rules=rules, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """A rule of a plan: how many requests it was about, and to how many its fault happened."""

    rule: FaultRule
    counted: int
    fired: int


@dataclass(slots=True)
class _Count:
    counted: int = 0
    fired: int = 0


@dataclass(slots=True)
class FaultChooser:
    """A plan at work: counts requests, and says what happens to each. Same seed and requests, same faults."""

    plan: FaultPlan
    seed: int
    _counts: list[_Count] = field(init=False)

    def __post_init__(self) -> None:
        self._counts = [_Count() for _ in self.plan.rules]
        if self.plan.seed is not None:
            self.seed = self.plan.seed

    def before(self, arrival: Arrival, moment: float) -> Fault | None:
        """What happens in front of the provider, if anything does."""
        return self._choose(arrival, moment, front=True)

    def after(self, arrival: Arrival, moment: float) -> Fault | None:
        """What happens to the answer; asked only where the provider answers, and with success."""
        return self._choose(arrival, moment, front=False)

    def refusing(self, moment: float) -> bool:
        """Whether nobody at all is let in."""
        return any(rule.in_time(moment) for rule in self._refusals())

    def next_change(self, moment: float) -> float | None:
        """When `refusing` may answer differently, after `moment`; None if never."""
        changes = (rule.next_change(moment) for rule in self._refusals())
        return min((change for change in changes if change is not None), default=None)

    def fired(self) -> tuple[Fired, ...]:
        """What the rules have done so far, in their order."""
        return tuple(
            Fired(rule=rule, counted=count.counted, fired=count.fired)
            for rule, count in zip(self.plan.rules, self._counts, strict=True)
        )

    def _choose(self, arrival: Arrival, moment: float, *, front: bool) -> Fault | None:
        fault: Fault | None = None
        for index, rule in enumerate(self.plan.rules):
            if (rule.fault.kind in BEFORE_THE_ANSWER) is not front:
                continue
            if not rule.fits(arrival) or not rule.in_time(moment):
                continue
            count = self._counts[index]
            count.counted += 1
            chance = 0.0
            if rule.probability is not None:  # a number of its own, whatever other rules draw
                chance = Random(f"{self.seed} fault {index} {count.counted}").random()
            if fault is None and rule.chosen(count.counted, chance):
                count.fired += 1
                fault = rule.fault
        return fault

    def _refusals(self) -> Iterable[FaultRule]:
        return (rule for rule in self.plan.rules if rule.fault.kind == "refuse" and rule.everybody)


def rule_of(fault: Fault, conditions: Mapping[str, object]) -> FaultRule:
    """A rule of conditions by name.

    Raises:
        ConfigurationError: naming everything that is wrong.
    """
    if problems := rule_problems(conditions):
        raise ConfigurationError([f"FaultRule: {problem}" for problem in problems])
    return FaultRule(fault=fault, **cast("dict[str, Any]", conditions))


def rule_problems(given: Mapping[str, object]) -> list[str]:
    """What is wrong with these conditions, a sentence each."""
    problems: list[str] = []
    for name, value in given.items():
        if name not in CONDITIONS:
            near = did_you_mean(name, CONDITIONS)
            hint = f"did you mean {near}?" if near else f"use {', '.join(CONDITIONS)}"
            problems.append(f"{name}: no such condition; {hint}")
        elif (wrong := _wrong(name, value)) is not None:
            shown = f"={value!r}" if isinstance(value, str | int | float) else ""
            problems.append(f"{name}{shown}: must be {wrong}" + ("" if shown else f", not {found(value)}"))
    if ("up" in given) != ("down" in given):
        problems.append("up and down belong together: well for so long, then at fault for so long")
    since, until = given.get("since", 0), given.get("until")
    if _is_number(since) and _is_number(until) and cast("float", until) <= cast("float", since):
        problems.append("until: must be later than since")
    return problems


def _wrong(name: str, value: object) -> str | None:
    """What the condition must be, where it is not."""
    if name == "mode":
        modes = cast("Sequence[object]", value if isinstance(value, list | tuple) else (value,))
        return (
            None
            if modes and all(mode in MODES for mode in modes)
            else f"one of {', '.join(MODES)}, or a list"
        )
    if name in ("model", "path"):
        return None if isinstance(value, str) and value else "text"
    if name == "requests":
        return None if value in get_args(Requests) else f"one of {', '.join(get_args(Requests))}"
    if name == "on":
        numbers = cast("Sequence[object]", value if isinstance(value, list | tuple) else (value,))
        right = bool(numbers) and all(_is_range(each) for each in numbers)
        return None if right else 'a number from 1, "2-4", "5-", or a list of these'
    if name == "every":
        right = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        return None if right else "a whole number from 1"
    if name == "probability":
        return None if _is_number(value) and 0 <= cast("float", value) <= 1 else "a number from 0 to 1"
    if name == "down":
        return None if _is_number(value) and cast("float", value) > 0 else "a number of seconds above 0"
    return None if _is_number(value) and cast("float", value) >= 0 else "a number of seconds from 0"


def _is_number(value: object) -> bool:
    finite = isinstance(value, int | float) and abs(value) < float("inf")
    return finite and not isinstance(value, bool)


def _is_range(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value >= 1
    found = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return False
    first, last = int(found[1]), found[3]
    return first >= 1 and (not last or int(last) >= first)


def _ranges(on: int | str | Sequence[int | str]) -> Iterable[tuple[int, float]]:
    for each in (on,) if isinstance(on, int | str) else on:
        first, dash, last = str(each).partition("-")
        yield int(first), float(last) if last else float("inf") if dash else int(first)
