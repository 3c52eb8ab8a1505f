"""Cold: a machine that is not running yet is waited for, by one prober for all calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from hybrid_infer.calls.call import Call, Service, Target, Wait
from hybrid_infer.calls.reply import Reply
from hybrid_infer.errors import ColdError
from hybrid_infer.hooks import HookEvent, HookName, Hooks
from hybrid_infer.runtime.base import Guard, Promise, Runtime

log = logging.getLogger("hybrid_infer")

PROBE_EVERY = 1.0
"""Seconds between probes: Modal's own example clients ask once a second."""

Probe = Callable[[float], Coroutine[Any, Any, bool]]
"""Asks the target, until the given moment at most, whether it has come up."""


class Meter(Protocol):
    """Shares the time in which a machine comes up among the calls that wait for it."""

    def wait(self, now: float) -> Any: ...
    def leave(self, stay: Any, now: float) -> None: ...
    def settle(self) -> None: ...


class Spell:
    """One machine's time of being cold: from the first call that finds it so to the first one answered after.

    It is the machine's and not the layer's: a switch of mode begins no other.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.since: float | None = None

    def begin(self, now: float) -> bool:
        """A call found it cold; whether that is the first."""
        with self._guard:
            if self.since is not None:
                return False
            self.since = now
            return True

    def end(self, sent: float | None, now: float) -> float | None:
        """A call that was sent at that time was answered: how long it was cold; None where it still may be.

        An answer to what was sent before may be the last words of a replica that is gone.
        """
        with self._guard:
            since = self.since
            if since is None or (sent is not None and sent < since):
                return None
            self.since = None
            return now - since


class Cold:
    """Waits for the target to come up, for as long as the call allows.

    The first call that finds it cold probes; the others wait for what it finds out. If the prober has to
    leave earlier than they do, the next of them takes over. Any answer but "cold" ends the wait, so a wrong
    credential is never polled.

    A call that is not patient, because another target may answer it, is told at once. It asks the target
    itself, which starts a machine that starts on request; but of many such calls one asks every `every`
    seconds, and the others are told what it found.
    """

    def __init__(
        self,
        runtime: Runtime,
        target: Target,
        probe: Probe,
        meter: Meter | None = None,
        *,
        hooks: Hooks,
        spell: Spell,
        every: float = PROBE_EVERY,
    ) -> None:
        self._meter = meter
        self._hooks = hooks
        self._spell = spell
        self._runtime = runtime
        self._target = target
        self._probe = probe
        self._every = every
        self._guard = runtime.guard()
        self._probing: Promise | None = None
        self._up = False
        self._ask_at = 0.0

    async def __call__(self, call: Call, inner: Service) -> Reply:
        until: float | None = None
        if not call.patient:
            self._refuse_while_known(call)
        while True:
            try:
                reply = await inner(call)
            except ColdError as error:
                if self._spell.begin(self._runtime.now()):
                    await self._tell("on_cold_start", reason=error.message)
                now = self._runtime.now()
                longest = call.timeouts.cold_start
                if until is None:
                    until = call.until if longest is None else min(call.until, now + longest)
                call.tally.cold_start = True
                if not call.patient:
                    self._ask_at = now + self._every
                    raise
                if now + self._every >= until:
                    error.hint = (
                        f"waited {call.tally.cold_wait:.0f} s for the machine; start it ahead of time, "
                        "or allow more with cold_start_timeout and timeout"
                    )
                    raise
            else:
                self._ask_at = 0.0
                if self._spell.since is not None:
                    await self._answered(call, reply)
                return reply
            await self._come_up(call, until)

    async def _answered(self, call: Call, reply: Reply) -> None:
        mine = (one.started for one in reversed(call.tally.attempts) if one.target is self._target)
        seconds = self._spell.end(next(mine, None), self._runtime.now())
        if seconds is None:
            return
        try:
            await self._tell("on_ready", seconds=seconds)
        except BaseException:  # the call was given up meanwhile
            await reply.aclose()
            raise

    async def _tell(self, name: HookName, *, seconds: float | None = None, reason: str = "") -> None:
        target = self._target
        if self._hooks.wants(name):
            await self._hooks.fire(
                HookEvent(
                    name=name,
                    at=self._runtime.wall(),
                    mode=target.mode,
                    model=target.logical or target.model,
                    target=target.name,
                    seconds=seconds,
                    reason=reason,
                )
            )

    def _refuse_while_known(self, call: Call) -> None:
        """Raise ColdError where the target was asked a moment ago and was cold."""
        now = self._runtime.now()
        with self._guard:
            if now >= self._ask_at:
                self._ask_at = now + self._every if self._ask_at else 0.0
                return
        call.tally.cold_start = True
        error = ColdError("the machine is not running, it was asked a moment ago", where=self._target.name)
        error.target, error.retry_after = self._target.name, self._ask_at - now
        raise error

    async def _come_up(self, call: Call, until: float) -> None:
        started = self._runtime.now()
        stay = self._meter.wait(started) if self._meter is not None else None
        try:
            while not await self._turn(until):
                if self._runtime.now() + self._every >= until:
                    return
        finally:
            now = self._runtime.now()
            call.tally.cold_wait += now - started
            if self._meter is not None and stay is not None:
                self._meter.leave(stay, now)
                self._meter.settle()
                if stay.cold_ns:
                    call.tally.waits.append(
                        Wait(
                            target=self._target,
                            started=started,
                            ended=now,
                            cold_ns=stay.cold_ns,
                            machine_nano=stay.nano,
                        )
                    )

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
