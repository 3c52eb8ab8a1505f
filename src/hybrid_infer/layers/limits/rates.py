"""Rates: requests and tokens per minute, and how many tokens a call is expected to take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BURST = 2.0
"""Seconds' worth that may be taken at once: Together's limits are per second, with a burst of twice that
(recorded headers, 2025). So a minute holds at most 62 s' worth."""

_ROUNDING = 1e-6
"""Seconds' worth that may be missing: who waited exactly long enough must not wait again for a rounding."""


class Bucket:
    """A token bucket: refilled continuously, at most `BURST` seconds' worth or one unit.

    What needs more than fits waits until it is full, and leaves a debt. Times that run backwards count as the
    latest time seen so far.
    """

    __slots__ = ("_at", "_balance", "_burst", "_rate")

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / 60
        self._burst = max(1.0, self._rate * BURST)
        self._balance = self._burst
        self._at: float | None = None

    def wait(self, amount: float, now: float, *, ahead: float = 0.0) -> float:
        """Seconds until `amount` may be taken, if `ahead` is taken before; 0.0 is now."""
        self._refill(now)
        seconds = (ahead + min(amount, self._burst) - self._balance) / self._rate
        return seconds if seconds > _ROUNDING else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take it, whatever there is; a negative amount gives back."""
        self._refill(now)
        self._balance = min(self._burst, self._balance - amount)

    def _refill(self, now: float) -> None:
        passed = 0.0 if self._at is None else now - self._at
        if passed > 0:
            self._balance = min(self._burst, self._balance + passed * self._rate)
        if self._at is None or passed > 0:
            self._at = now


def answer_tokens(body: Mapping[str, Any], usual: float | None) -> float:
    """An estimate: what answers usually take, at most what the call allows; that, before any has ended."""
    allowed = body.get("max_completion_tokens") or body.get("max_tokens")
    if isinstance(allowed, int):
        return float(allowed) if usual is None else min(usual, float(allowed))
    return usual or 0.0
