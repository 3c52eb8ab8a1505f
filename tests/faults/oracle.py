"""Judges what came of a case. It knows the right answer, the faults and the rules, not the client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from faults.cases import RETRIES, Case
from faults.natures import Nature, nature_of
from faults.observed import Answered, Failed, Observed
from faults.stage import Arrived
from hybrid_infer.calls.call import Mode
from hybrid_infer.errors import APIError, DeadlineExceededError, InternalServerError

Outcome = Literal["rescued", "failed clearly", "partial kept", "wrong"]
OUTCOMES: tuple[Outcome, ...] = ("rescued", "failed clearly", "partial kept", "wrong")

Right = Mapping[tuple[Mode, bool], Answered]

LONGEST_BACKOFF = 0.5 + 1.0
"""Seconds that the waits before two repeats may add up to, where nobody asked for more."""

PROBE_EVERY = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a case, and everything that is wrong with it."""

    outcome: Outcome
    problems: tuple[str, ...] = ()


def judge(case: Case, seen: Observed, right: Right) -> Verdict:
    """The verdict. Whatever is not exactly right is wrong.

    Args:
        right: the complete answers, by mode and whether they are streamed.
    """
    outcome = _outcome(seen)
    problems = [
        *_of_the_outcome(case, seen, right, outcome),
        *_of_the_attempts(case, seen),
        *_of_the_waits(case, seen),
        *_of_the_time(case, seen),
        *_of_the_records(case, seen),
        *(f"left behind: {thing}" for thing in seen.left),
    ]
    if seen.next not in [right[mode, False] for mode in case.modes]:
        problems.append(f"the next call, without faults, came to {seen.next}")
    return Verdict(outcome="wrong" if problems else outcome, problems=tuple(problems))


def _outcome(seen: Observed) -> Outcome:
    if seen.failure is None:
        return "rescued"
    return "partial kept" if seen.failure.partial else "failed clearly"


def natures(case: Case) -> list[Nature]:
    """What each target is to the case, as long as its faults last."""
    own = [nature_of(case.rule.fault, case.shape, mode, case.pace) for mode in case.modes]
    if case.reach.startswith("first, "):
        own[1] = Nature(end="passing", error=InternalServerError, billed=False, status=500)
    return own


def expected(case: Case) -> set[Outcome]:
    """The outcomes that are right."""
    first = natures(case)[0]
    if first.end == "harmless":
        return {"rescued"}
    if first.end == "mistake":
        return {"failed clearly"}
    if first.end == "break" and case.shape == "stream":
        return {"partial kept"}
    alone = len(case.modes) == 1
    kept: Outcome = "partial kept"
    lost: set[Outcome] = {kept if each.end == "break" else "failed clearly" for each in natures(case)}
    match case.reach:
        case "once" if alone and (first.end == "local" or first.wait > case.pace.total):
            return {"failed clearly"}
        case "once" | "first" if not (alone and case.reach == "first"):
            return {"rescued"}
        case "first, others fail once":
            # Whoever may not, or need not, ask the first again asks the other once more.
            certain = first.end in ("local", "cold") or first.silent
            return {"rescued"} if certain else {"rescued", *lost}
        case "first, others fail" if first.end == "cold":
            return {"rescued"}  # it comes up in time, and nobody else answers
        case _:
            return lost


def _of_the_outcome(case: Case, seen: Observed, right: Right, outcome: Outcome) -> Iterator[str]:
    if outcome not in expected(case):
        yield f"{outcome}, and not {' or '.join(sorted(expected(case)))}"
    last = [request.mode for request in seen.arrived if request.asked][-1:]
    answer = right[last[0] if last else case.modes[0], case.shape != "unary"]
    whole = answer.text or ""
    for reset in seen.resets:
        if reset.told != reset.had:
            yield f"a reset spoke of {reset.told!r}, and what had come was {reset.had!r}"
        if not whole.startswith(reset.had):
            yield f"not a beginning of the right answer: {reset.had!r}"
    if seen.resets and case.shape != "restart":
        yield "a reset that nobody asked for"
    if seen.hybrid is None:
        yield "nothing is told of the call (hybrid)"
    elif seen.hybrid.restarts - len(seen.resets) not in ((0,) if seen.failure is None else (0, 1)):
        yield f"{len(seen.resets)} resets, and {seen.hybrid.restarts} are told of"
    if seen.failure is not None:
        yield from _of_the_failure(case, seen, seen.failure, whole)
    elif seen.answer is None:
        yield "neither an answer nor an error"
    else:
        if seen.answer != answer:
            yield f"taken for the answer: {seen.answer}"
        if seen.read != whole:
            yield f"read as the answer: {seen.read!r}"
        warnings = () if seen.hybrid is None else seen.hybrid.warnings
        if _is_garbled(seen) and not any("skipped" in warning for warning in warnings):
            yield "an event was passed over in silence"


