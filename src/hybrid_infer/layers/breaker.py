"""Breaker: a target that failed lately is left alone for a while, so that calls go elsewhere at once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial

from hybrid_infer.calls.call import Call, Service, Target
from hybrid_infer.calls.reply import WELL, Ending, Reply
from hybrid_infer.errors import APIError, CircuitOpenError
from hybrid_infer.runtime.base import Runtime

WINDOW = 10.0
"""Seconds that a failure counts, where there are enough calls in them. A longer window would take longer to
notice an outage after a calm time."""
BUCKETS = 10
MINIMUM = 10
"""Calls in the window below which nothing is concluded: of ten calls to a target that fails one in twenty,
five fail once in 15,000 times; of four calls, two fail once in 70."""
OLDEST = 600.0
"""Seconds that a failure counts where calls are few: then the last `MINIMUM` calls are looked at."""
RATE = 0.5
"""Share of failures from which on the target is left alone."""
FIRST_PAUSE = 5.0
GROWTH = 2.0
LONGEST_PAUSE = 15.0
"""Seconds between probes at most. With `SILENCE`, a target that recovers is tried within 25 s: a probe may
have begun just before, say nothing for 10 s, and then fail and start a pause."""
SILENCE = 10.0
"""Seconds after which a probe that said nothing no longer keeps others from trying."""


@dataclass(slots=True, eq=False)
class Pass:
    """Leave to call the target; what came of the call is reported with it."""

    era: int
    since: float | None = None
    """When it began, for a probe."""


_UNREAD = 64
"""Outcomes that may wait; all have the time at which they came."""


class CircuitBreaker:
    """Closed: calls pass and are counted. Open: none passes for a while. Half-open: one at a time probes.

    An outcome of the time before the circuit opened says nothing about the time after, and is not counted.
    Memory does not grow with traffic: outcomes are counted in `BUCKETS` parts of the window, and the last
    `MINIMUM` are kept for targets with few calls, which would otherwise be tried first for ever.
    """

    def __init__(self) -> None:
        self._era = 0
        self._pass = Pass(0)
        self._until: float | None = None  # None: closed
        self._pause = FIRST_PAUSE
        self._probe: Pass | None = None
        self._last = 0.0
        self._clear()

    @property
    def usual(self) -> Pass | None:
        """The pass of all calls while it is closed; None otherwise."""
        return self._pass if self._until is None else None

    def admit(self, now: float) -> Pass | float:
        """A pass, or the seconds until the target is tried again."""
        now = self._last = max(now, self._last)
        if self._until is None:
            return self._pass
        if now < self._until:
            return self._until - now
        probe = self._probe
        if probe is not None and probe.since is not None and now < probe.since + SILENCE:
            return probe.since + SILENCE - now
        self._probe = Pass(self._era, now)
        return self._probe

    def record(self, given: Pass, ok: bool | None, now: float) -> None:
        """What came of a call: an answer, a failure of the target, or (None) nothing that tells of it.

        The success of any probe closes the circuit, even when a later one is under way by then.
        """
        now = self._last = max(now, self._last)
        if given.era != self._era:
            return
        if self._until is None:
            self._count(ok, now)
        elif ok:
            self._close(given)
        elif given is self._probe:
            self._probe = None
            if ok is False:
                self._pause = min(self._pause * GROWTH, LONGEST_PAUSE)
                self._until = now + self._pause

    @property
    def counts(self) -> tuple[int, int]:
        """Failures and calls in the window."""
        latest = self._index(self._last)
        recent = [at % BUCKETS for at in self._stamps if latest - BUCKETS < at <= latest]
        failed = sum(self._failed[at] for at in recent)
        return failed, failed + sum(self._answered[at] for at in recent)

    @property
    def state(self) -> str:
        if self._until is None:
            return "closed"
        return "open" if self._last < self._until else "half-open"

    def __repr__(self) -> str:
        failed, calls = self.counts
        return f"<CircuitBreaker {self.state}: {failed} of {calls} calls failed within {WINDOW:.0f} s>"

    def _count(self, ok: bool | None, now: float) -> None:
        if ok is None:
            return
        self._recent.append((ok, now))
        stamp = self._index(now)
        place = stamp % BUCKETS
        if self._stamps[place] != stamp:
            self._stamps[place], self._answered[place], self._failed[place] = stamp, 0, 0
        if ok:
            self._answered[place] += 1
            return
        self._failed[place] += 1
        failed, calls = self._looked_at()
        if calls >= MINIMUM and failed >= RATE * calls:
            self._pause = FIRST_PAUSE
            self._until, self._probe = now + self._pause, None
            self._era += 1

    def _looked_at(self) -> tuple[int, int]:
        """Failures and calls that decide: those in the window, or where they are too few the last ones."""
        failed, calls = self.counts
        if calls >= MINIMUM:
            return failed, calls
        recent = [ok for ok, at in self._recent if at > self._last - OLDEST]
        return recent.count(False), len(recent)

    def _close(self, probe: Pass) -> None:
        """The probe's own call may go on, as a stream does: from now on it counts like any other."""
        self._era += 1
        probe.era, probe.since = self._era, None
        self._until, self._probe = None, None
        self._pass = Pass(self._era)
        self._clear()

    def _clear(self) -> None:
        self._stamps = [-1] * BUCKETS
        self._answered = [0] * BUCKETS
        self._failed = [0] * BUCKETS
        self._recent: deque[tuple[bool, float]] = deque(maxlen=MINIMUM)

    @staticmethod
    def _index(now: float) -> int:
        return int(now * BUCKETS / WINDOW)


