"""Verify: whether a new mode answers as the old one does, from pairs of answers. Pure, but for `verify`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Any, TypeAlias

from hybrid_infer.errors import InvalidCallError
from hybrid_infer.migrating.prompts import Prompt

_WORDS = 1500
"""As many are compared: the time it takes grows with their square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far the new mode may be from the old one. None is no limit.

    Attributes:
        similarity: least `similarity` of two answers, 0 to 1.
        length: how many times longer an answer may be than the other, either way.
        tolerated: share of the prompts whose answers may miss `similarity` or `length`, 0 to 1: the same
            weights on other hardware do not say the same to the letter.
        latency: how many times the median time of the old the new one may take.
        cost: how many times the old's cost the new one may have. None by default: on a machine, calls that
            are alone on it cost far more than those of a busy hour.
    """

    similarity: float | None = 0.5
    length: float | None = 2.0
    tolerated: float = 0.15
    latency: float | None = 2.0
    cost: float | None = None

    def check(self) -> None:
        """Raises InvalidCallError where one of them cannot be meant."""
        for name, most in (("similarity", 1.0), ("tolerated", 1.0)):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= most:
                raise InvalidCallError(f"limits: {name}={value!r}: must be 0 to 1")
        for name, least in (("length", 1.0), ("latency", 0.0), ("cost", 0.0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise InvalidCallError(f"limits: {name}={value!r}: must be {least:g} or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one mode said to a prompt. None is unknown.

    Attributes:
        error: why there is no answer.
        fits: whether it fits the `response_format`; None where none was asked for.
    """

    text: str | None = None
    error: str | None = None
    fits: bool | None = None
    seconds: float | None = None
    tokens: int | None = None
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One prompt and both answers. Ratios are new to old; None where one of the two is unknown.

    Attributes:
        similarity: 1 is the same text.
        problems: what is wrong with the new answer, a sentence each.
        deviates: it misses `Limits.similarity` or `Limits.length`, of which some may be tolerated.
    """

    prompt: Prompt
    old: Answered
    new: Answered
    similarity: float | None = None
    length_ratio: float | None = None
    latency_ratio: float | None = None
    cost_ratio: float | None = None
    problems: tuple[str, ...] = ()
    deviates: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether the new mode may take over.

    Attributes:
        reasons: why not, a sentence each; empty where it passed.
        rows: one for each prompt, in their order.
        similarity: mean of the rows; None where nothing could be compared.
        length_ratio, latency_ratio, cost_ratio: of all rows together, new to old; None is unknown.
    """

    passed: bool
    reasons: tuple[str, ...]
    rows: tuple[Row, ...]
    similarity: float | None = None
    length_ratio: float | None = None
    latency_ratio: float | None = None
    cost_ratio: float | None = None


Ask: TypeAlias = Callable[[Prompt], Coroutine[Any, Any, Answered]]


async def verify(prompts: Sequence[Prompt], old: Ask, new: Ask, limits: Limits) -> Verification:
    """Ask both, one prompt after the other, and compare."""
    pairs: list[tuple[Prompt, Answered, Answered]] = []
    for prompt in prompts:
        pairs.append((prompt, await old(prompt), await new(prompt)))
    return compared(pairs, limits)


def similarity(one: str, other: str) -> float:
    """How alike two texts are, 0 to 1: twice the words they share in order, by the words of both.

    `difflib.SequenceMatcher.ratio` over the first 1500 words of each; 1 for the same words.
    """
    left, right = one.split()[:_WORDS], other.split()[:_WORDS]
    if left == right:
        return 1.0
    return SequenceMatcher(None, left, right, autojunk=False).ratio()


def compared(pairs: Sequence[tuple[Prompt, Answered, Answered]], limits: Limits) -> Verification:
    """The decision. Refused as soon as one limit is missed, or where nothing could be compared.

    What the old mode could not answer is nothing to compare with. What the new one alone cannot answer, or
    does not fit its schema while the old one does, refuses it.
    """
    rows = tuple(_row(prompt, old, new, limits) for prompt, old, new in pairs)
    reasons = [
        f"prompt {number}: {problem}"
        for number, row in enumerate(rows, 1)
        if not row.deviates
        for problem in row.problems
    ]
    both = [row for row in rows if row.old.error is None and row.new.error is None]
    if not any(row.old.error is None for row in rows):
        why = next((f": {row.old.error}" for row in rows), "")
        reasons.append(f"nothing can be compared: the old mode answered none of the prompts{why}")
    away = [(number, row) for number, row in enumerate(rows, 1) if row.deviates]
    if both and len(away) > limits.tolerated * len(both):
        first, row = away[0]
        reasons.append(
            f"{len(away)} of {len(both)} answers differ too much ({limits.tolerated:.0%} may); "
            f"prompt {first}: {'; '.join(row.problems)}"
        )
    latency = _ratio(_median(row.new.seconds for row in both), _median(row.old.seconds for row in both))
    length = _ratio(_sum(_length(row, row.new) for row in both), _sum(_length(row, row.old) for row in both))
    cost = _ratio(_sum(row.new.cost for row in both), _sum(row.old.cost for row in both))
    if latency is not None and limits.latency is not None and latency > limits.latency:
        reasons.append(f"it takes {latency:.1f} times as long (median; {limits.latency:g} times at most)")
    if limits.cost is not None and both:
        if cost is None:
            reasons.append("what it costs cannot be compared: the cost of an answer is unknown")
        elif cost > limits.cost:
            reasons.append(f"it costs {cost:.1f} times as much ({limits.cost:g} times at most)")
    alike = [row.similarity for row in both if row.similarity is not None]
    return Verification(
        passed=not reasons,
        reasons=tuple(reasons),
        rows=rows,
        similarity=statistics.fmean(alike) if alike else None,
        length_ratio=length,
        latency_ratio=latency,
        cost_ratio=cost,
    )


def _row(prompt: Prompt, old: Answered, new: Answered, limits: Limits) -> Row:
    if old.error is not None:
        return Row(prompt=prompt, old=old, new=new)
    if new.error is not None:
        return Row(prompt=prompt, old=old, new=new, problems=(f"only the old mode answers: {new.error}",))
    if old.fits and new.fits is False:
        return Row(prompt=prompt, old=old, new=new, problems=("the answer does not fit the schema",))
    alike = similarity(old.text or "", new.text or "")
    pair = Row(prompt=prompt, old=old, new=new)
    length = _ratio(_length(pair, new), _length(pair, old))
    problems: list[str] = []
    if limits.similarity is not None and alike < limits.similarity:
        problems.append(f"the answers are {alike:.2f} alike ({limits.similarity:g} at least)")
    if length is not None and limits.length is not None and not 1 / limits.length <= length <= limits.length:
        problems.append(f"the answer has {length:.1f} times the length ({limits.length:g} at most)")
    return Row(
        prompt=prompt,
        old=old,
        new=new,
        similarity=alike,
        length_ratio=length,
        latency_ratio=_ratio(new.seconds, old.seconds),
        cost_ratio=_ratio(new.cost, old.cost),
        problems=tuple(problems),
        deviates=bool(problems),
    )


def _length(row: Row, answer: Answered) -> int:
    """In tokens where both are counted, else in characters."""
    if row.old.tokens is None or row.new.tokens is None:
        return len(answer.text or "")
    return answer.tokens or 0


def _ratio(new: float | Decimal | None, old: float | Decimal | None) -> float | None:
    return None if new is None or not old else float(new) / float(old)


def _median(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _sum(values: Any) -> Any:
    """None where one of them is."""
    found = list(values)
    return None if not found or None in found else sum(found)
