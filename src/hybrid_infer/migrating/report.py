"""What a move to another mode came to, and what it says underway. Data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from hybrid_infer.calls.call import ModeChoice
from hybrid_infer.endpoints.state import EndpointEvent
from hybrid_infer.migrating.journal import Phase
from hybrid_infer.migrating.steps import StepReading
from hybrid_infer.migrating.verify import Verification

Result = Literal["done", "handed over", "refused", "rolled back", "undone", "failed"]
"""What a move came to:

- done: all calls of this client go to the new mode, and the old machine is stopped (or kept, as asked);
- handed over: the new mode is ready, other processes have to be moved there, and the old one still serves;
- refused: the answers differ too much; nothing was moved;
- rolled back: the new mode did worse with a share of the calls; all are back;
- undone: it was undone because somebody asked for that;
- failed: something else went wrong before the switch, and what was begun has been undone.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One thing that happened. `event`: of a machine, in the provider's words, where it is about one."""

    at: datetime
    phase: Phase
    text: str
    event: EndpointEvent | None = None

    def __str__(self) -> str:
        return f"{self.phase}: {self.text}"


OnProgress: TypeAlias = Callable[[Progress], object]
"""Told of what happens. Plain and quick; what it raises is logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What a move came to.

    Attributes:
        verification: None where nothing was compared by this process.
        steps: what was seen in each step of the shift, in this process.
        reasons: why it was not done, a sentence each.
        warnings: what somebody should know though it was done, e.g. that a machine is still up.
        seconds: how long it took, in this process.
        unfinished: something is left to do: `resume` does it, or `undo` takes all of it back.
    """

    result: Result
    before: ModeChoice
    after: ModeChoice
    models: tuple[str | None, ...]
    verification: Verification | None = None
    steps: tuple[StepReading, ...] = ()
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    unfinished: bool = False