def _is_garbled(seen: Observed) -> bool:
    """Whether the last request met an event that is none."""
    last = [request.fault for request in seen.arrived if request.asked][-1:]
    return any(fault is not None and fault.kind == "malformed_event" for fault in last)


def _of_the_failure(case: Case, seen: Observed, failure: Failed, whole: str) -> Iterator[str]:
    if not issubclass(failure.kind, APIError):
        yield f"not of our tree: {failure.kind.__name__}: {failure.text}"
        return
    right = [nature.error for nature in natures(case) if nature.error is not None]
    at_the_end = seen.seconds >= case.pace.total - case.pace.rounding
    if failure.kind not in right and not (at_the_end and failure.kind is DeadlineExceededError):
        yield f"{failure.kind.__name__}, and not {' or '.join(sorted({kind.__name__ for kind in right}))}"
    if failure.foreign:
        yield f"leads to {', '.join(failure.foreign)}"
    if not failure.message.strip() or failure.message not in failure.text:
        yield f"says nothing: {failure.text!r}"
    if not any(mode in (failure.where or "") for mode in case.modes):
        yield f"does not say where: {failure.where!r}"
    known = [nature.status for nature in natures(case) if nature.error is failure.kind]
    if failure.status is None and failure.hint is None and known != [None] * len(known):
        yield "gives neither a status nor a hint"
    if failure.status is not None and known and failure.status not in known:
        yield f"status {failure.status}, and not {known}"
    last = seen.history[-1] if seen.history else None
    if last is not None and last.billed is not failure.billed:
        yield f"billed={failure.billed}, and {last.billed} for its last attempt"
    if not whole.startswith(failure.partial or "") or (failure.partial or "") != seen.read:
        yield f"kept {failure.partial!r} of what had come: {seen.read!r}"


def _of_the_attempts(case: Case, seen: Observed) -> Iterator[str]:
    """Where the requests went, and how many there were."""
    went = [request.mode for request in seen.arrived if request.asked]
    if case.routing == "hedged":
        if went != 2 * [case.modes[0]]:
            yield f"went to {went}, and not twice to {case.modes[0]}"
        return
    first, *others = case.modes
    own, end = natures(case), natures(case)[0].end
    retries = case.retries
    if not went or went[0] != first:
        yield f"went first to {went[:1]}, and not to {first}"
    if any(mode not in case.modes for mode in went):
        yield f"went where it may not: {went}"
    if end in ("harmless", "mistake") or (end == "break" and case.shape == "stream"):
        most = 1
    elif end == "cold":
        most = 2 * len(case.modes) + retries  # a machine is asked, waited for and asked again
    elif end == "local":
        most = len(case.modes) + (retries if len(case.modes) > 1 else 0)
    else:
        most = len(case.modes) + retries
    if len(went) > most:
        yield f"{len(went)} attempts, and {most} at most"
    if others and most > 1 and case.reach != "once" and others[0] not in went:
        yield f"never went to {others[0]}"
    if others and most > 1 and end != "cold" and len(went) > 1 and went[1] != others[0]:
        yield f"went to {went[1]} again before {others[0]}"
    for mode, nature in zip(case.modes, own, strict=True):
        again = went.count(mode) > 1
        if again and nature.end == "local" and case.reach != "once":
            yield f"asked {mode} again, which would refuse again"
        if again and nature.silent and others and any(not each.silent for each in own):
            yield f"asked {mode} again, which kept silent"
    enough = [first, *others[:1]]
    comes_and_goes = case.begin > 0 or end == "cold"
    at_once = most > 1 and bool(others) and not comes_and_goes and case.reach in ("once", "first")
    if seen.failure is None and at_once and went != enough:
        yield f"took {went} where the first try of another was enough"


