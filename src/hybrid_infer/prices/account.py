"""Account: what a machine was billed for, and whose time it was. Pure: integers in, integers out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hybrid_infer.calls.machines import MachineReport, Share
from hybrid_infer.calls.money import NANO, half_even
from hybrid_infer.prices.tables import SECONDS_PER_HOUR

UNPRICED = "no price is known for this machine"
STATE_UNKNOWN = "its state was not followed between calls, so what it cost there is unknown"
ONE_ASSUMED = "its state was not followed: while calls were in flight, one replica was taken to be up"
WINDOW_ASSUMED = "its state was not followed: containers were taken to be up for {:g} s after use"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a machine is billed, and what may be taken for true while nobody tells its state.

    Attributes:
        nano_per_hour: of one replica, all its GPUs and the rest included; None is unknown.
        cold_start: whether the time in which a replica comes up is billed (Modal's is, Together's is not).
        window: seconds for which a container stays up after its last request; None takes nothing for true
            between calls.
        concurrency: calls that one container takes; None takes one container for all.
        estimated: why time on this machine is always an estimate, where it is.
    """

    nano_per_hour: int | None = None
    cold_start: bool = False
    window: float | None = None
    concurrency: int | None = None
    estimated: str | None = None

    def nano(self, ns: int) -> int | None:
        """Nano-dollars for so many nanoseconds of a replica."""
        if self.nano_per_hour is None:
            return None
        return half_even(ns * self.nano_per_hour, SECONDS_PER_HOUR * NANO)


@dataclass(slots=True, eq=False)
class Stay:
    """One call's time on a machine, at work or waiting for it to come up.

    Attributes:
        machine_ns: its share of busy time in nanoseconds; None until it has left.
        cold_ns: its share of the time that was billed while the machine came up; None until it has left.
        nano: what both cost, in nano-dollars; None until then, or where no price is known.
        waiting: it waits for the machine.
        since, cold_since: the account's own marks of where the shares begin.
    """

    machine_ns: int | None = None
    cold_ns: int | None = None
    nano: int | None = None
    waiting: bool = False
    since: int | None = None
    cold_since: int = 0


class Totals(NamedTuple):
    """What has come together until a moment, in nanoseconds of replicas; see `MachineReport`."""

    at: int = 0
    busy: int = 0
    cold: int = 0
    cold_alone: int = 0
    idle: int = 0
    unknown: int = 0
    assumed: int = 0

    @property
    def known(self) -> int:
        return self.busy + self.cold + self.cold_alone + self.idle


