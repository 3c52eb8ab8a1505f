"""Rows: a call that has ended, as plain tuples of what a ledger keeps of it.

They are made of every call, so what takes a microsecond here takes it always; records with names take three
times as long. `records` has the same with names, and says what the columns mean.

Times are integer nanoseconds, moments nanoseconds since 1970 (UTC), money integer nano-dollars. None is
unknown.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from hybrid_infer.calls.call import Attempt, Call
from hybrid_infer.calls.machines import Rate, WaitRecord, machine_name, wait_record
from hybrid_infer.calls.money import NANO, Cost, Usage
from hybrid_infer.calls.reply import Facts

SUCCESS = "success"
ABANDONED = "abandoned"
"""The caller gave it up: closed or dropped a stream, cancelled the task, interrupted the program."""

CALL_ROW = (
    *("id", "began_ns", "latency_ns", "first_token_ns", "queue_ns", "cold_ns"),
    *("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"),
    *("cost_nano", "saved_nano", "tag_hash"),
)
CALL_KIND = (
    *("operation", "stream", "mode", "target", "model", "asked_model", "purpose", "simulated"),
    *("outcome", "attempts", "restarts", "cold_start", "tokens_estimated", "cache"),
    *("cost_basis", "cost_estimated", "cost_final", "cost_reason", "priced_at"),
)
"""What is the same for many calls stands in a kind: once, and the row has its number."""
CALL_COLUMNS = CALL_ROW + CALL_KIND

ATTEMPT_ROW = (
    *("call", "number", "began_ns", "ended_ns", "request_id"),
    *("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "machine_ns"),
)
ATTEMPT_KIND = (
    *("mode", "target", "model", "outcome", "verdict", "status", "billed", "lost", "lane"),
    *("tokens_estimated", "rate"),
)
ATTEMPT_COLUMNS = ATTEMPT_ROW + ATTEMPT_KIND

AttemptRows: TypeAlias = tuple[tuple[Any, ...], tuple[Any, ...], str | None]
"""The columns of `ATTEMPT_ROW`, those of `ATTEMPT_KIND`, and the machine."""


class CallRows(NamedTuple):
    """A call: the columns of `CALL_ROW` (its tag without a hash yet), and those of `CALL_KIND`."""

    row: tuple[Any, ...]
    kind: tuple[Any, ...]
    tag: str | None = None
    tries: tuple[AttemptRows, ...] = ()
    waits: tuple[WaitRecord, ...] = ()

    @property
    def id(self) -> str:
        return str(self.row[0])


_NO_USAGE = Usage()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_iso = lru_cache(16)(date.isoformat)


def unix_ns(wall: datetime) -> int:
    """A moment with its time zone, as nanoseconds since 1970; exact."""
    since = wall - _EPOCH
    return (since.days * 86_400 + since.seconds) * NANO + since.microseconds * 1000


def nano(amount: Decimal | None) -> int | None:
    """USD as nano-dollars."""
    return None if amount is None else int(amount.scaleb(9))


def call_rows(
    call: Call,
    facts: Facts | None,
    cost: Cost,
    outcome: str,
    now: float,
    wall: datetime,
    rate: Rate,
    id: str,
    final: bool = True,
    cache: str | None = None,
    saved: Decimal | None = None,
    tag: str | None = None,
) -> CallRows:
    """The rows of a call that has ended; arguments as those of `call_record`."""
    tally = call.tally
    started, latency, first, attempts = tally.started, tally.latency, None, tally.attempts
    shift = unix_ns(wall) - round(now * NANO)
    usage, model = _NO_USAGE, None
    if facts is not None:
        usage, model, first = facts.usage or _NO_USAGE, facts.model, facts.first_token
    tries: list[AttemptRows] = []
    target = None  # where the last attempt went that did not lose
    for number, attempt in enumerate(attempts):
        if not attempt.lost:
            target = attempt.target
        if attempt.ended is not None and attempt.ended <= now:
            tries.append(attempt_rows(id, number, attempt, shift, rate))
    if target is None and call.candidates:
        target = call.candidates[0]
    asked, amount = call.model, cost.amount
    row = (
        id,
        round(started * NANO) + shift,
        round((now - started if latency is None else latency) * NANO),
        None if first is None else round((first - started) * NANO),
        round(tally.queue_wait * NANO) if tally.queue_wait else 0,
        round(tally.cold_wait * NANO) if tally.cold_wait else 0,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        nano(amount),
        nano(saved),
        None,
    )
    kind = (
        call.operation,
        call.stream,
        target.mode if target is not None else None,
        target.name if target is not None else None,
        (target and target.model) or model or asked,
        asked,
        call.purpose,
        target is not None and target.simulated,
        outcome,
        len(attempts),
        tally.restarts,
        tally.cold_start,
        usage.estimated,
        cache,
        cost.basis,
        cost.estimated,
        final,
        cost.reason if amount is None else None,
        None if cost.priced_at is None else _iso(cost.priced_at),
    )
    waits = (
        [wait_record(id, n, wait, shift, rate) for n, wait in enumerate(tally.waits)] if tally.waits else ()
    )
    return CallRows(row, kind, tag, tuple(tries), tuple(waits))


def attempt_rows(call: str, number: int, attempt: Attempt, shift: int, rate: Rate) -> AttemptRows:
    """The rows of an attempt that has ended; arguments as those of `attempt_record`."""
    target, ended, used = attempt.target, attempt.ended, attempt.machine_ns
    usage = attempt.usage or _NO_USAGE
    verdict = attempt.verdict
    began = round(attempt.started * NANO) + shift
    by_time = used is not None or target.basis == "machine-time"
    row = (
        call,
        number,
        began,
        began if ended is None else round(ended * NANO) + shift,
        attempt.request_id,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        None if used is None else used + (attempt.cold_ns or 0),
    )
    kind = (
        target.mode,
        target.name,
        target.model,
        attempt.error or (SUCCESS if verdict == "success" else ABANDONED),
        verdict,
        attempt.status,
        attempt.billed,
        attempt.lost,
        attempt.lane,
        usage.estimated,
        rate(target) if by_time else None,
    )
    return row, kind, machine_name(target) if by_time else None