class Breaker:
    """Asks the circuit before each call, and tells it what came of it.

    Outcomes wait in a queue until the next call asks, because some of them come from finalisers, which may
    not lock.
    """

    def __init__(self, runtime: Runtime, target: Target) -> None:
        self._runtime = runtime
        self._target = target
        self._circuit = CircuitBreaker()
        self._guard = runtime.guard()
        self._outcomes: deque[tuple[Pass, bool | None, float]] = deque()
        self._news = False
        """An outcome waits that is no success."""

    async def __call__(self, call: Call, inner: Service) -> Reply:
        given = self._admit()
        try:
            reply = await inner(call)
        except BaseException as error:
            self._report(given, _verdict(error))
            raise
        if reply.ending is WELL:
            self._report(given, True)
            return reply
        if reply.ending is None and given.since is not None:
            self._report(given, True)  # the probe's stream has begun: that is recovery enough
        reply.on_end(partial(self._ended, given))
        return reply

    def __repr__(self) -> str:
        with self._guard:
            self._drain()
            return f"<Breaker of {self._target.name}, {self._circuit!r}>"

    def _admit(self) -> Pass:
        if not self._news and len(self._outcomes) < _UNREAD and (usual := self._circuit.usual) is not None:
            return usual  # successes change nothing while it is closed, and can be counted later
        with self._guard:
            self._drain()
            answer = self._circuit.admit(self._runtime.now())
            if isinstance(answer, Pass):
                return answer
            failed, calls = self._circuit.counts
        target = self._target
        refusal = CircuitOpenError(
            f"{target.name} failed {failed} of its last {calls} calls and is left alone for a while"
            if calls
            else f"{target.name} failed lately, and one call is trying whether it has recovered",
            where=f"{target.mode} ({target.host})",
            retry_after=answer,
            hint=f"it is tried again in {answer:.1f} s; with a fallback or overflow calls would go elsewhere",
        )
        refusal.target = target.name
        raise refusal

    def _ended(self, given: Pass, ending: Ending) -> None:
        self._report(given, None if ending.abandoned else _verdict(ending.error))

    def _report(self, given: Pass, ok: bool | None) -> None:
        self._outcomes.append((given, ok, self._runtime.now()))
        if ok is not True:
            self._news = True

    def _drain(self) -> None:
        """Only the holder of the guard takes from the queue: what is not empty stays so."""
        self._news = False  # before, so that what comes meanwhile is not missed
        while self._outcomes:
            self._circuit.record(*self._outcomes.popleft())


def _verdict(error: BaseException | None) -> bool | None:
    """Only an answer and a failure that may pass tell of the target.

    That there is no room (429) or no machine yet is said by one that works, or by its provider; refusals, the
    caller's own mistakes and deadlines say nothing at all.
    """
    if error is None:
        return True
    return False if isinstance(error, APIError) and error.verdict == "retry" else None
