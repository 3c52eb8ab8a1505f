"""Leases in memory: for one process, and for tests."""

from __future__ import annotations

from hybrid_infer.runtime.base import new_guard
from hybrid_infer.stores.leases.base import KEPT_STARTS, Lease, Note


class MemoryLeases:
    """Fits `LeaseStore`. What is kept ends with the process; and then nobody takes the machines down."""

    def __init__(self) -> None:
        self._guard = new_guard()
        self._leases: dict[str, Lease] = {}
        self._notes: dict[str, Note] = {}
        self._roles: dict[str, tuple[str, float]] = {}
        self._journals: dict[str, str] = {}
        self._starts: dict[str, tuple[float, ...]] = {}

    async def put(self, lease: Lease, *, renewing: bool = False) -> Lease | None:
        """See `LeaseStore.put`."""
        with self._guard:
            before = self._leases.get(lease.id)
            if before is not None or not renewing:
                self._leases[lease.id] = lease
        return before

    async def drop(self, lease_id: str, *, expired_at: float | None = None) -> bool:
        """See `LeaseStore.drop`."""
        with self._guard:
            found = self._leases.get(lease_id)
            if found is None or (expired_at is not None and found.live(expired_at)):
                return False
            del self._leases[lease_id]
        return True

    async def leases(self, machine: str | None = None) -> tuple[Lease, ...]:
        """See `LeaseStore.leases`."""
        with self._guard:
            return tuple(lease for lease in self._leases.values() if machine in (None, lease.machine))

    async def note(self, machine: str) -> Note | None:
        """See `LeaseStore.note`."""
        return self._notes.get(machine)

    async def noted(self) -> tuple[str, ...]:
        """See `LeaseStore.noted`."""
        with self._guard:
            return tuple(self._notes)

    async def set_note(self, machine: str, note: Note | None, *, if_was: Note | None) -> bool:
        """See `LeaseStore.set_note`."""
        with self._guard:
            if self._notes.get(machine) != if_was:
                return False
            if note is None:
                self._notes.pop(machine, None)
            else:
                self._notes[machine] = note
        return True

    async def claim(self, role: str, holder: str, seconds: float, now: float) -> bool:
        """See `LeaseStore.claim`."""
        with self._guard:
            had, until = self._roles.get(role, (holder, now))
            if had != holder and now < until:
                return False
            self._roles[role] = (holder, now + seconds)
        return True

    async def resign(self, role: str, holder: str) -> None:
        """See `LeaseStore.resign`."""
        with self._guard:
            if self._roles.get(role, ("", 0.0))[0] == holder:
                del self._roles[role]

    async def journal(self, entry: str) -> str | None:
        """See `LeaseStore.journal`."""
        return self._journals.get(entry)

    async def set_journal(self, entry: str, text: str | None, *, if_was: str | None) -> bool:
        """See `LeaseStore.set_journal`."""
        with self._guard:
            if self._journals.get(entry) != if_was:
                return False
            if text is None:
                self._journals.pop(entry, None)
            else:
                self._journals[entry] = text
        return True

    async def starts(self, machine: str) -> tuple[float, ...]:
        """See `LeaseStore.starts`."""
        return self._starts.get(machine, ())

    async def add_start(self, machine: str, seconds: float) -> None:
        """See `LeaseStore.add_start`."""
        with self._guard:
            self._starts[machine] = (*self._starts.get(machine, ()), seconds)[-KEPT_STARTS:]

    async def aclose(self) -> None:
        """Nothing."""

    def __repr__(self) -> str:
        return "<MemoryLeases>"
