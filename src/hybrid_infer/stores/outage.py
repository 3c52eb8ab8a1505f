"""What is known of a store that does not answer: whether to ask it, and what to say of it."""

from __future__ import annotations


class Outage:
    """Decides whether a store is asked. One that failed is left alone for `pause` seconds; then one call
    tries it, and the others still go on without.

    Times are `Runtime.now()`.
    """

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._until: float | None = None

    @property
    def on(self) -> bool:
        return self._until is not None

    def may_ask(self, now: float) -> bool:
        """Whether a call at `now` asks the store."""
        if self._until is None:
            return True
        if now < self._until:
            return False
        self._until = now + self._pause
        return True

    def failed(self, now: float) -> bool:
        """The store did not answer. True where an outage begins with it."""
        begins = self._until is None
        self._until = now + self._pause
        return begins

    def answered(self) -> bool:
        """The store did answer. True where an outage ends with it."""
        ends, self._until = self._until is not None, None
        return ends
