"""Endpoint: what every machine that costs money while idle can be asked, and told."""

from __future__ import annotations

from typing import Protocol

from hybrid_infer.endpoints.state import EndpointState, OnEvent


class Endpoint(Protocol):
    """One machine, behind its provider's control plane.

    Methods are `async` in one colour of logic: a blocking one never suspends. All raise `EndpointError`s, and
    `ConfigurationError` where the provider's package or a credential is missing. Timeouts are in seconds.
    """

    @property
    def name(self) -> str:
        """Mode and model, as `Target.name`, e.g. ``"together-dedicated/acme/assistant"``."""
        ...

    async def state(self) -> EndpointState:
        """Look once."""
        ...

    async def minimum(self) -> int:
        """How many replicas the provider keeps at least; 0 where the machine is stopped or absent."""
        ...

    async def set_minimum(self, replicas: int) -> EndpointState:
        """Have the provider keep at least so many, and do not wait for them; 0 lets it go cold.

        The upper bound of its autoscaler is raised where it must be, and never lowered but by 0.
        """
        ...

    async def warm(
        self, replicas: int = 1, *, timeout: float = 1800.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        """Bring at least so many replicas up, and wait until requests are answered by them.

        Raises:
            EndpointTimeoutError: not in time; it may come up yet.
            CapacityError, QuotaError, EndpointFailedError: it cannot come up now, or at all.
        """
        ...

    async def stop(
        self, *, wait: bool = True, timeout: float = 900.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        """Let it finish what it has, and stop; nothing is billed after that. Harmless while stopped."""
        ...
