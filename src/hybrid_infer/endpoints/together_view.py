"""Together's endpoint and its deployments as plain data, and what they amount to. Pure.

Read from the objects of the `together` package 3.1.1 (`types/endpoint.py`, `types/endpoint_deployment.py`).
Its answers are built without validation, so every field may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from hybrid_infer.endpoints.state import NO_REPLICAS, EndpointState, HourlyPrice, Life, Replicas

SHADOW = "TRAFFIC_MODE_SHADOW"
CENT = 10_000_000
"""Nano-dollars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A deployment. `state` is the last word of its state, e.g. ``"READY"``; `created` sorts."""

    id: str
    name: str
    state: str
    message: str
    etag: str | None
    minimum: int
    maximum: int
    wanted: int
    placed: int
    ready: int
    hardware: str | None
    created: str
    shadow: bool = False

    @property
    def at_rest(self) -> bool:
        """Nothing runs in it."""
        return self.state in ("STOPPED", "FAILED")

    @property
    def lacks_gpus(self) -> bool:
        """The provider cannot place its replicas (it says so in words alone)."""
        return self.state == "DEGRADED" and "capacity" in self.message.lower()

    @property
    def words(self) -> str:
        return f"{self.state}: {self.message}" if self.message else self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An endpoint as it was read: `weights` is its split of traffic, by id of the deployment."""

    id: str
    name: str
    etag: str | None
    weights: dict[str, float]
    deployments: tuple[Deployment, ...] = ()

    def chosen(self, pinned: str | None) -> Deployment | None:
        """The deployment that is meant: the one of this name, or the one that traffic goes to.

        Of several with traffic the one with most ready replicas; without traffic the oldest that can run.
        """
        live = [each for each in self.deployments if not each.shadow]
        if pinned is not None:
            return next((each for each in live if each.name.rpartition("/")[2] == pinned), None)
        usable = [each for each in live if each.state != "FAILED"] or live
        routed = [each for each in usable if self.weights.get(each.id)]
        if routed:
            return max(routed, key=lambda each: (each.ready, each.wanted, each.id))
        return min(usable, key=lambda each: (each.created, each.id), default=None)

    def with_deployments(self, deployments: Iterable[Deployment]) -> View:
        return replace(self, deployments=tuple(deployments))


def view_of(endpoint: Any) -> View:
    """An endpoint of the package, without its deployments."""
    return View(
        id=endpoint.id,
        name=str(endpoint.name),
        etag=getattr(endpoint, "etag", None),
        weights={
            entry.deployment_id: float(entry.weight)
            for entry in getattr(endpoint, "traffic_split", None) or ()
            if entry.weight
        },
    )


def deployment_of(deployment: Any) -> Deployment:
    """A deployment of the package."""
    status, bounds = getattr(deployment, "status", None), getattr(deployment, "autoscaling", None)
    least = _count(bounds, "min_replicas")
    desired = getattr(deployment, "desired_replicas", None)
    wanted = least if desired is None else int(desired)
    state = str(getattr(status, "state", None) or "UNKNOWN").removeprefix("DEPLOYMENT_STATE_")
    counted = getattr(status, "ready_replicas", None)  # may be missing, as every optional field
    return Deployment(
        id=deployment.id,
        name=str(getattr(deployment, "name", deployment.id)),
        state=state,
        message=str(getattr(status, "message", None) or ""),
        etag=getattr(deployment, "etag", None),
        minimum=least,
        maximum=max(least, _count(bounds, "max_replicas")),
        wanted=wanted,
        placed=_count(status, "scheduled_replicas"),
        ready=int(counted) if counted is not None else wanted if state == "READY" else 0,
        hardware=getattr(deployment, "hardware", None),
        created=str(getattr(deployment, "created_at", "")),
        shadow=getattr(deployment, "traffic_mode", None) == SHADOW,
    )


def price_of(hardware: str | None, catalogue: Iterable[Any]) -> HourlyPrice | None:
    """The price of an instance type by its name or id, with or without ``nvidia-`` in it; None is unknown."""
    if hardware is None:
        return None
    wanted = _plain(hardware)
    for row in catalogue:
        cents = getattr(row, "price_cents_per_hour", None)
        if cents and wanted in (_plain(str(row.name)), _plain(str(row.id))):
            source = f"Together's list of instance types, {row.name}"
            return HourlyPrice(nano=cents * CENT, source=source)
    return None


def has_room(row: Any) -> bool:
    """Whether more replicas fit on an instance type in some region, as far as Together says."""
    rooms = [getattr(region, "headroom", None) for region in getattr(row, "regions", None) or ()]
    return any((getattr(room, "value", None) or 0) > 0 for room in rooms)


def state_of(
    view: View | None,
    *,
    name: str,
    pinned: str | None,
    price: HourlyPrice | None,
    settling: bool,
    at: datetime,
) -> EndpointState:
    """What a look amounts to.

    Args:
        pinned: name of the one deployment that is meant; it needs no split of traffic.
        settling: it has been ready and routed too short a time for requests to arrive.
    """
    chosen = None if view is None else view.chosen(pinned)
    if view is None or chosen is None:
        said = "no such endpoint" if view is None else "the endpoint has no deployment"
        return EndpointState(
            name=name, life="absent", replicas=NO_REPLICAS, minimum=0, maximum=0, routed=False,
            price=None, said=said, since=None, at=at,
        )  # fmt: skip
    routed = pinned is not None or bool(view.weights.get(chosen.id))
    said = chosen.words
    if chosen.ready and not routed:
        said += " (not in the split of traffic)"
    elif chosen.ready and settling:
        said += " (traffic is about to arrive)"
    return EndpointState(
        name=name,
        life=_life(chosen, routed=routed, settling=settling),
        replicas=Replicas(
            ready=chosen.ready, starting=max(0, chosen.wanted - chosen.ready), wanted=chosen.wanted
        ),
        minimum=chosen.minimum,
        maximum=chosen.maximum,
        routed=routed,
        price=price,
        said=said,
        since=None,
        at=at,
    )


def answers(view: View | None, pinned: str | None) -> bool:
    """Whether replicas are ready, and traffic is led to them."""
    chosen = None if view is None else view.chosen(pinned)
    if view is None or chosen is None:
        return False
    routed = pinned is not None or bool(view.weights.get(chosen.id))
    return routed and chosen.ready > 0 and not chosen.at_rest and chosen.state != "STOPPING"


def _life(chosen: Deployment, *, routed: bool, settling: bool) -> Life:
    if chosen.state == "FAILED":
        return "failed"
    if chosen.state == "STOPPED":
        return "cold"
    if chosen.state == "STOPPING" or not chosen.maximum:
        return "draining"
    return "warm" if chosen.ready and routed and not settling else "warming"


def _count(of: Any, name: str) -> int:
    return int(getattr(of, name, None) or 0)


def _plain(hardware: str) -> str:
    return hardware.lower().replace("nvidia-", "")
