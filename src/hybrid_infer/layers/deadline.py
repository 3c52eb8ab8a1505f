"""Deadline: one end for everything a call waits for, its stream included.

The layer only fixes the moment. Whoever waits further in (queue, cold, retry, the transports) keeps to
`call.until`, and to the parts in `call.timeouts`.
"""

from __future__ import annotations

from hybrid_infer.calls.call import Call, Replying, Service
from hybrid_infer.calls.timeouts import NONE_GIVEN, Timeouts
from hybrid_infer.errors import DeadlineExceededError
from hybrid_infer.runtime.base import Runtime


class Deadline:
    """Gives the call its end: the earlier of `timeouts.total` from now and the absolute `deadline`.

    Args:
        timeouts: of calls that do not say their own.
    """

    def __init__(self, runtime: Runtime, timeouts: Timeouts) -> None:
        self._runtime = runtime
        self._timeouts = timeouts

    def __call__(self, call: Call, inner: Service) -> Replying:
        now = self._runtime.now()
        timeouts = self._timeouts if call.timeouts is NONE_GIVEN else call.timeouts.over(self._timeouts)
        seconds = float("inf") if timeouts.total is None else timeouts.total
        if call.deadline is not None:
            seconds = min(seconds, (call.deadline - self._runtime.wall()).total_seconds())
        if seconds <= 0:
            raise DeadlineExceededError(
                f"the deadline passed {-seconds:.3f} s before the call began",
                billed=False,
                hint="nothing was sent; give the call more time",
            )
        # The call is nobody else's yet, so it is completed, not copied.
        call.until, call.timeouts = now + seconds, timeouts
        return inner(call)
