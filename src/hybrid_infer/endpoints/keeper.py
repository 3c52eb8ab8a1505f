"""Keeper: the one place that changes the minimum of machines, by leases that end by themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import uuid4

from hybrid_infer.endpoints.base import Endpoint
from hybrid_infer.endpoints.errors import (
    EndpointConflictError,
    EndpointError,
    EndpointNotFoundError,
    LeaseStoreError,
)
from hybrid_infer.endpoints.idle import IdleBudget, IdleSpent
from hybrid_infer.endpoints.idle_account import IdleAccount
from hybrid_infer.endpoints.leases import settled
from hybrid_infer.endpoints.minimum import PATIENCE, Change, Minimum
from hybrid_infer.endpoints.starts import lead_time
from hybrid_infer.endpoints.state import HourlyPrice
from hybrid_infer.runtime.base import Runtime, log
from hybrid_infer.runtime.fork import mend_after_fork
from hybrid_infer.stores.leases.base import Kind, Lease, LeaseStore, LeasesUnavailableError

Find: TypeAlias = Callable[[str], Endpoint | None]
"""The machine of that name (`Endpoint.name`), as this process reaches it; None where it knows none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What tidying up came to.

    Attributes:
        dropped: leases that ended and were removed, of any process.
        changes: minima that were brought to what the leases that are left need.
        problems: a sentence for each machine that could not be seen to. The next time may do it.
    """

    dropped: tuple[Lease, ...] = ()
    changes: tuple[Change, ...] = ()
    problems: tuple[str, ...] = ()


class Keeper:
    """Keeps machines up for those who need them, and lets go of them afterwards.

    The minimum at the provider is that of before, or the most that a live lease of any process needs. Of two
    processes none takes the machine from the other; when the last lease is gone, the minimum of before is
    restored, if nobody else changed it meanwhile. A lease that nobody renews ends by itself: the next `sweep`
    of any process takes it down. What changes are made, and why, is logged.

    `hold`, `renew`, `release` and `stop` raise EndpointErrors (ConfigurationError where the machine cannot be
    asked at all); what is for the background (`sweep`, `release_all`, `elected`, `idle`, …) never raises.

    Args:
        find: see `Find`. It may raise what a missing credential raises.
        holder: names this process to people; made up where it is None.
        budget: for leases of kind "schedule" and "keep"; None is no limit.
        patience: seconds that a change waits until other processes let it.
    """

    def __init__(
        self,
        store: LeaseStore,
        runtime: Runtime,
        find: Find,
        *,
        holder: str | None = None,
        budget: IdleBudget | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.store = store
        self.holder = holder or _holder()
        self._runtime = runtime
        self._find = find
        self._account = IdleAccount(store, runtime, budget)
        self._minimum = Minimum(store, runtime, patience=patience)
        self._held: dict[str, Lease] = {}
        mend_after_fork(self, Keeper._enter_child)

    @property
    def held(self) -> tuple[Lease, ...]:
        """The leases of this keeper, by its own knowledge."""
        return tuple(self._held.copy().values())

    async def hold(
        self, machine: str, replicas: int, seconds: float, *, why: str, kind: Kind = "asked"
    ) -> Lease:
        """Have at least so many replicas kept up for so long. Does not wait until they are.

        Each call makes a lease of its own, which lasts beyond this process; `renew` it to keep it longer.

        Raises:
            EndpointError: as `Endpoint.set_minimum`. The lease is gone, and the minimum as it was; if the
                provider did not even do that, the next sweep does.
            IdleBudgetError: of kind "schedule" or "keep", and the budget does not allow it.
            LeaseStoreError: the store did not answer.
        """
        lease = Lease(
            id=uuid4().hex,
            machine=machine,
            holder=self.holder,
            replicas=replicas,
            expires=self._wall() + seconds,
            kind=kind,
            why=why,
        )
        endpoint = self._endpoint(machine)
        with _told(machine):
            if kind != "asked":
                await self._account.check(endpoint)
            await self._begin(lease, endpoint)
        return lease

    async def renew(self, lease: Lease, seconds: float) -> Lease | None:
        """Have it last for so many seconds from now. One that was too late is begun anew.

        Returns:
            The lease as it is now; None where it was taken away (`stop`): then it is not to come back.

        Raises:
            EndpointError: as `hold`.
        """
        lease, now = self._held.get(lease.id, lease), self._wall()
        later = replace(lease, expires=now + seconds)
        endpoint = self._endpoint(lease.machine)
        with _told(lease.machine):
            if lease.kind != "asked":
                await self._account.check(endpoint, priced=True)
            before = await self.store.put(later, renewing=True)
            if before is not None and before.live(now):
                self._held[lease.id] = later
                return later
            if before is None and lease.live(now):
                self._held.pop(lease.id, None)
                return None
            log.warning("%s: a lease (%s) was renewed too late, and is begun anew", lease.machine, lease.why)
            await self._begin(later, endpoint)
        return later

    async def release(self, lease: Lease) -> Change:
        """Give it back, and restore the minimum if nobody else needs the machine. Harmless when repeated.

        Raises:
            EndpointError: as `Endpoint.set_minimum`. The lease is gone all the same; the next sweep restores.
        """
        with _told(lease.machine):
            await self.store.drop(lease.id)
            self._held.pop(lease.id, None)
            return await self._minimum.follow(self._endpoint(lease.machine))

    async def stop(self, machine: str, *, force: bool = False) -> Change:
        """Set the minimum to 0, for good, and end the leases on it. Does not wait until it has stopped.

        Raises:
            EndpointConflictError: others need it; with `force` it is taken from them, too.
            EndpointError: as `hold`.
        """

        def refuse(leases: tuple[Lease, ...]) -> None:
            others = [lease for lease in leases if lease.id not in self._held]
            if others and not force:
                until = datetime.fromtimestamp(max(lease.expires for lease in others), UTC)
                raise EndpointConflictError(
                    f"others need it until {until:%Y-%m-%d %H:%M:%S} UTC: "
                    + ", ".join(sorted({f"{lease.holder} ({lease.why})" for lease in others})),
                    where=machine,
                    hint="wait until they are done, or stop it by force",
                )

        with _told(machine):
            change = await self._minimum.down(self._endpoint(machine), refuse)
        for lease in self.held:
            if lease.machine == machine:
                self._held.pop(lease.id, None)
        return change

    async def leases(self, machine: str | None = None) -> tuple[Lease, ...]:
        """The live leases on a machine, or on all, of all processes.

        Raises:
            LeaseStoreError: the store did not answer.
        """
        with _told(machine):
            found = await self.store.leases(machine)
        return tuple(lease for lease in found if lease.live(self._wall()))

    async def sweep(self) -> Swept:
        """Remove leases that ended, of any process, and bring minima to what is left. Never raises."""
        swept = Swept()
        try:
            now = self._wall()
            leases = await self.store.leases()
            machines = {lease.machine for lease in leases if not lease.live(now)}
            machines.update(await self.store.noted())
        except Exception as error:
            return _with_problem(swept, None, error)
        for machine in sorted(machines):
            try:
                swept = await self._tidy(machine, leases, now, swept)
            except Exception as error:
                swept = _with_problem(swept, machine, error)
        return swept

    async def release_all(self) -> Swept:
        """Give back what this keeper holds. Never raises; what cannot be restored now, a sweep does later."""
        swept = Swept()
        for lease in self.held:
            try:
                change = await self.release(lease)
            except Exception as error:
                swept = _with_problem(swept, lease.machine, error)
            else:
                swept = replace(
                    swept, dropped=(*swept.dropped, lease), changes=_with_change(swept.changes, change)
                )
        return swept

    async def elected(self, role: str, seconds: float) -> bool:
        """Whether this process has a role for so many seconds from now, e.g. that of who runs schedules. Of
        all that ask, one does. False where the store does not answer. Never raises."""
        try:
            return await self.store.claim(role, self.holder, seconds, self._wall())
        except Exception as error:
            log.debug("nobody is elected (%s): %s", role, error)
            return False

    async def resign(self, role: str) -> None:
        """Let another process have a role. Never raises."""
        try:
            await self.store.resign(role, self.holder)
        except Exception as error:
            log.debug("a role (%s) is left to end by itself: %s", role, error)

    async def measured(self, machine: str, seconds: float) -> None:
        """Note how long a start took, from cold to the first answer. Never raises."""
        try:
            await self.store.add_start(machine, seconds)
        except Exception as error:
            log.debug("a start of %s is not kept: %s", machine, error)

    async def lead(self, machine: str) -> float:
        """Seconds before it is needed that the machine is to be started. Never raises. See `lead_time`."""
        try:
            starts = await self.store.starts(machine)
        except Exception as error:
            log.debug("starts of %s cannot be read: %s", machine, error)
            starts = ()
        return lead_time(starts, machine.partition("/")[0])

    async def idle(
        self, machine: str, seconds: float, *, price: HourlyPrice | None, replicas: int = 1
    ) -> bool:
        """Count time in which a machine that is kept answered nobody. Never raises.

        Returns:
            Whether it may be kept on; where not, this keeper's leases of kind "schedule" and "keep" on it
            have been given back. Without a budget always; with one, never at an unknown price.
        """
        try:
            why = await self._account.count(seconds, price, replicas)
        except Exception as error:
            log.warning("%s: what it costs while idle is not counted: %s", machine, error)
            return True
        if why is None:
            return True
        for lease in self.held:
            if lease.machine == machine and lease.kind != "asked":
                log.warning("%s is no longer kept (%s): %s", machine, lease.why, why)
                try:
                    await self.release(lease)
                except Exception as error:
                    log.warning("%s: its minimum is left for the next sweep to restore: %s", machine, error)
        return False

    async def idle_spent(self) -> IdleSpent:
        """What idle machines cost today (UTC), as far as it was counted.

        Raises:
            LeaseStoreError: the store did not answer.
        """
        with _told(None):
            return await self._account.spent()

    async def _begin(self, lease: Lease, endpoint: Endpoint) -> None:
        try:
            await self.store.put(lease)
            await self._minimum.follow(endpoint, asked=True)
        except GeneratorExit:  # nothing can be awaited any more; the lease ends by itself
            raise
        except BaseException as error:
            self._held.pop(lease.id, None)
            await self._withdraw(lease, endpoint, error)
            raise
        self._held[lease.id] = lease

    async def _withdraw(self, lease: Lease, endpoint: Endpoint, error: BaseException) -> None:
        """Leave nothing of a lease that was not to be had. After a cancellation, a sweep does the rest."""
        try:
            await self.store.drop(lease.id)
            if isinstance(error, EndpointError) and not isinstance(error, EndpointConflictError):
                await self._minimum.follow(endpoint)
        except Exception as other:
            log.debug("%s is left for the next sweep: %s", lease.machine, other)

    async def _tidy(self, machine: str, leases: tuple[Lease, ...], now: float, swept: Swept) -> Swept:
        endpoint = self._endpoint(machine)
        dropped = [
            lease
            for lease in leases
            if lease.machine == machine
            and not lease.live(now)
            and await self.store.drop(lease.id, expired_at=now)
        ]
        for lease in dropped:
            self._held.pop(lease.id, None)
            log.info("%s: a lease of %s (%s) ended", machine, lease.holder, lease.why)
        swept = replace(swept, dropped=(*swept.dropped, *dropped))
        if settled(await self.store.note(machine), await self.store.leases(machine), now):
            return swept
        change = await self._minimum.follow(endpoint)
        return replace(swept, changes=_with_change(swept.changes, change))

    def _endpoint(self, machine: str) -> Endpoint:
        endpoint = self._find(machine)
        if endpoint is None:
            raise EndpointNotFoundError(
                "this process does not know it",
                where=machine,
                hint="run it where the machine is configured, with the credentials for it",
            )
        return endpoint

    def _wall(self) -> float:
        return self._runtime.wall().timestamp()

    def _enter_child(self) -> None:
        """What was held is the parent's to renew and to give back."""
        self._held = {}
        self.holder = _holder()

    def __repr__(self) -> str:
        return f"<Keeper {self.holder} {self.store!r}>"


@contextmanager
def _told(machine: str | None) -> Generator[None]:
    """Errors of the store as those of machines."""
    try:
        yield
    except LeasesUnavailableError as error:
        raise LeaseStoreError(f"leases on machines: {error}", where=machine) from error


def _with_change(changes: tuple[Change, ...], change: Change) -> tuple[Change, ...]:
    return changes if change.before is None else (*changes, change)


def _with_problem(swept: Swept, machine: str | None, error: Exception) -> Swept:
    text = str(error) if machine is None or str(error).startswith(machine) else f"{machine}: {error}"
    log.warning("machines could not be tidied up: %s", text)
    return replace(swept, problems=(*swept.problems, text))


def _holder() -> str:
    """Names a process to people, and no other one."""
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "host")
    return f"{host}:{os.getpid()}:{uuid4().hex[:6]}"
