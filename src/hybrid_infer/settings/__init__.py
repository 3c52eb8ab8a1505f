"""Every option: its name, variables, default, range and one line of text, and where its value came from."""

from __future__ import annotations

from hybrid_infer.settings.model import Settings
from hybrid_infer.settings.nested import (
    BudgetSettings,
    HookSettings,
    HybridSettings,
    ModelSettings,
    ModelTarget,
    PriceSettings,
)
from hybrid_infer.settings.options import Option
from hybrid_infer.settings.values import Secret, reveal

__all__ = [
    "BudgetSettings",
    "HookSettings",
    "HybridSettings",
    "ModelSettings",
    "ModelTarget",
    "Option",
    "PriceSettings",
    "Secret",
    "Settings",
    "reveal",
]
