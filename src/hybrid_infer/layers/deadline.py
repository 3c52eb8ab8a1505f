"""Deadline: one end for everything a call waits for, its stream included.

The layer only fixes the moment. Whoever waits further in (retry, cold, the transports) keeps to `call.until`.
"""

from __future__ import annotations

from dataclasses import replace

from hybrid_infer.calls.call import Call, Service
from hybrid_infer.calls.reply import Reply
from hybrid_infer.errors import DeadlineExceededError
from hybrid_infer.runtime.base import Runtime


class Deadline:
    """Gives the call its end: the earlier of `timeout` seconds from now and the absolute `deadline`."""

    def __init__(self, runtime: Runtime, timeout: float) -> None:
        self._runtime = runtime
        self._timeout = timeout

    async def __call__(self, call: Call, inner: Service) -> Reply:
        now = self._runtime.now()
        seconds = self._timeout if call.timeout is None else call.timeout
        if call.deadline is not None:
            seconds = min(seconds, (call.deadline - self._runtime.wall()).total_seconds())
        if seconds <= 0:
            raise DeadlineExceededError(
                f"the deadline passed {-seconds:.3f} s before the call began",
                billed=False,
                hint="nothing was sent; give the call more time",
            )
        return await inner(replace(call, until=now + seconds))