class Account:
    """Divides what a machine is billed for among the calls present at each moment.

    While n calls are in flight on r replicas, min(n, r) replicas are busy and each call is given one n-th of
    their time; the other replicas are idle. While replicas come up, the calls that wait for them are given
    that time likewise, where it is billed; while none is ready, calls in flight wait, too.

    Shares are whole nanoseconds, and nothing is lost in dividing: what is left over waits for the next
    division, and the last one out takes it. Money is rounded so that whatever has been told so far is the
    rounded cost of the time told so far: so it adds up as well.

    The time of a call that turns out not to be billed is taken back, and becomes idle time.

    Times are nanoseconds; one before the latest counts as that.
    """

    __slots__ = (
        "_assumed", "_billed", "_busy", "_calls", "_cold", "_cold_alone", "_cold_given", "_cold_inside",
        "_cold_rest", "_given", "_idle", "_last", "_rest", "_serving", "_since", "_starting", "_terms",
        "_told", "_told_cold", "_unknown", "_up_until", "_waiting",
    )  # fmt: skip

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._since: int | None = None
        self._last = 0
        self._serving: int | None = None
        self._starting = 0
        self._calls = 0
        self._waiting = 0
        self._up_until: list[int] = []
        """For each container that is taken to be up, when it was last needed."""
        self._given = self._rest = self._busy = 0
        """What a call that was always there would have been given; what is left over; what was shared."""
        self._cold_given = self._cold_inside = self._cold_rest = self._cold = 0
        """The same for cold starts: who waits, who is in flight; what is left over; what was shared."""
        self._cold_alone = self._idle = self._unknown = self._assumed = 0
        self._told = self._told_cold = 0

    def advance(self, at: int) -> None:
        """Let time pass until `at`."""
        if self._since is None:
            self._since = self._last = at
        at = max(at, self._last)
        passed, start, self._last = at - self._last, self._last, at
        if self._serving is None:
            self._assume(passed, start)
            return
        busy = min(self._serving, self._calls)
        self._share(busy * passed)
        self._idle += (self._serving - busy) * passed
        self._come_up(self._starting * passed, inside=self._serving == 0)

    def come(self, stay: Stay, at: int) -> None:
        """A call is there."""
        self.advance(at)
        stay.since, stay.cold_since = self._given, self._cold_inside
        if stay.waiting:
            stay.cold_since = self._cold_given
            self._waiting += 1
        else:
            self._calls += 1

    def go(self, stay: Stay, at: int, *, billed: bool) -> None:
        """A call is there no more; harmless if it has gone already."""
        self.advance(at)
        if stay.since is None or stay.machine_ns is not None:
            return
        if stay.waiting:
            self._waiting -= 1
            machine, cold = 0, self._cold_given - stay.cold_since
        else:
            self._calls -= 1
            machine, cold = self._given - stay.since, self._cold_inside - stay.cold_since
        if not billed:
            self._take_back(machine, cold)
            machine = cold = 0
        before = self._terms.nano(self._told + self._told_cold)
        self._told += machine
        self._told_cold += cold
        after = self._terms.nano(self._told + self._told_cold)
        if before is not None and after is not None:
            stay.nano = after - before
        stay.cold_ns, stay.machine_ns = cold, machine

    def set_state(self, serving: int | None, starting: int, at: int) -> None:
        """From now on so many replicas serve and so many come up; None is no longer known."""
        self.advance(at)
        if serving is None and self._serving is not None:
            self._up_until = [self._last] * self._serving
        self._serving, self._starting = serving, starting

    @property
    def in_flight(self) -> int:
        """Calls that are there and do not wait."""
        return self._calls

    def totals(self, at: int) -> Totals:
        """What has come together until `at`."""
        self.advance(at)
        return Totals(
            self._last, self._busy, self._cold, self._cold_alone, self._idle, self._unknown, self._assumed
        )

    def report(self, at: int, *, settled: bool) -> MachineReport:
        """Everything from the first event until `at`."""
        return self._report(Totals(at=self._since or 0), self.totals(at), settled=settled)

    def _report(self, since: Totals, until: Totals, *, settled: bool) -> MachineReport:
        """The time between two moments. Money is told so that the parts of all such times add up."""
        busy, cold = until.busy - since.busy, until.cold - since.cold
        start = since.known
        attributed = start + busy + cold
        with_cold = attributed + until.cold_alone - since.cold_alone
        total = with_cold + until.idle - since.idle
        known = until.unknown == since.unknown
        reasons = self._reasons(assumed=until.assumed > since.assumed, unknown=not known)
        return MachineReport(
            since=since.at / NANO,
            until=until.at / NANO,
            attributed=self._between(start, attributed),
            waited=Share(ns=cold, nano=self._terms.nano(cold)),
            cold_start=self._between(attributed, with_cold),
            idle=self._between(with_cold, total) if known else None,
            total=self._between(start, total) if known else None,
            settled=settled,
            estimated=bool(reasons),
            reasons=reasons,
        )

    def _between(self, low: int, high: int) -> Share:
        """The part of the time from `low` to `high`; the money of such parts adds up."""
        least, most = self._terms.nano(low), self._terms.nano(high)
        return Share(ns=high - low, nano=None if least is None or most is None else most - least)

    def _reasons(self, *, assumed: bool, unknown: bool) -> tuple[str, ...]:
        terms = self._terms
        found = [
            terms.estimated,
            UNPRICED if terms.nano_per_hour is None else None,
            (ONE_ASSUMED if terms.window is None else WINDOW_ASSUMED.format(terms.window))
            if assumed
            else None,
            STATE_UNKNOWN if unknown else None,
        ]
        return tuple(reason for reason in found if reason is not None)

    def _assume(self, passed: int, start: int) -> None:
        """Time in which nobody has told the state."""
        terms = self._terms
        if terms.window is None:
            self._share(passed if self._calls else 0)
            self._come_up(0, inside=False)
            self._assumed += passed if self._calls else 0
            self._unknown += 0 if self._calls else passed
            return
        needed = -(-self._calls // terms.concurrency) if terms.concurrency else min(1, self._calls)
        coming_up = needed == 0 and self._waiting > 0
        kept = max(needed, int(coming_up))
        window = round(terms.window * NANO)
        idle = [min(self._last, until + window) - start for until in self._up_until[kept:]]
        self._up_until[kept:] = [until for until in self._up_until[kept:] if until + window > self._last]
        self._up_until[:kept] = [self._last] * kept
        self._share(needed * passed)
        self._come_up(passed if coming_up else 0, inside=False)
        self._idle += sum(idle)
        self._assumed += passed if kept or idle else 0

    def _share(self, time: int) -> None:
        if self._calls:
            self._busy += time
            each, self._rest = divmod(self._rest + time, self._calls)
            self._given += each

    def _come_up(self, time: int, *, inside: bool) -> None:
        """Replica-time of coming up: for those who wait; `inside` for those in flight, too."""
        if not self._terms.cold_start:
            time = 0
        group = self._waiting + (self._calls if inside else 0)
        if group == 0:
            self._cold_alone += time + self._cold_rest
            self._cold -= self._cold_rest
            self._cold_rest = 0
            return
        self._cold += time
        each, self._cold_rest = divmod(self._cold_rest + time, group)
        self._cold_given += each
        self._cold_inside += each if inside else 0

    def _take_back(self, machine: int, cold: int) -> None:
        self._busy -= machine
        self._cold -= cold
        self._cold_alone += cold
        if self._serving is None and self._terms.window is None:
            self._unknown += machine
        else:
            self._idle += machine