def _of_the_waits(case: Case, seen: Observed) -> Iterator[str]:
    """No request may come earlier than its target asked for, and probes not in a row."""
    not_before: dict[Mode, float] = {}
    probed: dict[Mode, float] = {}
    for request in seen.arrived:
        if request.probe:
            if request.at < probed.get(request.mode, 0.0) + PROBE_EVERY - case.pace.rounding:
                yield f"probed {request.mode} after less than {PROBE_EVERY:g} s"
            probed[request.mode] = request.at
            continue
        early = not_before.get(request.mode, 0.0) - request.at
        if early > case.pace.rounding:
            yield f"hammering: {request.mode} was asked {early:.2f} s earlier than it said"
        if request.fault is not None:
            wait = _nature(case, request).wait
            not_before[request.mode] = max(not_before.get(request.mode, 0.0), request.at + wait)


def _of_the_time(case: Case, seen: Observed) -> Iterator[str]:
    """Not beyond the deadline, and no longer than the faults, the hints and the back-off explain."""
    pace = case.pace
    if seen.seconds > pace.total + pace.deadline:
        yield f"took {seen.seconds:.3f} s, and had {pace.total:g} s"
    own = natures(case)
    went = [request for request in seen.arrived if request.asked]
    takes = sum(_nature(case, request).takes for request in went)
    repeats = max(0, len(went) - len(case.modes))
    if case.routing == "hedged":
        takes, repeats = pace.answer, 0
    waits = LONGEST_BACKOFF if repeats else 0.0
    if case.retries > RETRIES:
        waits = 8.0 * repeats
    asked = [nature.wait for nature in own if 0 < nature.wait <= pace.total]
    if asked:
        waits += repeats * (max(asked) + 1.0)  # a date is in whole seconds
    if own[0].end == "cold" and not (case.routing == "hybrid" and case.reach == "first"):
        waits += sum(pace.cold_start for nature in own if nature.end == "cold")
    if seen.seconds > takes + waits + pace.answer:
        yield f"took {seen.seconds:.2f} s where {takes + waits + pace.answer:.2f} s are enough"


def _of_the_records(case: Case, seen: Observed) -> Iterator[str]:
    """The Tally equals what the providers saw, one by one."""
    pace = case.pace
    went = [request for request in seen.arrived if request.asked]
    tried = seen.history
    if [request.mode for request in went] != [each.target.split("/")[0] for each in tried]:
        yield f"the history tells of {[each.target for each in tried]}, and {[r.mode for r in went]} came"
        return
    for number, (request, each) in enumerate(zip(went, tried, strict=True), 1):
        nature = _nature(case, request)
        error = None if nature.error is None else nature.error.__name__
        was, told = (error, nature.status, nature.billed), (each.error, each.status, each.billed)
        cut = each.error == DeadlineExceededError.__name__ and seen.seconds >= pace.total - pace.rounding
        if case.routing == "hedged" and request.fault is not None:
            if not each.lost or each.billed is not None:
                yield f"attempt {number} lost the race, and is told as lost={each.lost}, {each.billed=}"
        elif told != was and not cut:
            yield f"attempt {number} is told as {told}, and was {was}"
        elif each.seconds is None or each.lost:
            yield f"attempt {number} is still open, or lost to nobody"
        began = each.began + seen.began
        if abs(began - request.at) > pace.rounding:
            yield f"attempt {number} began at {began:.3f} s, and came at {request.at:.3f} s"


def _nature(case: Case, request: Arrived) -> Nature:
    """What the request met."""
    if request.fault is None:
        return Nature(end="harmless", billed=True, status=200)
    return nature_of(request.fault, case.shape, request.mode, case.pace)
