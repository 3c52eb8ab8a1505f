"""What is kept of machines between processes, and what a store of it can do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeAlias, cast

from hybrid_infer.errors import HybridInferError

Kind: TypeAlias = Literal["asked", "schedule", "keep"]
"""What a lease is for:

- asked: somebody asked for the machine and uses it, e.g. in ``with client.warmed(…)``;
- schedule: a schedule wants it;
- keep: it is kept after it was used, lest the next call meets a cold one.
"""

KEPT_STARTS = 20
"""Measured starts of a machine that are kept: the last ones."""


class LeasesUnavailableError(HybridInferError):
    """The store of leases did not answer, or is busy. The same may succeed later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Somebody needs `replicas` of `machine` until `expires`.

    Attributes:
        id: no other lease has it.
        machine: `Endpoint.name`, e.g. ``"together-dedicated/acme/assistant"``.
        holder: the process, for people, e.g. ``"web-1:4711:9f2c"``.
        expires: seconds since 1970; over at that very moment.
        why: a word for people, e.g. ``"warmed"``.
    """

    id: str
    machine: str
    holder: str
    replicas: int
    expires: float
    kind: Kind
    why: str

    def live(self, now: float) -> bool:
        """Whether it counts at `now`, in seconds since 1970."""
        return now < self.expires


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What we did to the minimum of a machine, so that any process can take it back.

    Attributes:
        original: the minimum that is restored when no lease is left.
        set_to: the minimum as we last knew it to be: what we set, or what we found.
        setting: what we have begun to set, outcome unknown. A process that dies leaves it so.
        left: somebody else changed the minimum while leases lived. It is theirs until somebody asks anew.
        at: when this was written, seconds since 1970.
    """

    original: int
    set_to: int
    setting: tuple[int, ...] = ()
    left: bool = False
    at: float

    def ours(self, minimum: int) -> bool:
        """Whether a minimum found at the provider is one that we set."""
        return minimum == self.set_to or minimum in self.setting


class LeaseStore(Protocol):
    """Keeps leases, notes, roles, journals and starts. Fits one machine or many.

    Every operation happens whole or not at all, whoever is killed in the middle of it. Times are seconds
    since 1970 by the caller's clock (`Runtime.wall`); processes on several machines need clocks that agree to
    a few seconds. All raise LeasesUnavailableError, and ConfigurationError where the store is none.
    """

    async def put(self, lease: Lease, *, renewing: bool = False) -> Lease | None:
        """Write a lease, in the place of the one with the same id; that one, expired or not.

        With `renewing`, nothing is written where there is none.
        """
        ...

    async def drop(self, lease_id: str, *, expired_at: float | None = None) -> bool:
        """Remove a lease; with `expired_at` only if it is over by then. Whether there was one to remove."""
        ...

    async def leases(self, machine: str | None = None) -> tuple[Lease, ...]:
        """All, or those of one machine; also expired ones that nobody removed yet."""
        ...

    async def note(self, machine: str) -> Note | None: ...

    async def noted(self) -> tuple[str, ...]:
        """The machines that have a note."""
        ...

    async def set_note(self, machine: str, note: Note | None, *, if_was: Note | None) -> bool:
        """Write a note, or remove it, if it still is `if_was`. Whether it was."""
        ...

    async def claim(self, role: str, holder: str, seconds: float, now: float) -> bool:
        """Take or renew a role for so many seconds; False while another holder has it.

        Of all who claim a role at a time, one gets it. `role` and `holder` are any text.
        """
        ...

    async def resign(self, role: str, holder: str) -> None:
        """Give a role back; harmless for who has it not."""
        ...

    async def journal(self, entry: str) -> str | None:
        """What was written under a name."""
        ...

    async def set_journal(self, entry: str, text: str | None, *, if_was: str | None) -> bool:
        """Write, or remove, if it still is `if_was`. Whether it was."""
        ...

    async def starts(self, machine: str) -> tuple[float, ...]:
        """Seconds that the last starts took, the oldest first; `KEPT_STARTS` at most."""
        ...

    async def add_start(self, machine: str, seconds: float) -> None: ...

    async def aclose(self) -> None:
        """Let go of what is open. What was written stays."""
        ...


def lease_text(lease: Lease) -> str:
    """As stores keep it."""
    return json.dumps(asdict(lease), sort_keys=True)


def lease_of(text: str) -> Lease:
    return Lease(**json.loads(text))


def note_text(note: Note | None) -> str:
    """As stores keep and compare it; empty for none."""
    return "" if note is None else json.dumps(asdict(note), sort_keys=True)


def note_of(text: str) -> Note | None:
    if not text:
        return None
    values = cast("dict[str, Any]", json.loads(text))
    values["setting"] = tuple(values["setting"])
    return Note(**values)
