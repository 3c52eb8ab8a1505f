"""The control plane behind its paths: ``/v2/projects/{p}/endpoints/{ep}/deployments/{dep}`` and the rest.

Paths, fields and the meaning of both as in the `together` package 3.1.1; the words of refusals are ours where
Together's are not published. Pure: the moment is an argument.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic_core import to_json

from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.control_plane import catalogue
from hybrid_infer.simulator.control_plane.asked import ROOTS, Asked, NotDoneError, page_of, taken_apart
from hybrid_infer.simulator.control_plane.fleet import Fleet
from hybrid_infer.simulator.control_plane.plan import ControlPlan
from hybrid_infer.simulator.control_plane.resources import (
    LEVELS,
    Deployment,
    Past,
    Resource,
    deployment_json,
    endpoint_json,
    trouble_of,
)
from hybrid_infer.simulator.control_plane.writes import Writes
from hybrid_infer.simulator.dedicated import EndpointPlan
from hybrid_infer.simulator.exchange import Request, Response
from hybrid_infer.simulator.together_wire import JSON, error


class ControlPlane:
    """Answers requests about the machines of `fleet`.

    Args:
        epoch: the time of day of the world's beginning.
        machines: how the machines behave.
    """

    def __init__(
        self, fleet: Fleet, plan: ControlPlan, chance: Chance, epoch: datetime, *, machines: EndpointPlan
    ) -> None:
        self._fleet = fleet
        self._plan = plan
        self._chance = chance
        self._epoch = epoch
        self._machines = machines
        self._project = plan.project or "proj_simulated"
        self._past = Past(plan.lag)
        self._writes = Writes(fleet, plan, self._past, self._project, self._wall)
        self._asked = 0

    def takes(self, request: Request) -> bool:
        """Whether it is asked of the control plane."""
        return request.path.startswith(ROOTS)

    def receive(self, request: Request, moment: float, *, known: bool) -> Response:
        """Answer; `known`: the request carries a credential."""
        self._asked += 1
        id = f"sim-{self._chance.of(f'control {self._asked}').getrandbits(48):012x}"
        try:
            if not known:
                raise NotDoneError(401, "invalid_api_key", "Invalid API key provided.")
            if self._asked <= self._plan.failing:
                raise NotDoneError(503, "unavailable", "The service is temporarily unavailable.")
            self._fleet.find(moment)
            body = to_json(self._answer(taken_apart(request), moment))
        except NotDoneError as refused:
            return error(
                refused.status, refused.message, id=id, code=refused.code, headers=(("x-request-id", id),)
            )
        return Response(status=200, headers=(*JSON, ("x-request-id", id)), pieces=((0, body),))

    def _answer(self, asked: Asked, moment: float) -> dict[str, Any]:
        need = "read" if asked.method == "GET" else "write"
        if need in self._plan.forbidden:
            raise NotDoneError(403, "permission_denied", f"API key lacks permission to {need} endpoints")

        def taken(gpu: str) -> bool:
            return moment < self._machines.gpus_at(gpu)

        match asked.method, *asked.parts:
            case "GET", "v3", "whoami":
                return self._whoami()
            case "GET", "v1", "projects":
                return page_of([self._project_json()], asked)
            case "GET", "v2", "supported-models":
                rows = catalogue.supported_models(self._wall(0.0), asked.query.get("search"))
                return page_of(rows, asked)
            case "GET", "v2", "public", "inference-instance-types":
                rows = catalogue.instance_types(taken)
                return {"object": "list", "data": rows, "next_cursor": None}
            case "GET", "v2", "public", "inference-instance-types", id:
                return _one(catalogue.instance_types(taken), id)
            case "GET", "v2", "projects", _, "configs":
                query = asked.query
                rows = catalogue.configs(query.get("referenceModel") or query.get("referenceModelId"))
                return page_of(rows, asked)
            case "GET", "v2", "projects", _, "configs", id:
                return _one(catalogue.configs(), id)
            case "GET", "v2", "projects", self._project, "models":
                return page_of([], asked)
            case method, "v2", "projects", self._project, "endpoints", *rest:
                return self._endpoints(method, rest, asked, moment)
            case _, "v2", "projects", project, *_ if project != self._project:
                raise NotDoneError(403, "permission_denied", f"no access to project {project}")
            case _:
                raise NotDoneError(404, "not_found", f"No route for {'/'.join(asked.parts)}")

    def _endpoints(self, method: str, rest: list[str], asked: Asked, moment: float) -> dict[str, Any]:
        match method, *rest:
            case ("GET",):
                return page_of(self._listed(moment), asked)
            case ("POST",):
                return self._writes.make(asked, moment)
            case "GET", id:
                return self._shown(id, self._endpoint_now(id, moment), moment)
            case "PATCH", id:
                return self._writes.change(self._resource(id), asked, moment)
            case "DELETE", id:
                return self._writes.delete(self._resource(id), asked, moment)
            case "GET", id, "events":
                return page_of(self._events(self._resource(id), asked, moment), asked)
            case "GET", id, "deployments":
                rows = [self._seen(each, moment) for each in self._deployment_ids(id)]
                return page_of([row for row in rows if row is not None], asked)
            case "POST", id, "deployments":
                return self._writes.deploy(self._resource(id), asked, moment)
            case "GET", id, "deployments", dep:
                return self._shown(dep, self._deployment_now(dep, moment), moment)
            case "PATCH", id, "deployments", dep:
                return self._writes.tune(self._resource(id), self._deployment(id, dep), asked, moment)
            case "DELETE", id, "deployments", dep:
                return self._writes.undeploy(self._resource(id), self._deployment(id, dep), asked, moment)
            case _:
                raise NotDoneError(404, "not_found", f"No route for {'/'.join(asked.parts)}")

    # Reads, as late as the plan says.

    def _events(self, resource: Resource, asked: Asked, moment: float) -> list[dict[str, Any]]:
        """Newest first: what is wrong now, then what was done."""
        wrong = [
            trouble
            for each in resource.deployments.values()
            if (trouble := trouble_of(resource, each, moment, self._wall, self._machines.fails_log))
        ]
        rows = [*wrong, *resource.events[::-1]]
        least = LEVELS.index(asked.query.get("minLevel", LEVELS[0]))
        return [row for row in rows if LEVELS.index(row["level"]) >= least]

    def _listed(self, moment: float) -> list[dict[str, Any]]:
        ids = [*self._fleet.resources]
        ids += [id for id in self._past.ids() if id.startswith("ep_") and id not in ids]
        shown = [self._past.view(id, self._endpoint_now(id, moment), moment) for id in ids]
        return [row for row in shown if row is not None]

    def _deployment_ids(self, id: str) -> list[str]:
        resource = self._fleet.resources.get(id)
        if resource is None:
            raise NotDoneError(404, "not_found", f"endpoint {id} not found")
        return [*resource.deployments]

    def _seen(self, id: str, moment: float) -> dict[str, Any] | None:
        return self._past.view(id, self._deployment_now(id, moment), moment)

    def _shown(self, id: str, now: dict[str, Any] | None, moment: float) -> dict[str, Any]:
        shown = self._past.view(id, now, moment)
        if shown is None:
            raise NotDoneError(404, "not_found", f"{id} not found")
        return shown

    def _endpoint_now(self, id: str, moment: float) -> dict[str, Any] | None:
        resource = self._fleet.resources.get(id)
        return None if resource is None else endpoint_json(resource, self._project, moment, self._wall)

    def _deployment_now(self, id: str, moment: float) -> dict[str, Any] | None:
        for resource in self._fleet.resources.values():
            if id in resource.deployments:
                return self._whole(resource, resource.deployments[id], moment)
        return None

    def _resource(self, id: str) -> Resource:
        resource = self._fleet.resources.get(id)
        if resource is None:
            raise NotDoneError(404, "not_found", f"endpoint {id} not found")
        return resource

    def _deployment(self, id: str, dep: str) -> Deployment:
        deployment = self._resource(id).deployments.get(dep)
        if deployment is None:
            raise NotDoneError(404, "not_found", f"deployment {dep} not found")
        return deployment

    def _whole(self, resource: Resource, deployment: Deployment, moment: float) -> dict[str, Any]:
        return deployment_json(resource, deployment, self._project, moment, self._wall)

    def _wall(self, moment: float) -> str:
        return (self._epoch + timedelta(seconds=moment)).isoformat().replace("+00:00", "Z")

    def _project_json(self) -> dict[str, Any]:
        mine = {"id": self._project, "name": self._fleet.slug, "slug": self._fleet.slug}
        return {**mine, "organization_id": "org_simulated", "organization_name": "Simulated"}

    def _whoami(self) -> dict[str, Any]:
        organization = {"id": "org_simulated", "name": "Simulated"}
        key = {"id": "key_simulated", "name": "simulated"}
        if self._plan.project is None:
            return {"type": "org_api_key", "api_key": key, "organization": organization}
        project = {"id": self._project, "name": self._fleet.slug, "slug": self._fleet.slug}
        whole = {"type": "project_api_key", "api_key": key, "organization": organization, "project": project}
        return whole


def _one(rows: list[dict[str, Any]], id: str) -> dict[str, Any]:
    for row in rows:
        if id in (row.get("id"), row.get("name")):
            return row
    raise NotDoneError(404, "not_found", f"{id} not found")
