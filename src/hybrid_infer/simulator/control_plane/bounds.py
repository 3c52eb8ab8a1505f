"""Bounds of the autoscaler and other numbers of a deployment: what is accepted. Pure."""

from __future__ import annotations

from typing import Any

from hybrid_infer.simulator.control_plane.asked import NotDoneError
from hybrid_infer.simulator.shapes import is_list, is_object

_TIMEOUTS = (30, 1440)


def bounds_of(sent: Any, minimum: int | None, maximum: int | None) -> tuple[int, int]:
    """Least and most replicas of ``autoscaling``, with what they were before; None at a creation.

    Raises:
        NotDoneError: they are not accepted; 0 and more is not: only 0 and 0 stops (docs, 2026-10).
    """
    if not is_object(sent):
        raise NotDoneError(400, "invalid_argument", "autoscaling is required")
    least, most = sent.get("minReplicas", minimum), sent.get("maxReplicas", maximum)
    if least is None:
        least = 1 if most is None else most
    if most is None:
        most = least
    if not isinstance(least, int) or not isinstance(most, int) or least < 0:
        raise NotDoneError(400, "invalid_argument", "minReplicas and maxReplicas are whole numbers from 0")
    if least > most:
        raise NotDoneError(400, "invalid_argument", f"minReplicas {least} is more than maxReplicas {most}")
    if least == 0 < most:
        message = "minReplicas must be at least 1 unless both bounds are 0, which stops the deployment"
        raise NotDoneError(400, "invalid_argument", message)
    return least, most


def minutes_of(sent: Any) -> int:
    """``inactiveTimeout`` in minutes; 0 is never.

    Raises:
        NotDoneError: it is not accepted.
    """
    least, most = _TIMEOUTS
    if not isinstance(sent, int) or not (sent == 0 or least <= sent <= most):
        raise NotDoneError(400, "invalid_argument", f"inactiveTimeout must be 0 or {least} to {most} minutes")
    return sent


def weights_of(sent: Any, known: set[str]) -> dict[str, float]:
    """``trafficSplit`` as weights by deployment; those of 0 are left out.

    Raises:
        NotDoneError: it is not a list of weights of deployments of this endpoint.
    """
    weights: dict[str, float] = {}
    for entry in sent if is_list(sent) else [None]:
        id = entry.get("deploymentId") if is_object(entry) else None
        weight = entry.get("weight") if is_object(entry) else None
        if id not in known:
            raise NotDoneError(400, "invalid_argument", f"deployment {id} is not under this endpoint")
        if not isinstance(weight, int | float) or weight < 0:
            raise NotDoneError(400, "invalid_argument", f"weight {weight!r} is not a number from 0")
        if weight:
            weights[str(id)] = float(weight)
    return weights
