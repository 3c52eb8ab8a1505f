"""SharedLimits: what this layer needs of a store that several processes share."""

from __future__ import annotations

from typing import Protocol, TypeVar

Lease = TypeVar("Lease")


class SharedLimits(Protocol[Lease]):
    """Slots and rates that several processes share. Every method fails soft when the store is down.

    `Lease` is the store's own type, anything but a number.
    """

    async def acquire(
        self,
        target: str,
        *,
        slots: int | None,
        requests: float | None,
        tokens: float | None,
        amount: float,
        lease: float,
    ) -> Lease | float | None:
        """Ask for a slot and for room in the rates.

        Args:
            target: the name of the target.
            slots: calls in flight of all processes together; None is no limit.
            requests, tokens: per minute, of all processes together; None is no limit.
            amount: tokens this call is expected to take.
            lease: seconds after which the slot is free again, unless it is released.

        Returns:
            A lease that was granted; seconds after which to ask again; or None: the store is down, go on
            with the limits of this process.
        """
        ...

    async def release(self, lease: Lease) -> None: ...

    def abandon(self, lease: Lease) -> None:
        """As `release`, from a finaliser: without locks and without waiting."""
        ...

    async def settle(self, target: str, amount: float) -> None:
        """Correct the tokens taken: a positive amount takes more, a negative one gives back."""
        ...

    async def aclose(self) -> None: ...
