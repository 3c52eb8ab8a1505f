"""Status: what is known of all machines of a client, and what they cost now and today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from hybrid_infer.calls.call import Mode
from hybrid_infer.calls.machines import machine_name
from hybrid_infer.calls.money import usd
from hybrid_infer.endpoints.state import EndpointState
from hybrid_infer.errors import HybridInferError
from hybrid_infer.stores.leases.base import Lease
from hybrid_infer.warming.machine import Machine
from hybrid_infer.warming.today import Today, today

if TYPE_CHECKING:
    from hybrid_infer.warming.machines import Machines


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineStatus:
    """One machine at a moment. None is unknown.

    Attributes:
        name: mode and the provider's model, e.g. ``"together-dedicated/acme/assistant"``.
        model: the name that the application uses.
        state: as the provider says; None where it cannot be asked, and `problem` says why.
        in_flight: calls of this client that use it now.
        usd_per_hour: what the replicas that are up cost; None also where their number or price is unknown.
        usd_today: since midnight UTC, as far as the ledger was told of its state; None without one.
        idle_share: of that time, what nobody used (0 to 1).
        leases: who needs it, of all processes.
    """

    name: str
    mode: Mode
    model: str | None
    state: EndpointState | None
    in_flight: int
    usd_per_hour: Decimal | None
    usd_today: Decimal | None
    idle_share: float | None
    leases: tuple[Lease, ...]
    problem: str | None = None


async def status_of(machines: Machines) -> tuple[MachineStatus, ...]:
    """See `Client.status`."""
    reached, problems = machines.finder.reached()
    known = {machine.name: machine for machine in (*reached, *machines.finder.current())}
    reports = today(machines.settings, machines.runtime.wall())
    seen = [await _status(machines, machine, reports) for machine in known.values()]
    return (*seen, *(_unreached(mode, model, error) for (mode, model), error in problems.items()))


def _unreached(mode: Mode, model: str, error: HybridInferError) -> MachineStatus:
    return MachineStatus(
        name=f"{mode}/{model}",
        mode=mode,
        model=model,
        state=None,
        in_flight=0,
        usd_per_hour=None,
        usd_today=None,
        idle_share=None,
        leases=(),
        problem=str(error),
    )


async def _status(machines: Machines, machine: Machine, reports: Mapping[str, Today]) -> MachineStatus:
    state: EndpointState | None = None
    leases: tuple[Lease, ...] = ()
    problem: str | None = None
    try:
        state = await machines.look(machine)
        leases = await machines.keeper.leases(machine.name)
    except HybridInferError as error:
        problem = str(error)
    meter = None if (learnt := machines.finder.known(machine)) is None else learnt.meter
    report = reports.get(machine_name(machines.finder.target(machine)))
    return MachineStatus(
        name=machine.name,
        mode=machine.mode,
        model=machine.model,
        state=state,
        in_flight=0 if meter is None else meter.in_flight,
        usd_per_hour=None if state is None else _hourly(state),
        usd_today=None if report is None else report.usd,
        idle_share=None if report is None else report.idle_share,
        leases=leases,
        problem=problem,
    )


def _hourly(state: EndpointState) -> Decimal | None:
    """What is paid an hour as things are."""
    if state.life in ("absent", "cold", "failed"):
        return Decimal(0)
    ready = state.replicas.ready
    return None if state.price is None or ready is None else usd(state.price.nano * ready)
