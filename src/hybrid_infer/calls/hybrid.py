"""Hybrid: what `reply.hybrid` tells about a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hybrid_infer.calls.cached import CacheUse
from hybrid_infer.calls.call import Attempt, Call, Mode
from hybrid_infer.calls.money import Cost, Usage
from hybrid_infer.calls.reply import Facts, RawResponse
from hybrid_infer.errors import Verdict

OPEN = Cost(amount=None, basis="unknown", reason="the answer has not ended yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One request made on behalf of a call. Times are seconds.

    Attributes:
        began: since the call's start.
        seconds: how long it took; None while it is open.
        error: the name of its error; None where there was none.
        verdict: what the outcome meant; None while it is open, or where the caller gave it up.
        billed: None where nobody can know.
        lost: the other racer of a hedge answered.
    """

    target: str
    began: float
    seconds: float | None
    status: int | None
    error: str | None
    verdict: Verdict | None
    billed: bool | None
    lost: bool
    request_id: str | None

    @classmethod
    def of(cls, attempt: Attempt, started: float) -> Tried:
        return cls(
            target=attempt.target.name,
            began=attempt.started - started,
            seconds=None if attempt.ended is None else attempt.ended - attempt.started,
            status=attempt.status,
            error=attempt.error,
            verdict=attempt.verdict,
            billed=attempt.billed,
            lost=attempt.lost,
            request_id=attempt.request_id,
        )


class Later:
    """A `Hybrid` that is worked out when it is looked at: most never are.

    Copied or pickled it is the `Hybrid` itself.
    """

    __slots__ = ("_call", "_facts")

    def __init__(self, call: Call, facts: Facts | None) -> None:
        self._call, self._facts = call, facts

    def now(self) -> Hybrid:
        return Hybrid.of(self._call, self._facts)

    def __copy__(self) -> Hybrid:
        return self.now()

    def __deepcopy__(self, _: object) -> Hybrid:
        return self.now()

    def __reduce__(self) -> tuple[Callable[[Hybrid], Hybrid], tuple[Hybrid]]:
        return _itself, (self.now(),)


def _itself(hybrid: Hybrid) -> Hybrid:
    return hybrid


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid:
    """How an answer came about. Times are seconds.

    Attributes:
        mode, target: where the last attempt went; of a stored or shared answer, who gave it; None if there
            was neither.
        model: the model that answered, in the provider's words.
        attempts: requests made on behalf of the call, probes of a cold machine left out.
        history: each of them: where it went and what came of it.
        restarts: how often a broken stream was asked for again from its beginning.
        latency: from the call's start to the end of its answer; None while a stream is open.
        time_to_first_token: to the first piece of content; None for answers that were not streamed.
        cold_start: the call met a machine that was not running.
        cold_wait: how long it waited for it.
        queue_wait: how long it waited for a slot or for the rate, within this client's limits.
        cost: what was billed for all attempts together.
        usage: tokens of the answer; marked where they are an estimate.
        cache: what a cache nearer by did: ``off``, ``miss``, ``hit``, ``shared`` or ``stale``.
        why: how the target was chosen, a sentence a step.
        warnings: what the caller should know although the call succeeded.
        request_id: the provider's id, to give to its support.
        raw: status, headers and (for answers that were not streamed) body as received.
    """

    mode: Mode | None
    target: str | None
    model: str | None
    attempts: int
    history: tuple[Tried, ...]
    restarts: int
    latency: float | None
    time_to_first_token: float | None
    cold_start: bool
    cold_wait: float
    queue_wait: float
    cost: Cost
    usage: Usage | None
    cache: CacheUse
    why: tuple[str, ...]
    warnings: tuple[str, ...]
    request_id: str | None
    raw: RawResponse | None = field(repr=False)

    @classmethod
    def of(cls, call: Call, facts: Facts | None) -> Hybrid:
        """What is known of `call` now; `facts` of its answer, where there is one."""
        tally = call.tally
        last: Attempt | None = None
        for attempt in tally.attempts:
            if not attempt.lost:
                last = attempt
        first = facts.first_token if facts else None
        served = tally.served
        return cls(
            mode=served.mode if served else last.target.mode if last else None,
            target=served.target if served else last.target.name if last else None,
            model=(facts.model if facts else None) or (last.target.model if last else call.model),
            attempts=len(tally.attempts),
            history=tuple(Tried.of(attempt, tally.started) for attempt in tally.attempts)
            if tally.attempts
            else (),
            restarts=tally.restarts,
            latency=tally.latency,
            time_to_first_token=None if first is None else first - tally.started,
            cold_start=tally.cold_start,
            cold_wait=tally.cold_wait,
            queue_wait=tally.queue_wait,
            cost=tally.cost or OPEN,
            usage=facts.usage if facts else None,
            cache=tally.cache,
            why=tuple(tally.why),
            warnings=tuple(tally.warnings),
            request_id=(last.request_id if last else None)
            or (facts.raw.request_id if facts and facts.raw else None),
            raw=facts.raw if facts else None,
        )
