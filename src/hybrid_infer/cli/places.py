"""Where calls go: every model of the settings in every mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hybrid_infer.calls.call import MODES, Mode
from hybrid_infer.errors import ConfigurationError

if TYPE_CHECKING:
    from hybrid_infer.settings import Settings
    from hybrid_infer.transport.base import Origin

NAMED_BY_CALL = "the model that a call names"
"""Serves where no model is configured and the mode cannot do without the name of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A model in a mode: where its calls go, or why they cannot.

    Attributes:
        model: the logical name; None for calls that name none.
        serves: the provider's name of the model; None lets the server's only model answer.
        paid_by: tokens or machine-time.
    """

    model: str | None
    mode: Mode
    serves: str | None = None
    origin: Origin | None = None
    paid_by: str | None = None
    gpu: str | None = None
    gpus: int | None = None
    problem: str | None = None

    def __str__(self) -> str:
        if self.problem is not None:
            return self.problem
        machine = f" on {self.gpus} x {self.gpu}" if self.gpu is not None else ""
        paid = f", paid by {self.paid_by}" if self.paid_by is not None else ""
        return f"{self.serves or 'the model that is served'} at {self.origin}{machine}{paid}"


def places(settings: Settings) -> Sequence[Place]:
    """Every model in every mode; where none is configured, the model of calls that name none."""
    from hybrid_infer.assembly import simulated

    known = simulated(settings) if settings.simulate else settings
    names: list[str | None] = [*known.models] or [known.model]
    return [_place(known, name, mode) for name in names for mode in MODES]


def _place(settings: Settings, name: str | None, mode: Mode) -> Place:
    from hybrid_infer.backends.registry import connect

    try:
        found = connect(mode, settings, name)
    except ConfigurationError as error:
        if name is not None:
            return Place(model=name, mode=mode, problem=str(error))
        try:
            found = connect(mode, settings, NAMED_BY_CALL)
        except ConfigurationError as second:
            return Place(model=None, mode=mode, problem=str(second))
    machine = found.basis == "machine-time"
    return Place(
        model=name,
        mode=mode,
        serves=found.model,
        origin=found.origin,
        paid_by=None if found.basis == "unknown" else found.basis,
        gpu=found.gpu if machine else None,
        gpus=found.gpus if machine else None,
    )
