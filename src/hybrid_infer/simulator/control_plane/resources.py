"""The resources of the control plane, and how they look on the wire (`together` 3.1.1, camelCase)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hybrid_infer.simulator.control_plane.catalogue import Profile
from hybrid_infer.simulator.dedicated import Endpoint as Machine

LEVELS = ("LEVEL_DEBUG", "LEVEL_INFO", "LEVEL_WARN", "LEVEL_ERROR")

Clock = Callable[[float], str]
"""A moment of the world as the wire writes it."""


@dataclass(slots=True, kw_only=True)
class Deployment:
    """A model on a machine under an endpoint.

    Attributes:
        name: the bare one.
        autoscaling: as it was sent, without the bounds, which are the machine's.
        version: counts its writes; its etag.
    """

    id: str
    name: str
    machine: Machine
    profile: Profile
    created: float
    updated: float
    autoscaling: dict[str, Any] = field(default_factory=dict[str, Any])
    inactive_timeout: int = 0
    most_requests: str | None = None
    placement: Any = None
    version: int = 1

    @property
    def etag(self) -> str:
        return f'W/"{self.id}-{self.version}"'


@dataclass(slots=True, kw_only=True)
class Resource:
    """An endpoint: a name, deployments, and how traffic is split among them.

    Attributes:
        name: with the slug of the project.
        split: weights by id of the deployment.
        events: newest last.
    """

    id: str
    name: str
    created: float
    updated: float
    visibility: str = "VISIBILITY_PRIVATE"
    deployments: dict[str, Deployment] = field(default_factory=dict[str, Deployment])
    split: dict[str, float] = field(default_factory=dict[str, float])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    version: int = 1

    @property
    def etag(self) -> str:
        return f'W/"{self.id}-{self.version}"'


class Past:
    """What reads still show of things that were written a moment ago.

    Args:
        lag: seconds for which a read shows the state before a write.
    """

    def __init__(self, lag: float) -> None:
        self._lag = lag
        self._before: dict[str, list[tuple[float, dict[str, Any] | None]]] = {}

    def wrote(self, id: str, before: dict[str, Any] | None, moment: float) -> None:
        """At `moment` something was written that had looked like `before`; None: it was not there."""
        if self._lag:
            self._before.setdefault(id, []).append((moment, before))

    def view(self, id: str, now: dict[str, Any] | None, moment: float) -> dict[str, Any] | None:
        """How it looks to a read."""
        for wrote, before in self._before.get(id, ()):
            if wrote > moment - self._lag:
                return before
        return now

    def ids(self) -> tuple[str, ...]:
        """All that were ever written."""
        return tuple(self._before)


def endpoint_json(resource: Resource, project: str, moment: float, clock: Clock) -> dict[str, Any]:
    """An endpoint with summaries of its deployments."""
    return {
        "id": resource.id,
        "name": resource.name,
        "projectId": project,
        "endpointType": "ENDPOINT_TYPE_DEDICATED",
        "visibility": resource.visibility,
        "etag": resource.etag,
        "trafficSplit": [{"deploymentId": id, "weight": weight} for id, weight in resource.split.items()],
        "deployments": [_summary(resource, each, moment, clock) for each in resource.deployments.values()],
        "createdAt": clock(resource.created),
        "updatedAt": clock(resource.updated),
    }


def deployment_json(
    resource: Resource, deployment: Deployment, project: str, moment: float, clock: Clock
) -> dict[str, Any]:
    """A deployment whole."""
    condition = deployment.machine.condition(moment)
    whole: dict[str, Any] = {
        **_summary(resource, deployment, moment, clock),
        "projectId": project,
        "endpointId": resource.id,
        "config": deployment.profile.config,
        "configId": deployment.profile.config.rpartition("/")[2],
        "modelRevisionId": "rv_1",
        "etag": deployment.etag,
        "updatedAt": clock(deployment.updated),
        "status": {
            "state": f"DEPLOYMENT_STATE_{condition.state}",
            "message": condition.message,
            "scheduledReplicas": condition.placed,
            "readyReplicas": condition.ready,
        },
    }
    del whole["state"], whole["readyReplicas"]
    if deployment.inactive_timeout:
        whole["inactiveTimeout"] = deployment.inactive_timeout
    if deployment.most_requests is not None:
        whole["maxConcurrentRequestsPerReplica"] = deployment.most_requests
    if deployment.placement is not None:
        whole["placement"] = deployment.placement
    return whole


def trouble_of(
    resource: Resource, deployment: Deployment, moment: float, clock: Clock, log: str | None
) -> dict[str, Any] | None:
    """The event that says what is wrong with a deployment; None where nothing is."""
    condition = deployment.machine.condition(moment)
    if condition.state not in ("FAILED", "DEGRADED"):
        return None
    event: dict[str, Any] = {
        "id": f"ev_{deployment.id[4:]}{condition.state.lower()}",
        "createdAt": clock(moment),
        "endpointId": resource.id,
        "deploymentId": deployment.id,
        "level": "LEVEL_ERROR" if condition.state == "FAILED" else "LEVEL_WARN",
        "source": "scheduler",
        "sourceKind": "SOURCE_KIND_DEPLOYMENT",
        "type": "condition.set",
        "status": "False",
        "message": condition.message,
    }
    if condition.state == "FAILED" and log is not None:
        event["logExcerpt"] = log
    return event


def _summary(resource: Resource, deployment: Deployment, moment: float, clock: Clock) -> dict[str, Any]:
    machine = deployment.machine
    condition = machine.condition(moment)
    bounds = {"minReplicas": machine.minimum, "maxReplicas": machine.maximum}
    return {
        "id": deployment.id,
        "name": f"{resource.name}/{deployment.name}",
        "model": f"{deployment.profile.model}/revisions/rv_1",
        "modelId": deployment.profile.model.rpartition("/")[2],
        "hardware": deployment.profile.hardware,
        "autoscaling": {**deployment.autoscaling, **bounds},
        "desiredReplicas": condition.wanted,
        "readyReplicas": condition.ready,
        "state": f"DEPLOYMENT_STATE_{condition.state}",
        "trafficMode": "TRAFFIC_MODE_LIVE",
        "estimatedEffectiveTrafficShare": _share(resource, deployment, moment),
        "createdAt": clock(deployment.created),
    }


def _share(resource: Resource, deployment: Deployment, moment: float) -> float:
    """Its part of the traffic: weight times ready replicas (docs, 2026-10)."""
    parts = {
        id: resource.split.get(id, 0.0) * each.machine.ready(moment)
        for id, each in resource.deployments.items()
    }
    total = sum(parts.values())
    return parts[deployment.id] / total if total else 0.0
