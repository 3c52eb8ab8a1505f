"""Recording: a row of the ledger for each call, and another one for what becomes known of it later."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import partial
from typing import Protocol, TypeAlias

from hybrid_infer.calls.call import Attempt, Call, Service, Target, Wait
from hybrid_infer.calls.machines import StateRecord, wait_record
from hybrid_infer.calls.money import NANO, Cost
from hybrid_infer.calls.records import (
    CallRecord,
    Correction,
    attempt_record,
    call_record,
    correction,
    outcome_of,
    unix_ns,
)
from hybrid_infer.calls.reply import Ending, Facts, Reply
from hybrid_infer.calls.rows import CallRows, call_rows
from hybrid_infer.runtime.base import Leftovers, Runtime

log = logging.getLogger("hybrid_infer")

ENDED_LATER = "an attempt ended after its call"

_NOT_KNOWN = Cost(amount=None, basis="unknown", reason="the cost was not worked out")

Record: TypeAlias = CallRecord | CallRows | Correction


class Ledger(Protocol):
    """Takes what is to be written. It never waits and never fails."""

    def put(self, record: Record | StateRecord | Callable[[], Record]) -> None: ...


class Prices(Protocol):
    """What attempts add up to, and what a replica of a target costs in nano-dollars per hour."""

    def cost(self, attempts: Sequence[Attempt], *, at: date, waits: Sequence[Wait] = ()) -> Cost: ...
    def hourly(self, target: Target) -> int | None: ...


class Recording:
    """Has each call written down when it has ended.

    The record of a plain call is made by whoever writes it. Where a request of the call is still underway, or
    may begin yet (what lost a race between threads), the record is made at once, and whatever ends later is a
    correction with the whole cost as it is known then.
    """

    def __init__(
        self,
        runtime: Runtime,
        ledger: Ledger,
        prices: Prices,
        new_id: Callable[[], str],
        leftovers: Leftovers,
    ) -> None:
        self._runtime = runtime
        self._ledger = ledger
        self._prices = prices
        self._new_id = new_id
        self._leftovers = leftovers
        self._guard = runtime.guard()

    async def __call__(self, call: Call, inner: Service) -> Reply:
        try:
            reply = await inner(call)
        except BaseException as error:
            self._record(call, None, outcome_of(error), self._runtime.now(), self._runtime.wall())
            raise
        facts = reply.facts

        def end(ending: Ending) -> None:
            outcome = outcome_of(ending.error, abandoned=ending.abandoned)
            now, wall = self._runtime.now(), self._runtime.wall()
            if ending.collected:
                self._leftovers.put(partial(self._record, call, facts, outcome, now, wall))
            else:
                self._record(call, facts, outcome, now, wall)

        reply.on_end(end)
        return reply

    def _record(self, call: Call, facts: Facts | None, outcome: str, now: float, wall: datetime) -> None:
        tally, rate = call.tally, self._prices.hourly
        cost = tally.cost or _NOT_KNOWN
        id, cache = self._new_id(), None if tally.cache == "off" else tally.cache
        if not tally.raced and None not in [attempt.ended for attempt in tally.attempts]:
            self._ledger.put(
                partial(
                    call_rows, call, facts, cost, outcome, now, wall, rate, id,
                    cost.final, cache, cost.saved, call.tag,
                )
            )  # fmt: skip
            return
        kept = _Kept()
        with self._guard:
            # Before anybody looks who has ended: whoever ends after the look finds it, and waits here.
            tally.late = partial(self._ended_late, call, kept)
            try:
                kept.last = kept.record = record = call_record(
                    call,
                    facts,
                    cost,
                    outcome=outcome,
                    now=now,
                    wall=wall,
                    rate=rate,
                    id=id,
                    final=cost.final,
                    cache=cache,
                    saved=cost.saved,
                    tag=call.tag,
                )
            except Exception:  # a ledger must not fail a call that was answered
                log.warning("a call could not be recorded", exc_info=True)
                return
            kept.tries.update(tried.number for tried in record.tries)
            kept.waits = len(record.waits)
            self._ledger.put(record)
        self._ended_late(call, kept)

    def _ended_late(self, call: Call, kept: _Kept) -> None:
        """Something of the call may have ended since its record was made."""
        try:
            with self._guard:
                self._correct(call, kept)
        except Exception:
            log.warning("the correction of a call could not be recorded", exc_info=True)

    def _correct(self, call: Call, kept: _Kept) -> None:
        tally, record = call.tally, kept.record
        ended = [
            (number, attempt)
            for number, attempt in enumerate(tally.attempts)
            if attempt.ended is not None and number not in kept.tries
        ]
        waits = tally.waits[kept.waits :]
        if record is None or not (ended or waits):
            return
        now, wall = self._runtime.now(), self._runtime.wall()
        shift, rate = unix_ns(wall) - round(now * NANO), self._prices.hourly
        cost = self._prices.cost(tally.attempts, at=wall.date(), waits=tally.waits)
        previous = kept.last if isinstance(kept.last, Correction) else None
        fix = correction(
            record,
            cost,
            reason=ENDED_LATER,
            wall=wall,
            previous=previous,
            tries=tuple(attempt_record(record.id, number, one, shift, rate) for number, one in ended),
            waits=tuple(
                wait_record(record.id, number, wait, shift, rate)
                for number, wait in enumerate(waits, kept.waits)
            ),
        )
        tally.reckoned = cost
        kept.last = fix
        kept.tries.update(number for number, _ in ended)
        kept.waits += len(waits)
        self._ledger.put(fix)


class _Kept:
    """What has been written of one call: its record and the last word after it, attempts by number, waits."""

    __slots__ = ("last", "record", "tries", "waits")

    def __init__(self) -> None:
        self.record: CallRecord | None = None
        self.last: CallRecord | Correction | None = None
        self.tries: set[int] = set()
        self.waits = 0
