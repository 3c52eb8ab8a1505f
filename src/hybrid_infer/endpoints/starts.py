"""How long before a machine is needed it has to be started: learnt from the starts that were measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

DEFAULTS: Final = {"together-dedicated": 600.0, "modal": 120.0}
"""Seconds, where too little was measured. Together: up to 10 minutes (docs of v1 endpoints); the first start
of a model "commonly takes up to ~20 minutes" (docs, 2026-10), and later ones less. Modal: vLLM boots in 96 s
on average without snapshots (Modal's blog, 2026-05-12)."""

LONGEST = 3600.0
"""Seconds before the need, at most: what takes longer is no longer worth paying for ahead of time."""

_OTHER = 300.0
_LAST = 20
_ENOUGH = 3
_SHARE = 0.9
_MARGIN = 0.1
_LEAST_MARGIN = 15.0


def lead_time(starts: Sequence[float], mode: str) -> float:
    """Seconds before it is needed that a machine is to be started.

    What nine of ten of the last 20 starts did not exceed (nearest rank), and a tenth more, at least 15
    seconds more; an hour at most. While fewer than three are measured, the default of the mode counts where
    it is longer.

    Args:
        starts: seconds, the oldest first. What is no positive number is not counted.
        mode: e.g. ``"modal"``.
    """
    last = sorted(seconds for seconds in starts[-_LAST:] if 0 < seconds < math.inf)
    default = DEFAULTS.get(mode, _OTHER)
    if not last:
        return default
    slow = last[math.ceil(_SHARE * len(last)) - 1]
    learnt = min(LONGEST, slow + max(_LEAST_MARGIN, _MARGIN * slow))
    return learnt if len(last) >= _ENOUGH else max(learnt, default)
