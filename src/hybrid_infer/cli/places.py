"""Where calls go: every model of the settings in every mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hybrid_infer.calls.call import MODES, Mode
from hybrid_infer.errors import ConfigurationError

if TYPE_CHECKING:
    from hybrid_infer.settings import Settings
    from hybrid_infer.transport.base import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A model in a mode: where its calls go, or why they cannot.

    Attributes:
        model: the logical name; None stands for all that are not configured.
        serves: the provider's name of the model; None leaves it to the call, or to the server.
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
        return f"{self.serves or 'the model of the call'} at {self.origin}{machine}{paid}"


def current_modes(settings: Settings) -> Mapping[Mode, str]:
    """Where the client's calls go, each with its part: ``"current"``, or of mode hybrid base and overflow."""
    if settings.mode != "hybrid":
        return {settings.mode: "current"}
    base, overflow = settings.hybrid.base, settings.hybrid.overflow
    parts: dict[Mode | None, str] = {overflow: "overflow", base: "base"}
    return {mode: parts[mode] for mode in (base, overflow) if mode is not None}


def places(settings: Settings) -> Sequence[Place]:
    """Every configured model in every mode, and what holds for the models that are not configured."""
    from hybrid_infer.policies import simulated

    known = simulated(settings) if settings.simulate else settings
    names = [*known.models, *([known.model] if known.model not in known.models else [])]
    return [_place(known, name, mode) for name in names for mode in MODES]


def _place(settings: Settings, name: str | None, mode: Mode) -> Place:
    from hybrid_infer.backends.registry import connect

    try:
        found = connect(mode, settings, name)
    except ConfigurationError as error:
        return Place(model=name, mode=mode, problem=str(error))
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
