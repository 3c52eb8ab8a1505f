"""Route: which candidate serves this attempt."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from queue import Empty, SimpleQueue

from hybrid_infer.calls.call import Attempt, Call, Replying, Target
from hybrid_infer.calls.money import Cost
from hybrid_infer.calls.reply import Ending, Reply
from hybrid_infer.errors import ColdError, RefusedError, SaturatedError
from hybrid_infer.hooks import HookEvent, Hooks
from hybrid_infer.runtime.base import Runtime

_HOUR = 3600.0


class Overflow:
    """Decides between base and overflow by the wait predicted for the base. Pure.

    A call overflows when it would wait longer than `max_wait`. From then on calls stay away from the base
    until the wait is below `max_wait * return_below`; that lower mark holds until the wait has stayed below
    it for `dwell` seconds. So the base is kept busy, and calls do not swing to and fro.
    """

    def __init__(self, *, max_wait: float, return_below: float, dwell: float) -> None:
        self._max_wait = max_wait
        self._low = max_wait * return_below
        self._dwell = dwell
        self._calm_since: float | None = None
        self.overflowing = False

    def away(self, wait: float, now: float) -> bool:
        """Whether a call that would wait so many seconds for the base is to go elsewhere."""
        if not self.overflowing:
            self.overflowing = wait > self._max_wait
            self._calm_since = None
            return self.overflowing
        if wait > self._low:
            self._calm_since = None
            return True
        if self._calm_since is None:
            self._calm_since = now
        self.overflowing = now - self._calm_since < self._dwell
        return False


class Tide:
    """Whether calls overflow at present, for whatever reason. Pure.

    It begins with a call that goes to the overflow, and ends with one that base answers once `dwell` seconds
    have passed since the last that went there: single calls to and fro are one overflow.
    """

    def __init__(self, dwell: float) -> None:
        self._dwell = dwell
        self._last = 0.0
        self.since: float | None = None

    def out(self, now: float) -> bool:
        """A call goes to the overflow; whether that is a beginning."""
        self._last = now
        if self.since is not None:
            return False
        self.since = now
        return True

    def back(self, now: float) -> float | None:
        """Base answered a call; how long calls had overflowed where that has ended now, else None."""
        since = self.since
        if since is None or now - self._last < self._dwell:
            return None
        self.since = None
        return now - since


class Cap:
    """What overflow has cost in the last hour, against what it may cost. Pure.

    Calls that are still underway count with the mean of those that have ended. Once a call's cost is unknown,
    nothing more overflows: what cannot be counted cannot be held.
    """

    def __init__(self, usd_per_hour: float) -> None:
        self.usd_per_hour = usd_per_hour
        self._most = Decimal(str(usd_per_hour))
        self._spent: deque[tuple[float, Decimal]] = deque()
        self._sum = Decimal(0)
        self._underway = 0
        self.unknown: str | None = None

    def refusal(self, now: float) -> str | None:
        """Why no further call may overflow; None if it may."""
        if self.unknown is not None:
            return f"the cap of {self.usd_per_hour:g} USD an hour cannot be held: {self.unknown}"
        while self._spent and self._spent[0][0] <= now - _HOUR:
            self._sum -= self._spent.popleft()[1]
        mean = self._sum / len(self._spent) if self._spent else Decimal(0)
        if self._sum + mean * (self._underway + 1) <= self._most:
            return None
        return f"overflow has cost {self._sum:.4f} USD in the last hour, and may cost {self.usd_per_hour:g}"

    def begin(self) -> None:
        self._underway += 1

    def end(self, cost: Decimal | None, now: float, reason: str | None = None) -> None:
        """A call that overflowed has ended. None where its cost is unknown."""
        self._underway -= 1
        if cost is None:
            self.unknown = reason or "the cost of a call is unknown"
            return
        self._spent.append((now, cost))
        self._sum += cost


class Route:
    """The innermost service of the call stack: asks the candidates in order until one takes the call.

    A candidate that refuses (no room, open circuit), or is cold while another may answer, is passed over. If
    all refuse, the first one that is merely cold is asked again, and waited for.

    Args:
        impatient: do not wait for a cold candidate while another may answer.
        overflow, cap: the rules of mode ``hybrid``; no cap where it is None.
        cost: what attempts cost.
        hooks, tide: who is told that calls begin and cease to overflow.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        impatient: bool,
        overflow: Overflow,
        cap: Cap | None,
        cost: Callable[[Sequence[Attempt]], Cost],
        hooks: Hooks,
        tide: Tide,
    ) -> None:
        self._runtime = runtime
        self._impatient = impatient
        self._overflow = overflow
        self._cap = cap
        self._cost = cost
        self._hooks = hooks
        self._tide = tide
        self._guard = runtime.guard()
        self._ended: SimpleQueue[tuple[list[Attempt], float]] = SimpleQueue()

    def __call__(self, call: Call) -> Replying:
        order = call.candidates
        if len(order) == 1:
            target = order[0]
            if not call.tally.visited:
                call.tally.visited.append(target)
            return target.serve(call)
        return self._in_order(call)

    async def _in_order(self, call: Call) -> Reply:
        order = tuple(target for target in call.candidates if target not in call.avoid) or call.candidates
        if call.overflows:
            order = self._in_hybrid(call, order)
        impatient = self._impatient and len(order) > 1
        cold: Target | None = None
        for position, target in enumerate(order):
            last = position == len(order) - 1
            self._visit(call, target)
            if self._told and call.overflows and target is call.candidates[1]:
                await self._going_out(call)
            try:
                reply = await self._serve(replace(call, patient=False) if impatient else call, target)
            except ColdError as error:
                cold = cold or (target if impatient else None)
                if last and cold is None:
                    raise
                call.tally.why.append(f"{target.name}: cold ({error.message})")
            except RefusedError as error:
                if last and cold is None:
                    raise
                call.tally.why.append(f"{target.name}: {error.message}")
            else:
                if self._told and call.overflows and target is call.candidates[0]:
                    await self._come_back(call, reply)
                return reply
        waited_for = call.candidates[0] if cold is None else cold
        call.tally.why.append(f"{waited_for.name}: nobody else takes the call, so it is waited for")
        return await waited_for.serve(call)

    def _in_hybrid(self, call: Call, order: tuple[Target, ...]) -> tuple[Target, ...]:
        """The order in mode ``hybrid``: overflow first where the base is busy, never where the cap is met."""
        base, over, *_ = call.candidates
        if over not in order:
            return order
        now = self._runtime.now()
        leaving = base.leaving() if base in order else None
        wait = base.predicted_wait() if base in order else 0.0
        with self._guard:
            away = base in order and self._overflow.away(wait, now)
            refusal = self._over_cap(now)
        if refusal is not None:
            self._visit(call, over)
            call.tally.why.append(f"{over.name}: {refusal}")
            order = tuple(target for target in order if target is not over)
            if not order:
                raise _capped(over, refusal)
            return order
        if away or leaving is not None:
            why = leaving or f"busy, the wait would be about {wait:.1f} s"
            call.tally.why.append(f"{base.name}: {why}")
            return (over, *(target for target in order if target is not over))
        return order

    @property
    def _told(self) -> bool:
        """Whether anybody is told of overflow; else nothing is done for it."""
        return self._hooks.wants("on_overflow")

    async def _going_out(self, call: Call) -> None:
        base = call.candidates[0]
        with self._guard:
            begins = self._tide.out(self._runtime.now())
        if begins:
            why = (line for line in reversed(call.tally.why) if line.startswith(f"{base.name}: "))
            await self._tell(call, overflowing=True, seconds=None, reason=next(why, ""))

    async def _come_back(self, call: Call, reply: Reply) -> None:
        with self._guard:
            seconds = self._tide.back(self._runtime.now())
        if seconds is None:
            return
        try:
            reason = f"{call.candidates[0].name} takes the calls again"
            await self._tell(call, overflowing=False, seconds=seconds, reason=reason)
        except BaseException:  # the call was given up meanwhile
            await reply.aclose()
            raise

    async def _tell(self, call: Call, *, overflowing: bool, seconds: float | None, reason: str) -> None:
        over = call.candidates[1]
        await self._hooks.fire(
            HookEvent(
                name="on_overflow",
                at=self._runtime.wall(),
                mode=over.mode,
                model=over.logical or over.model,
                target=over.name,
                seconds=seconds,
                overflowing=overflowing,
                reason=reason,
            )
        )

    async def _serve(self, call: Call, target: Target) -> Reply:
        if self._cap is None or not call.overflows or target is not call.candidates[1]:
            return await target.serve(call)
        with self._guard:
            self._cap.begin()
        begun = len(call.tally.attempts)
        try:
            reply = await target.serve(call)
        except BaseException:
            self._leave(call, target, begun)
            raise
        reply.on_end(partial(self._left, call, target, begun))
        return reply

    def _left(self, call: Call, target: Target, begun: int, _: Ending) -> None:
        self._leave(call, target, begun)

    def _leave(self, call: Call, target: Target, begun: int) -> None:
        """The call is done with the overflow target. What that cost is counted by the next call."""
        now = self._runtime.now()
        attempts = [attempt for attempt in call.tally.attempts[begun:] if attempt.target is target]
        self._ended.put((attempts, now))

    def _over_cap(self, now: float) -> str | None:
        cap = self._cap
        if cap is None:
            return None
        while True:
            try:
                attempts, at = self._ended.get_nowait()
            except Empty:
                return cap.refusal(now)
            cost = self._cost(attempts)
            cap.end(cost.amount, at, cost.reason)

    def _visit(self, call: Call, target: Target) -> None:
        if target not in call.tally.visited:
            call.tally.visited.append(target)


def _capped(target: Target, refusal: str) -> SaturatedError:
    error = SaturatedError(refusal, where=target.name, hint="nothing was sent; see cap of [hybrid]")
    error.target = target.name
    return error
