"""Cold: a machine that is not running yet is waited for, by one prober for all calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from hybrid_infer.calls.call import Call, Service, Target
from hybrid_infer.calls.reply import Reply
from hybrid_infer.errors import ColdError
from hybrid_infer.runtime.base import Promise, Runtime

log = logging.getLogger("hybrid_infer")

PROBE_EVERY = 1.0
"""Seconds between probes: Modal's own example clients ask once a second."""

Probe = Callable[[float], Coroutine[Any, Any, bool]]
"""Asks the target, until the given moment at most, whether it has come up."""


class Cold:
    """Waits for the target to come up, at most `timeout` seconds and never beyond the call's end.

    The first call that finds it cold probes; the others wait for what it finds out. If the prober has to
    leave earlier than they do, the next of them takes over. Any answer but "cold" ends the wait, so a wrong
    credential is never polled.
    """

    def __init__(
        self, runtime: Runtime, target: Target, probe: Probe, *, timeout: float, every: float = PROBE_EVERY
    ) -> None:
        self._runtime = runtime
        self._target = target
        self._probe = probe
        self._timeout = timeout
        self._every = every
        self._guard = runtime.guard()
        self._probing: Promise | None = None
        self._up = False

    async def __call__(self, call: Call, inner: Service) -> Reply:
        until: float | None = None
        while True:
            try:
                return await inner(call)
            except ColdError as error:
                now = self._runtime.now()
                until = min(call.until, now + self._timeout) if until is None else until
                call.tally.cold_start = True
                if now + self._every >= until:
                    error.hint = (
                        f"waited {call.tally.cold_wait:.0f} s for the machine; start it ahead of time, "
                        "or allow more with cold_start_timeout and timeout"
                    )
                    raise
            await self._come_up(call, until)

    async def _come_up(self, call: Call, until: float) -> None:
        started = self._runtime.now()
        try:
            while not await self._turn(until):
                if self._runtime.now() + self._every >= until:
                    return
        finally:
            call.tally.cold_wait += self._runtime.now() - started

    async def _turn(self, until: float) -> bool:
        """Probe, or wait for the call that does; True once the machine is up."""
        mine = self._runtime.promise()
        with self._guard:
            others = self._probing
            if others is None:
                self._probing = mine
        if others is not None:
            return await others.wait(until - self._runtime.now()) and self._up
        self._up = False
        log.info("%s is cold: waiting for it", self._target.name)
        try:
            while not self._up and self._runtime.now() + self._every < until:
                await self._runtime.sleep(self._every)
                self._up = await self._probe(until)
        finally:
            with self._guard:
                self._probing = None
            mine.keep()
        return self._up
