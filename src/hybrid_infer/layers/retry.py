"""Retry: another attempt after a failure that may not repeat itself. N retries mean N."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

from hybrid_infer.calls.call import Call, Service
from hybrid_infer.calls.reply import Reply
from hybrid_infer.errors import APIError, ColdError
from hybrid_infer.runtime.base import Runtime

if TYPE_CHECKING:
    from tenacity import RetryCallState
    from tenacity.wait import wait_base

log = logging.getLogger("hybrid_infer")


@dataclass(slots=True)
class _State:
    """What tenacity's wait objects look at; its own state reads the real clock."""

    attempt_number: int


class RetryPolicy:
    """Decides after a failure: no clock, no I/O.

    Exponential back-off with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015):
    uniform between 0 and min(`longest`, `first` * 2**(n-1)) seconds, never less than the provider asked for.
    """

    def __init__(self, *, first: float = 0.5, longest: float = 8.0) -> None:
        self._first = first
        self._longest = longest

    @cached_property
    def _wait(self) -> wait_base:
        from tenacity import wait_random_exponential  # only a failure pays for the import

        return wait_random_exponential(multiplier=self._first, max=self._longest)

    def wait(self, error: APIError, *, tries: int, retries: int, remaining: float) -> float | None:
        """Seconds until the next attempt after `tries` failed ones; None to give up.

        A wait that does not fit into the `remaining` seconds is not begun. A cold machine has been waited
        for already.
        """
        if not error.retryable or isinstance(error, ColdError) or tries > retries:
            return None
        seconds = self._wait(cast("RetryCallState", _State(tries)))
        if error.retry_after is not None:
            seconds = max(seconds, error.retry_after)
        return seconds if seconds < remaining else None


class Retry:
    """Repeats the attempt while the policy says so. A stream is out of its reach from its first event on."""

    def __init__(self, runtime: Runtime, retries: int, policy: RetryPolicy) -> None:
        self._runtime = runtime
        self._retries = retries
        self._policy = policy

    async def __call__(self, call: Call, inner: Service) -> Reply:
        retries = self._retries if call.max_retries is None else call.max_retries
        tries = 0
        while True:
            try:
                return await inner(call)
            except APIError as error:
                tries += 1
                remaining = call.until - self._runtime.now()
                wait = self._policy.wait(error, tries=tries, retries=retries, remaining=remaining)
                if wait is None:
                    raise
                log.info("attempt %d failed (%s), the next one in %.2f s", tries, type(error).__name__, wait)
            await self._runtime.sleep(wait)
