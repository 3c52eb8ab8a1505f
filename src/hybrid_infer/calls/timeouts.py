"""Timeouts: how long each part of a call may take."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds for each part of a call; None leaves a part as it is configured.

    Attributes:
        total: the whole call: queue, cold start, attempts, the waits between them and the stream.
        attempt: one attempt: all of a complete answer, the first content of a stream.
        connect: opening a connection.
        first_token: from the request to the first content of a stream, where that is to be shorter than
            `attempt`. Complete answers show no first token, so it does not count for them.
        between_tokens: between two pieces of content of a stream. Only content counts: comments and empty
            events, which servers send to keep the connection open, do not.
        cold_start: waiting for a machine that is not running; 0 does not wait.
    """

    total: float | None = None
    attempt: float | None = None
    connect: float | None = None
    first_token: float | None = None
    between_tokens: float | None = None
    cold_start: float | None = None

    def over(self, other: Timeouts) -> Timeouts:
        """These, and where they say nothing the `other` ones."""
        return Timeouts(
            **{
                name: mine if (mine := getattr(self, name)) is not None else getattr(other, name)
                for name in PARTS
            }
        )


NONE_GIVEN = Timeouts()
"""What a call has that says nothing of its own."""

PARTS: tuple[str, ...] = tuple(field.name for field in fields(Timeouts))
