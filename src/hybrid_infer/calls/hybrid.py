"""Hybrid: what `reply.hybrid` tells about a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hybrid_infer.calls.call import Call, Mode
from hybrid_infer.calls.money import Cost, Usage
from hybrid_infer.calls.reply import Facts, RawResponse

CacheUse = Literal["off"]

OPEN = Cost(amount=None, basis="unknown", reason="the answer has not ended yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid:
    """How an answer came about. Times are seconds.

    Attributes:
        mode, target: where the last attempt went; None if there was none.
        model: the model that answered, in the provider's words.
        attempts: requests made on behalf of the call, probes of a cold machine left out.
        latency: from the call's start to the end of its answer; None while a stream is open.
        time_to_first_token: to the first piece of content; None for answers that were not streamed.
        cold_start: the call met a machine that was not running.
        cold_wait: how long it waited for it.
        cost: what was billed for all attempts together.
        usage: tokens of the answer; marked where they are an estimate.
        cache: whether an answer was looked for nearer by.
        why: how the target was chosen, a sentence a step.
        warnings: what the caller should know although the call succeeded.
        request_id: the provider's id, to give to its support.
        raw: status, headers and (for answers that were not streamed) body as received.
    """

    mode: Mode | None
    target: str | None
    model: str | None
    attempts: int
    latency: float | None
    time_to_first_token: float | None
    cold_start: bool
    cold_wait: float
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
        last = tally.attempts[-1] if tally.attempts else None
        first = facts.first_token if facts else None
        return cls(
            mode=last.target.mode if last else None,
            target=last.target.name if last else None,
            model=(facts.model if facts else None) or (last.target.model if last else call.model),
            attempts=len(tally.attempts),
            latency=tally.latency,
            time_to_first_token=None if first is None else first - tally.started,
            cold_start=tally.cold_start,
            cold_wait=tally.cold_wait,
            cost=tally.cost or OPEN,
            usage=facts.usage if facts else None,
            cache="off",
            why=tuple(tally.why),
            warnings=tuple(tally.warnings),
            request_id=(last.request_id if last else None)
            or (facts.raw.request_id if facts and facts.raw else None),
            raw=facts.raw if facts else None,
        )
