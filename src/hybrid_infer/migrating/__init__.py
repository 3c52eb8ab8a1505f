"""A client's move from one mode to another: warm, verify, shift, drain, stop; or all of it undone."""

from __future__ import annotations

from hybrid_infer.migrating.errors import (
    MigrationBusyError,
    MigrationError,
    MigrationRefusedError,
    RolledBackError,
)
from hybrid_infer.migrating.prompts import Prompt
from hybrid_infer.migrating.steps import Watch
from hybrid_infer.migrating.verify import Limits

__all__ = [
    "Limits",
    "MigrationBusyError",
    "MigrationError",
    "MigrationRefusedError",
    "Prompt",
    "RolledBackError",
    "Watch",
]
