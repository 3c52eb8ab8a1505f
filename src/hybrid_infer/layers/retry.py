"""Retry: another attempt after a failure that may not repeat itself. N retries mean N."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

from hybrid_infer.calls.call import Attempt, Call, Service, Target
from hybrid_infer.calls.operations import repeatable
from hybrid_infer.calls.reply import Reply
from hybrid_infer.errors import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    CircuitOpenError,
    ColdError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RefusedError,
    SaturatedError,
)
from hybrid_infer.runtime.base import Guard, Runtime

if TYPE_CHECKING:
    from tenacity import RetryCallState
    from tenacity.wait import wait_base

log = logging.getLogger("hybrid_infer")

_OF_THE_TARGET = (AuthenticationError, PaymentRequiredError, PermissionDeniedError, NotFoundError)
"""Failures that would repeat themselves here, and need not elsewhere: other key, account, models."""


_UNCOUNTED = 64
"""First tries that may wait to be counted; all have the time at which they ended."""


@dataclass(slots=True)
class _State:
    """What tenacity's wait objects look at; its own state reads the real clock."""

    attempt_number: int


class RetryBudget:
    """How many requests may be repeated or doubled, over all calls: a share of them, and a few besides.

    A call counts when its first try has ended, so that calls that still wait in a queue buy nothing yet.

    Counted over the last `window` seconds. It holds exactly: of n calls in a window at most
    ``max(floor, share * n)`` are bought, so that an outage is met with little more than the calls themselves.
    Finagle's budget (20 %, and a floor for clients with few calls) is the model.

    Args:
        share: of calls.
        guard: calls of all threads are counted.
        floor: bought even where there are few calls.
        window: seconds.
    """

    def __init__(self, share: float, guard: Guard, *, floor: int = 10, window: float = 10.0) -> None:
        self.share = share
        self._guard = guard
        self._floor = floor if share > 0 else 0
        self._window = window
        self._calls: deque[list[float]] = deque()  # [second, calls in it]
        self._count = 0
        self._bought: deque[float] = deque()
        self._ended: deque[float] = deque()
        """When the first tries ended that have not been counted yet."""

    def call(self, now: float) -> None:
        """The first try of a call has ended."""
        self._ended.append(now)  # no lock: this is on the way of every call
        if len(self._ended) >= _UNCOUNTED:
            with self._guard:
                self._take_in()

    def buy(self, now: float) -> bool:
        """Whether one more request may be sent; it counts if so."""
        with self._guard:
            self._take_in()
            self._forget(now)
            if len(self._bought) + 1 > max(self._floor, self.share * self._count):
                return False
            self._bought.append(now)
            return True

    def _take_in(self) -> None:
        """Only the holder of the guard takes from the queue: what is not empty stays so."""
        while self._ended:
            now = self._ended.popleft()
            if self._calls and now < self._calls[-1][0] + 1:
                self._calls[-1][1] += 1
            else:
                self._forget(now)
                self._calls.append([now // 1, 1])
            self._count += 1

    def _forget(self, now: float) -> None:
        old = now - self._window
        while self._calls and self._calls[0][0] < old:
            self._count -= int(self._calls.popleft()[1])
        while self._bought and self._bought[0] < old:
            self._bought.popleft()


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What to do after a failure.

    Attributes:
        wait: seconds until the next attempt.
        avoid: candidates it should not go to.
        repeat: it goes to a target that had its try: it counts as a retry, and is paid from the budget.
    """

    wait: float = 0.0
    avoid: tuple[Target, ...] = ()
    repeat: bool = False


class RetryPolicy:
    """Decides after a failure: no clock, no I/O.

    A candidate that has not been asked yet is asked at once. After that the wait is an exponential back-off
    with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015): uniform between 0 and
    min(`longest`, `first` * 2**(n-1)) seconds, never less than the provider asked for.
    """

    def __init__(self, *, first: float = 0.5, longest: float = 8.0) -> None:
        self._first = first
        self._longest = longest

    @cached_property
    def _wait(self) -> wait_base:
        from tenacity import wait_random_exponential  # only a failure pays for the import

        return wait_random_exponential(multiplier=self._first, max=self._longest)

    def after(self, error: APIError, call: Call, *, retries: int, now: float) -> Next | None:
        """The next attempt of `call`; None to give up.

        A wait that does not fit into the call's time is not begun. A candidate is not asked earlier than it
        asked for, nor again where it would fail again; nor, where another may answer, if it kept silent, or
        was the last to fail.
        """
        if not self._may_end_well(error):
            return None
        if not (repeatable(call.operation, call.idempotent) or _not_begun(error)):
            return None
        tally = call.tally
        if any(candidate not in tally.visited for candidate in call.candidates):
            return Next(avoid=tuple(tally.visited))
        if isinstance(error, SaturatedError) and not tally.attempts:
            return None  # the call had its time in the queue, or there was no place in it
        again = [candidate for candidate in call.candidates if _may_pass(call, candidate, error)]
        if not again or tally.repeats >= retries:
            return _wait_for_the_cold_one(call)
        again = [candidate for candidate in again if not _kept_silent(call, candidate)] or again
        seconds = self._wait(cast("RetryCallState", _State(tally.repeats + 1)))
        waits = [max(seconds, _asked_to_wait(call, candidate, error, now)) for candidate in again]
        wait = min(waits)
        if wait >= call.until - now:
            return None
        ready = [candidate for candidate, its in zip(again, waits, strict=True) if its <= wait]
        ready = [candidate for candidate in ready if candidate.name != error.target] or ready
        avoid = tuple(candidate for candidate in call.candidates if candidate not in ready)
        return Next(wait=wait, avoid=avoid, repeat=True)

    def _may_end_well(self, error: APIError) -> bool:
        match error.verdict:
            case "retry" | "saturated" | "cold":
                return True
            case "fail":
                return isinstance(error, _OF_THE_TARGET)
            case _:
                return isinstance(error, CircuitOpenError)


def _not_begun(error: APIError) -> bool:
    """Whether nothing can have come of the request: it was not sent, or met a machine that did not run."""
    return isinstance(error, RefusedError | ColdError) or (
        isinstance(error, APIConnectionError) and error.billed is False
    )


def _wait_for_the_cold_one(call: Call) -> Next | None:
    """Nobody else answers any more, so a machine that was passed over because it was cold is waited for."""
    cold = next((c for c in call.candidates if (last := _last(call, c)) and last.verdict == "cold"), None)
    if cold is None or call.tally.cold_wait or call.timeouts.cold_start == 0:
        return None
    others = tuple(candidate for candidate in call.candidates if candidate is not cold)
    return None if call.avoid == others else Next(avoid=others)


def _may_pass(call: Call, target: Target, error: APIError) -> bool:
    """Whether what the target failed with last need not repeat itself; `error` is the call's last one."""
    last = _last(call, target)
    return (error.verdict if last is None else last.verdict) not in ("cold", "fail")


def _asked_to_wait(call: Call, target: Target, error: APIError, now: float) -> float:
    """Seconds for which the target is not to be asked, in its own words or those of who guards it."""
    asked = error.retry_after if error.target in (None, target.name) else None
    last = _last(call, target)
    if last is None or last.retry_after is None or last.ended is None:
        return asked or 0.0
    return max(asked or 0.0, last.ended + last.retry_after - now)


def _last(call: Call, target: Target) -> Attempt | None:
    return next((attempt for attempt in reversed(call.tally.attempts) if attempt.target is target), None)


def _kept_silent(call: Call, target: Target) -> bool:
    return any(attempt.target is target and attempt.silent for attempt in call.tally.attempts)


class Retry:
    """Repeats the attempt while the policy says so. A stream is out of its reach once it was handed over.

    Args:
        retries: repeats of a call that does not say its own number. The first try of a candidate is none.
        budget: what all calls together may repeat.
    """

    def __init__(self, runtime: Runtime, retries: int, policy: RetryPolicy, budget: RetryBudget) -> None:
        self._runtime = runtime
        self._retries = retries
        self._policy = policy
        self._budget = budget

    async def __call__(self, call: Call, inner: Service) -> Reply:
        counted = call.tally.restarts > 0
        while True:
            outcome: Reply | APIError
            try:
                outcome = await inner(call)
            except APIError as error:
                outcome = error
            if not counted:
                counted = True
                self._budget.call(self._runtime.now())
            if isinstance(outcome, Reply):
                return outcome
            try:
                # Not in a clause above: an interrupt of the wait would seem to follow from the failure.
                again = await self.again(call, outcome)
                if again is None:
                    raise outcome
                call = again
            finally:
                del outcome

    async def again(self, call: Call, error: APIError) -> Call | None:
        """The call as it is to be sent next, once the time for it has come; None if it is to fail."""
        retries = self._retries if call.max_retries is None else call.max_retries
        following = self._policy.after(error, call, retries=retries, now=self._runtime.now())
        if following is None:
            return None
        tally = call.tally
        if following.repeat:
            if not self.buy():
                tally.warnings.append(
                    f"not repeated: of late {self._budget.share:.0%} of all calls have been (retry_budget)"
                )
                return None
            tally.repeats += 1
        log.info(
            "%s failed (%s), the next attempt in %.2f s", error.target, type(error).__name__, following.wait
        )
        tally.why.append(f"{error.target}: {type(error).__name__}")
        if following.wait:
            await self._runtime.sleep(following.wait)
        return replace(call, avoid=following.avoid)

    def buy(self) -> bool:
        """One more request from the budget, for a repeat or a hedge."""
        return self._budget.buy(self._runtime.now())
