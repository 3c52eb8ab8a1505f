"""Telemetry never fails a call."""

from __future__ import annotations

import logging

log = logging.getLogger("hybrid_infer")


def failed(what: str) -> None:
    """To be called where whatever telemetry raised is caught: it is logged, and that is all.

    A decorator would say the same in fewer lines, and cost as much as much of what it would stand around.
    """
    log.debug("telemetry failed in %s", what, exc_info=True)
