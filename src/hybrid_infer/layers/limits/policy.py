"""LimitPolicy: what the settings say about one target."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitPolicy:
    """Limits of one target; None is no limit.

    Attributes:
        in_flight: calls at a time, each until the end of its stream. With `adaptive` the upper bound.
        adaptive: find the number of calls in flight that the machine carries (see `adaptive`).
        requests_per_minute: requests sent.
        tokens_per_minute: tokens of prompts and answers together.
        max_queue: calls that may wait; one more is refused at once.
        max_wait: seconds that a call waits at most; None is as long as the call has.
    """

    in_flight: int | None = None
    adaptive: bool = False
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_queue: int = 1000
    max_wait: float | None = None

    @property
    def limits_anything(self) -> bool:
        """Whether the layer has anything to do."""
        return self.adaptive or self.can_be_shared

    @property
    def can_be_shared(self) -> bool:
        """Whether there is anything that processes can share."""
        return not (
            self.in_flight is None and self.requests_per_minute is None and self.tokens_per_minute is None
        )
