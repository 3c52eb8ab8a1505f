"""The errors of a move to another mode; a branch of the tree in `hybrid_infer.errors`.

HybridInferError
└── MigrationError              the client was not moved to the other mode
    ├── MigrationRefusedError   the new mode does not answer as the old one does; nothing was moved
    ├── RolledBackError         it did worse when it got a share of the calls; all are back where they were
    └── MigrationBusyError      another move is unfinished, or underway in another process
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hybrid_infer.errors import HybridInferError

if TYPE_CHECKING:
    from hybrid_infer.migrating.report import MigrationReport


class MigrationError(HybridInferError):
    """The client was not moved to the other mode.

    Attributes:
        message: what happened.
        reasons: why, a sentence each.
        hint: what to do next.
        report: what was done, and what was found on the way; None where nothing was.
    """

    def __init__(
        self,
        message: str,
        *,
        reasons: Sequence[str] = (),
        hint: str | None = None,
        report: MigrationReport | None = None,
    ) -> None:
        self.message = message
        self.reasons = tuple(reasons)
        self.hint = hint
        self.report = report
        super().__init__(message)

    def __str__(self) -> str:
        text = ": ".join([self.message, *(["; ".join(self.reasons)] if self.reasons else [])])
        return f"{text} → {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, dict(vars(self)))


def _rebuild(kind: type[MigrationError], message: str, state: dict[str, Any]) -> MigrationError:
    error = kind(message)
    vars(error).update(state)
    return error


class MigrationRefusedError(MigrationError):
    """The new mode does not answer as the old one does; no call was moved."""


class RolledBackError(MigrationError):
    """The new mode did worse than the old one when it got a share of the calls; all are back."""


class MigrationBusyError(MigrationError):
    """Another move of the same model is unfinished, or underway in another process."""
