"""Limits: slots, rates and the queue before them. `layer` acts, all else decides."""

from __future__ import annotations

from hybrid_infer.layers.limits.layer import Limits
from hybrid_infer.layers.limits.policy import LimitPolicy
from hybrid_infer.layers.limits.shared import SharedLimits

__all__ = ["LimitPolicy", "Limits", "SharedLimits"]
