"""Hedge: a second request for an attempt that takes unusually long; the first answer counts."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeAlias

from hybrid_infer.calls.call import Call, Replying, Service
from hybrid_infer.calls.operations import repeatable
from hybrid_infer.calls.reply import Reply
from hybrid_infer.errors import SaturatedError
from hybrid_infer.runtime.base import Runtime

Buy: TypeAlias = Callable[[], bool]
"""One more request from the budget that retries are paid from, too."""
Raced: TypeAlias = tuple[int, Reply]
"""Which of the two requests it was, and its answer."""

_MARGIN = 1.05
"""Calls that all take the same time are none of them slow."""


_SHARE = 0.05
"""What is slower than 95 of 100 calls is hedged, and never more than 5 of 100 calls."""


class HedgeDelay:
    """Learns after how many seconds an attempt is slow: the 95th percentile of the last `remembered` ones.

    Of slow calls that come to one in twenty the percentile itself would lie on either side of the gap by
    chance. So its lower confidence bound is taken (two standard deviations of the binomial count), and how
    many are hedged is held by counting.
    """

    def __init__(self, *, least: int = 20, remembered: int = 500) -> None:
        self._least = least
        self._remembered = remembered
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        self._calls = 0
        self._hedged = 0

    def add(self, seconds: float) -> None:
        """An attempt answered after so many seconds; for a stream, its first content came."""
        self._recent.append(seconds)
        insort(self._sorted, seconds)
        if len(self._recent) > self._remembered:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]

    def call(self) -> float | None:
        """A call begins: after how many seconds it is slow. None while too little is known."""
        self._calls += 1
        count = len(self._sorted)
        if count < self._least:
            return None
        rank = (1 - _SHARE) * count - 2 * math.sqrt(_SHARE * (1 - _SHARE) * count)
        return self._sorted[min(count - 1, math.ceil(rank))] * _MARGIN

    def may(self) -> bool:
        """Whether one more call may be hedged; it counts if so."""
        if self._hedged + 1 > _SHARE * self._calls:
            return False
        self._hedged += 1
        return True


class Hedge:
    """Races a second request against a slow one. Off unless the settings or the call ask for it.

    The loser is cancelled in the async client. The blocking client cannot cancel: there it ends by itself, in
    a daemon thread, and its cost is the call's as well. Either way it stands in the history as lost.
    """

    def __init__(self, runtime: Runtime, on: bool, buy: Buy) -> None:
        self._runtime = runtime
        self._on = on
        self._buy = buy
        self._guard = runtime.guard()
        self._delays: dict[tuple[str, bool], HedgeDelay] = {}

    def __call__(self, call: Call, inner: Service) -> Replying:
        wanted = self._on if call.hedge is None else call.hedge
        if not wanted or not repeatable(call.operation, call.idempotent):
            return inner(call)
        return self._hedged(call, inner)

    async def _hedged(self, call: Call, inner: Service) -> Reply:
        first = next((target for target in call.candidates if target not in call.avoid), call.candidates[0])
        with self._guard:
            delays = self._delays.setdefault((first.name, call.stream), HedgeDelay())
            after = delays.call()
        started = self._runtime.now()
        if after is None or started + after >= call.until:
            reply = await inner(call)
        else:
            reply = await self._race(call, inner, delays, after)
        with self._guard:
            delays.add(self._runtime.now() - started)
        return reply

    async def _race(self, call: Call, inner: Service, delays: HedgeDelay, after: float) -> Reply:
        async def run(lane: int) -> Raced:
            others = tuple(target for target in call.candidates if target in call.tally.visited)
            if lane and len(others) < len(call.candidates):
                return lane, await inner(replace(call, lane=lane, avoid=others))
            return lane, await inner(replace(call, lane=lane))

        def first() -> Coroutine[Any, Any, Raced]:
            return run(0)

        async def backup() -> Raced:
            with self._guard:
                may = delays.may()
            if not may or not self._buy():
                raise SaturatedError("not hedged: enough calls have been doubled lately")
            call.tally.raced = True
            call.tally.why.append(f"no answer after {after:.2f} s: a second request was sent")
            return await run(1)

        begun = len(call.tally.attempts)
        winner, reply = await self._runtime.race(first, backup, after=after, drop=_drop)
        for attempt in call.tally.attempts[begun:]:
            if attempt.lane != winner:
                attempt.lost = True
                if attempt.ended is None:
                    attempt.billed = None
        return reply


async def _drop(raced: Raced) -> None:
    await raced[1].aclose()
