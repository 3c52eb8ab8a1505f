"""The table: a row a case, a summary a fault, and the number of what is wrong in the last line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from faults.cases import Case
from faults.observed import Observed
from faults.oracle import OUTCOMES, Outcome, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case as the table shows it. Times are the client's seconds."""

    fault: str
    case: str
    outcome: Outcome
    attempts: tuple[tuple[str, int], ...]
    seconds: float
    deadline: float
    error: str | None
    problems: tuple[str, ...]

    @classmethod
    def of(cls, case: Case, seen: Observed, verdict: Verdict) -> Row:
        went = Counter(request.mode for request in seen.arrived if request.asked)
        return cls(
            fault=case.fault,
            case=str(case),
            outcome=verdict.outcome,
            attempts=tuple((mode, went[mode]) for mode in case.modes),
            seconds=round(seen.seconds, 3),
            deadline=case.pace.total,
            error=None if seen.failure is None else seen.failure.kind.__name__,
            problems=verdict.problems,
        )


def table(rows: Sequence[Row]) -> Iterator[str]:
    """All of it, line by line."""
    faults = list(dict.fromkeys(row.fault for row in rows))
    width = max([len("fault"), *map(len, faults)])
    case_width = max([len("case"), *(len(row.case) for row in rows)])
    heads = f"{'fault':<{width}}  {'case':<{case_width}}  {'outcome':<14}  {'attempts':<8}  seconds"
    yield heads
    yield "-" * len(heads)
    for row in rows:
        attempts = " + ".join(str(count) for _, count in row.attempts)
        yield (
            f"{row.fault:<{width}}  {row.case:<{case_width}}  {row.outcome:<14}  {attempts:<8}  "
            f"{row.seconds:7.2f} of {row.deadline:g}" + (f"  {row.error}" if row.error else "")
        )
        yield from (f"    wrong: {problem}" for problem in row.problems)
    yield ""
    yield from summary(rows)
    yield ""
    yield last_line(rows)


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each fault."""
    faults = list(dict.fromkeys(row.fault for row in rows))
    width = max([len("fault"), *map(len, faults)])
    yield "  ".join([f"{'fault':<{width}}", *(f"{outcome:>14}" for outcome in OUTCOMES), "most attempts"])
    for fault in faults:
        own = [row for row in rows if row.fault == fault]
        yield _counted(fault, own, width)
    yield _counted("all", rows, width)


def last_line(rows: Iterable[Row]) -> str:
    outcomes = [row.outcome for row in rows]
    return f"wrong: {outcomes.count('wrong')} of {len(outcomes)}"


def _counted(name: str, rows: Sequence[Row], width: int) -> str:
    counts = Counter(row.outcome for row in rows)
    most = max((sum(count for _, count in row.attempts) for row in rows), default=0)
    return "  ".join([f"{name:<{width}}", *(f"{counts[each]:>14}" for each in OUTCOMES), f"{most:>13}"])
