"""Writes to the control plane: endpoints, deployments and the split are made, changed and deleted. Pure.

Each write remembers what reads may still show for a while.
"""

from __future__ import annotations

from typing import Any

from hybrid_infer.simulator.control_plane import catalogue
from hybrid_infer.simulator.control_plane.asked import Asked, NotDoneError
from hybrid_infer.simulator.control_plane.bounds import bounds_of, minutes_of, weights_of
from hybrid_infer.simulator.control_plane.fleet import Fleet
from hybrid_infer.simulator.control_plane.plan import ControlPlan
from hybrid_infer.simulator.control_plane.resources import (
    Clock,
    Deployment,
    Past,
    Resource,
    deployment_json,
    endpoint_json,
)

_ENDPOINT_FIELDS = ("name", "trafficSplit", "visibility")
_DEPLOYMENT_FIELDS = ("autoscaling", "inactiveTimeout", "maxConcurrentRequestsPerReplica", "name")
_CREATE_FIELDS = ("model", "config", "modelId", "configId", "modelRevisionId", "placement")


class Writes:
    """Changes `fleet`; each method answers as the control plane does.

    Args:
        project: id of the project.
        clock: moments as the wire writes them.
    """

    def __init__(self, fleet: Fleet, plan: ControlPlan, past: Past, project: str, clock: Clock) -> None:
        self._fleet = fleet
        self._plan = plan
        self._past = past
        self._project = project
        self._wall = clock
        self._conflicts = plan.conflicts

    def make(self, asked: Asked, moment: float) -> dict[str, Any]:
        name = asked.body.get("name")
        if not isinstance(name, str) or not name:
            raise NotDoneError(400, "invalid_argument", "name is required")
        slug, _, bare = name.rpartition("/")
        if slug not in ("", self._fleet.slug):
            raise NotDoneError(400, "invalid_argument", f"{slug} is not the slug of this project")
        if self._fleet.named(f"{self._fleet.slug}/{bare}") is not None:
            raise NotDoneError(409, "already_exists", f'endpoint "{bare}" already exists')
        resource = self._fleet.make(f"{self._fleet.slug}/{bare}", moment)
        self._past.wrote(resource.id, None, moment)
        self._tell(resource, "endpoint.created", moment, name=resource.name)
        return endpoint_json(resource, self._project, moment, self._wall)

    def change(self, resource: Resource, asked: Asked, moment: float) -> dict[str, Any]:
        self._check(asked.body.get("etag"), resource.etag)
        if (
            self._plan.mask_needed
            and asked.body.get("trafficSplit") == []
            and "updateMask" not in asked.query
        ):
            raise NotDoneError(400, "invalid_argument", "no fields to update")
        fields = asked.fields(_ENDPOINT_FIELDS)
        before = endpoint_json(resource, self._project, moment, self._wall)
        if "trafficSplit" in fields:
            split = weights_of(asked.body.get("trafficSplit", []), set(resource.deployments))
            resource.split = split
            for id, deployment in resource.deployments.items():
                deployment.machine.route(id in split, moment)
        if "name" in fields:
            resource.name = f"{self._fleet.slug}/{str(asked.body.get('name')).rpartition('/')[2]}"
        resource.visibility = asked.body.get("visibility", resource.visibility)
        self._wrote(resource, before, moment)
        self._tell(resource, "endpoint.updated", moment, paths=sorted(fields))
        return endpoint_json(resource, self._project, moment, self._wall)

    def delete(self, resource: Resource, asked: Asked, moment: float) -> dict[str, Any]:
        self._check(asked.query.get("etag"), resource.etag)
        if resource.deployments:
            message = f"endpoint has {len(resource.deployments)} deployments; delete them first"
            raise NotDoneError(400, "failed_precondition", message)
        self._past.wrote(resource.id, endpoint_json(resource, self._project, moment, self._wall), moment)
        del self._fleet.resources[resource.id]
        return {}

    def deploy(self, resource: Resource, asked: Asked, moment: float) -> dict[str, Any]:
        body = asked.body
        asked.fields((*_DEPLOYMENT_FIELDS, *_CREATE_FIELDS))
        name, profile = (
            body.get("name"),
            catalogue.profile_of(str(body.get("model")), str(body.get("config"))),
        )
        if not isinstance(name, str) or not name:
            raise NotDoneError(400, "invalid_argument", "name is required")
        if any(each.name == name for each in resource.deployments.values()):
            raise NotDoneError(409, "already_exists", f'deployment "{name}" already exists')
        if profile is None:
            raise NotDoneError(400, "invalid_argument", "the config is not compatible with the model")
        least, most = bounds_of(body.get("autoscaling"), None, None)
        minutes = self._minutes(body)
        self._quota(most * profile.gpus)
        before = endpoint_json(resource, self._project, moment, self._wall)
        deployment = self._fleet.deploy(resource, name, profile, moment)
        self._bound(deployment, body, least, most, minutes, moment)
        deployment.placement = body.get("placement")
        whole = self._whole(resource, deployment, moment)
        if asked.query.get("validateOnly") == "true":
            del resource.deployments[deployment.id]
            deployment.machine.stop(moment)
            return whole
        self._past.wrote(deployment.id, None, moment)
        self._wrote(resource, before, moment)
        self._tell(resource, "deployment.created", moment, deployment=deployment, name=whole["name"])
        return whole

    def tune(self, resource: Resource, deployment: Deployment, asked: Asked, moment: float) -> dict[str, Any]:
        body = asked.body
        self._check(body.get("etag"), deployment.etag)
        fields, minutes = asked.fields(_DEPLOYMENT_FIELDS), self._minutes(body)
        machine = deployment.machine
        least, most = machine.minimum, machine.maximum
        if "autoscaling" in fields:
            least, most = bounds_of(body.get("autoscaling"), least, most)
            if least and machine.state(moment) == "FAILED":
                message = "deployment has failed and cannot be restarted; create a new deployment"
                raise NotDoneError(400, "failed_precondition", message)
            self._quota((most - machine.maximum) * deployment.profile.gpus)
        before = self._whole(resource, deployment, moment)
        whole = endpoint_json(resource, self._project, moment, self._wall)
        self._bound(deployment, body, least, most, minutes, moment)
        deployment.name = str(body["name"]).rpartition("/")[2] if "name" in fields else deployment.name
        deployment.version += 1
        deployment.updated = moment
        self._past.wrote(deployment.id, before, moment)
        self._past.wrote(resource.id, whole, moment)
        self._tell(resource, "deployment.updated", moment, deployment=deployment, paths=sorted(fields))
        return self._whole(resource, deployment, moment)

    def undeploy(
        self, resource: Resource, deployment: Deployment, asked: Asked, moment: float
    ) -> dict[str, Any]:
        self._check(asked.query.get("etag"), deployment.etag)
        if deployment.id in resource.split:
            message = "deployment receives live traffic; remove it from the traffic split first"
            raise NotDoneError(400, "failed_precondition", message)
        state = deployment.machine.state(moment)
        if state not in ("STOPPED", "FAILED"):
            message = f"deployment is {state}; scale it to zero and wait until it has stopped"
            raise NotDoneError(400, "failed_precondition", message)
        self._past.wrote(deployment.id, self._whole(resource, deployment, moment), moment)
        before = endpoint_json(resource, self._project, moment, self._wall)
        del resource.deployments[deployment.id]
        self._wrote(resource, before, moment)
        self._tell(resource, "deployment.deleted", moment, deployment=deployment)
        return {}

    def _bound(
        self, deployment: Deployment, body: dict[str, Any], least: int, most: int, minutes: int | None,
        moment: float,
    ) -> None:  # fmt: skip
        machine = deployment.machine
        if (least, most) != (machine.minimum, machine.maximum):
            machine.bound(least, most, moment)
        deployment.autoscaling |= body.get("autoscaling") or {}
        deployment.most_requests = body.get("maxConcurrentRequestsPerReplica", deployment.most_requests)
        if minutes is not None:
            deployment.inactive_timeout = minutes
            machine.idle_limit = 60.0 * minutes or None

    def _minutes(self, body: dict[str, Any]) -> int | None:
        if "inactiveTimeout" not in body:
            return None
        if not self._plan.inactive_timeout:
            raise NotDoneError(400, "invalid_argument", 'unknown field "inactiveTimeout"')
        return minutes_of(body["inactiveTimeout"])

    def _quota(self, more: int) -> None:
        used = sum(
            each.machine.maximum * each.profile.gpus
            for resource in self._fleet.resources.values()
            for each in resource.deployments.values()
        )
        if more > 0 and used + more > self._plan.gpu_quota:
            message = f"GPU quota exceeded: {used + more} GPUs requested, {self._plan.gpu_quota} allowed"
            raise NotDoneError(429, "resource_exhausted", message)

    def _check(self, sent: str | None, current: str) -> None:
        """Refuse a write that knows another version."""
        if sent is None:
            return
        if self._conflicts > 0 or sent != current:
            self._conflicts -= 1
            raise NotDoneError(409, "aborted", "etag does not match the current version")

    def _wrote(self, resource: Resource, before: dict[str, Any], moment: float) -> None:
        resource.version += 1
        resource.updated = moment
        self._past.wrote(resource.id, before, moment)

    def _tell(
        self, resource: Resource, kind: str, moment: float, *, deployment: Deployment | None = None,
        **facts: Any,
    ) -> None:  # fmt: skip
        source = "SOURCE_KIND_ENDPOINT" if deployment is None else "SOURCE_KIND_DEPLOYMENT"
        event = {
            "id": f"ev_{resource.id[3:]}{len(resource.events)}",
            "createdAt": self._wall(moment),
            "endpointId": resource.id,
            "level": "LEVEL_INFO",
            "source": "control-plane",
            "sourceKind": source,
            "type": kind,
            **facts,
        }
        if deployment is not None:
            event["deploymentId"] = deployment.id
        resource.events.append(event)

    def _whole(self, resource: Resource, deployment: Deployment, moment: float) -> dict[str, Any]:
        return deployment_json(resource, deployment, self._project, moment, self._wall)
