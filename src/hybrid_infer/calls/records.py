"""Records: what is kept of a call after it has ended. Figures and names, never what was said.

Times are integer nanoseconds, moments nanoseconds since 1970 (UTC), money integer nano-dollars. None is
unknown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

from hybrid_infer.calls import rows
from hybrid_infer.calls.call import Attempt, Call, Mode
from hybrid_infer.calls.machines import Rate, WaitRecord
from hybrid_infer.calls.money import Cost
from hybrid_infer.calls.reply import Facts
from hybrid_infer.errors import Verdict

SUCCESS, ABANDONED = rows.SUCCESS, rows.ABANDONED
"""How a call ended, unless by an error: that is its name."""

PROCESS_LENGTH = 22
"""How many characters of an id name the process that made it."""

unix_ns = rows.unix_ns


class Ids:
    """Names that nobody else gives, in ascending order: when it began, chance, a number.

    To a ledger each of them stands for a process: somebody who sees his own calls and no others. So each
    client has one of its own, which `renew` makes another one in a forked process.
    """

    __slots__ = ("__weakref__", "_numbers", "process")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.process = f"{unix_ns(datetime.now(UTC)) // 1_000_000:012x}{os.urandom(5).hex()}"
        self._numbers = count()

    def new(self) -> str:
        return f"{self.process}{next(self._numbers):010x}"


@dataclass(slots=True, kw_only=True)
class AttemptRecord:
    """One request, made on behalf of `call`.

    Attributes:
        number: its place among the attempts of the call, from 0.
        outcome: ``"success"``, ``"abandoned"`` or the name of the error.
        billed: None where nobody can know.
        lost: the other racer of a hedge answered.
        machine: which machine it kept busy, where time is what is paid (see `machine_name`).
        machine_ns: its share of the machine's time, busy or coming up, as far as its own process could see.
        rate: what the machine costs in nano-dollars per hour, all GPUs of a replica together.
    """

    call: str
    number: int
    began_ns: int
    ended_ns: int
    mode: Mode
    target: str
    model: str | None
    outcome: str
    verdict: Verdict | None
    status: int | None
    request_id: str | None
    billed: bool | None
    lost: bool
    lane: int
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    tokens_estimated: bool
    machine: str | None
    machine_ns: int | None
    rate: int | None


@dataclass(slots=True, kw_only=True)
class CallRecord:
    """One call.

    Attributes:
        mode, target, model: where the last attempt went that did not lose; of a call that was not sent,
            where it was to go first. `model` is the provider's name.
        asked_model: the name the caller used.
        outcome: ``"success"``, ``"abandoned"`` or the name of the error.
        attempts: requests made; `tries` holds those that have ended.
        queue_ns, cold_ns: waits for a slot or the rate, and for a machine that was not running.
        cost_nano: None is unknown, and `cost_reason` says why.
        cost_final: False where a correction may follow.
        priced_at: the day the price was read at its source, ISO.
        cache: what a cache nearer by did for it; saved_nano: what an answer from there would have cost.
        tag: the caller's own mark. A ledger keeps a hash of it (`tag_hash`), never the text.
    """

    id: str
    began_ns: int
    latency_ns: int
    first_token_ns: int | None
    queue_ns: int
    cold_ns: int
    cold_start: bool
    operation: str
    stream: bool
    mode: str | None
    target: str | None
    model: str | None
    asked_model: str | None
    purpose: str | None
    outcome: str
    attempts: int
    restarts: int
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    tokens_estimated: bool
    cost_nano: int | None
    cost_basis: str
    cost_estimated: bool
    cost_final: bool
    cost_reason: str | None
    priced_at: str | None
    cache: str | None
    saved_nano: int | None
    simulated: bool
    tag_hash: str | None = None
    tag: str | None = None
    tries: tuple[AttemptRecord, ...] = ()
    waits: tuple[WaitRecord, ...] = ()


@dataclass(slots=True, kw_only=True)
class Correction:
    """What became known of a call's cost after its record was made. The record stays as it is.

    Attributes:
        call: the id of the record; the five after it are copied from there.
        at_ns: when it became known.
        before_nano, before_estimated: the cost as known before.
        cost_nano, cost_estimated: the whole cost of the call as known now.
        reason: what it was that became known.
        tries, waits: those that ended after the record was made.
    """

    id: str
    call: str
    began_ns: int
    mode: str | None
    model: str | None
    purpose: str | None
    simulated: bool
    at_ns: int
    before_nano: int | None
    before_estimated: bool
    cost_nano: int | None
    cost_estimated: bool
    reason: str
    tries: tuple[AttemptRecord, ...] = ()
    waits: tuple[WaitRecord, ...] = ()


_ids = Ids()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.renew)

new_id = _ids.new
"""A new id for a call or a correction. From any thread, and from finalisers."""


def this_process() -> str:
    """What the ids that this process gives begin with."""
    return _ids.process


def outcome_of(error: BaseException | None, *, abandoned: bool = False) -> str:
    """How a call ended, in a word."""
    if error is None:
        return ABANDONED if abandoned else SUCCESS
    return type(error).__name__ if isinstance(error, Exception) else ABANDONED


def call_record(
    call: Call,
    facts: Facts | None,
    cost: Cost,
    *,
    outcome: str,
    now: float,
    wall: datetime,
    rate: Rate,
    id: str | None = None,
    final: bool = True,
    cache: str | None = None,
    saved: Decimal | None = None,
    tag: str | None = None,
) -> CallRecord:
    """The record of a call that has ended, `tally.latency` known.

    It may be made later than it is given: what happens after `now` is not in it.

    Args:
        facts: of its answer, where there is one.
        outcome: see `outcome_of`.
        now, wall: the same moment on `Runtime.now()` and `Runtime.wall()`; it turns one clock into the other.
        id: one that was promised to somebody; otherwise a new one.
    """
    name = id if id is not None else new_id()
    made = rows.call_rows(call, facts, cost, outcome, now, wall, rate, name, final, cache, saved, tag)
    return CallRecord(
        **dict(zip(rows.CALL_COLUMNS, made.row + made.kind, strict=True)),
        tag=tag,
        tries=tuple(_with_names(tried) for tried in made.tries),
        waits=made.waits,
    )


def correction(
    record: CallRecord,
    cost: Cost,
    *,
    reason: str,
    wall: datetime,
    previous: Correction | None = None,
    tries: tuple[AttemptRecord, ...] = (),
    waits: tuple[WaitRecord, ...] = (),
) -> Correction:
    """What is known now of the cost of a call that has its record.

    Args:
        cost: of the whole call, not the difference.
        previous: the correction before this one, where there was one.
        tries, waits: those that have ended since.
    """
    before = record if previous is None else previous
    return Correction(
        id=new_id(),
        call=record.id,
        began_ns=record.began_ns,
        mode=record.mode,
        model=record.model,
        purpose=record.purpose,
        simulated=record.simulated,
        at_ns=unix_ns(wall),
        before_nano=before.cost_nano,
        before_estimated=before.cost_estimated,
        cost_nano=rows.nano(cost.amount),
        cost_estimated=cost.estimated,
        reason=reason,
        tries=tries,
        waits=waits,
    )


def attempt_record(call: str, number: int, attempt: Attempt, shift: int, rate: Rate) -> AttemptRecord:
    """The record of an attempt that has ended.

    Args:
        call: the id of the call's record.
        shift: nanoseconds from `Runtime.now()` to the time since 1970.
    """
    return _with_names(rows.attempt_rows(call, number, attempt, shift, rate))


def _with_names(tried: rows.AttemptRows) -> AttemptRecord:
    row, kind, machine = tried
    return AttemptRecord(**dict(zip(rows.ATTEMPT_COLUMNS, row + kind, strict=True)), machine=machine)
