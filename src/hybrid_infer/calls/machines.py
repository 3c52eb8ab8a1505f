"""Machines that are paid by time: what is recorded of them, and whose their time was.

Times are integer nanoseconds, moments nanoseconds since 1970 (UTC) in records, money integer nano-dollars.
None is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

from hybrid_infer.calls.call import Target, Wait
from hybrid_infer.calls.money import NANO, usd

Rate: TypeAlias = Callable[[Target], int | None]
"""What the machine of a target costs, all of its GPUs together, in nano-dollars per hour."""

Role = Literal["call", "wait", "refused"]
"""What somebody is to a machine: it works for a call, a call waits for it to come up, or it did not serve."""


@dataclass(slots=True, kw_only=True)
class WaitRecord:
    """One wait of `call` for a machine that came up, where that time is billed.

    Attributes:
        number: its place among the waits of the call, from 0.
        machine, machine_ns, rate: as those of `AttemptRecord`.
    """

    call: str
    number: int
    began_ns: int
    ended_ns: int
    machine: str
    machine_ns: int
    rate: int | None


@dataclass(slots=True, kw_only=True)
class StateRecord:
    """From `at_ns` on so many replicas of a machine serve, and so many come up; None is no longer known.

    Attributes:
        process: who says so; of several the last word counts.
        rate: what a replica costs in nano-dollars per hour.
    """

    process: str
    machine: str
    at_ns: int
    serving: int | None
    starting: int
    rate: int | None
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """From `at` on so many replicas serve and so many come up; None where that is not known."""

    at: int
    serving: int | None
    starting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Replica-time, and what it cost; None where no price is known."""

    ns: int
    nano: int | None

    @property
    def seconds(self) -> float:
        return self.ns / NANO

    @property
    def usd(self) -> Decimal | None:
        return None if self.nano is None else usd(self.nano)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReport:
    """What a machine was billed for, and where it went: attributed + cold_start + idle = total, exactly.

    Attributes:
        since, until: what it is about, in seconds of the clock that the events were told in.
        attributed: shares of calls, those in flight included. Once none is in flight, this is what the calls
            were told, to the nano-dollar.
        waited: of these, cold starts that calls waited for.
        cold_start: billed time of coming up that nobody waited for.
        idle: billed time that nobody used; None is unknown.
        total: None is unknown.
        settled: made from the records of all processes; else of this process's calls alone.
        estimated: whether any of it is an estimate, or unknown; `reasons` say why.
    """

    since: float
    until: float
    attributed: Share
    waited: Share
    cold_start: Share
    idle: Share | None
    total: Share | None
    settled: bool
    estimated: bool
    reasons: tuple[str, ...]


def wait_record(call: str, number: int, wait: Wait, shift: int, rate: Rate) -> WaitRecord:
    """The record of a wait that is over; arguments as those of `attempt_record`."""
    return WaitRecord(
        call=call,
        number=number,
        began_ns=round(wait.started * NANO) + shift,
        ended_ns=round(wait.ended * NANO) + shift,
        machine=machine_name(wait.target),
        machine_ns=wait.cold_ns,
        rate=rate(wait.target),
    )


def machine_name(target: Target) -> str:
    """What a ledger calls the machine behind a target: mode, host and model, with spaces between."""
    return f"{target.mode} {target.host} {target.model}{' (simulated)' if target.simulated else ''}"
