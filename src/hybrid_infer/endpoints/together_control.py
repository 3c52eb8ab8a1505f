"""Reads and writes of one endpoint in Together's control plane, through the `together` package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hybrid_infer.endpoints.errors import EndpointError, EndpointNotFoundError
from hybrid_infer.endpoints.state import HourlyPrice
from hybrid_infer.endpoints.together_calls import Calls
from hybrid_infer.endpoints.together_memory import Memory
from hybrid_infer.endpoints.together_steps import (
    Action,
    DeleteDeployment,
    DeleteEndpoint,
    Done,
    MakeDeployment,
    MakeEndpoint,
    Scale,
    Split,
)
from hybrid_infer.endpoints.together_view import View, deployment_of, has_room, price_of, view_of
from hybrid_infer.runtime.base import Runtime

_MASK = "autoscaling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """What an endpoint that is absent is made of.

    Attributes:
        weights: name of the model in Together's catalogue, e.g. ``"Qwen/Qwen3.5-9B"``, or a resource name
            ``projects/…/models/…``, which needs `config`.
        gpu, gpus: of one replica, e.g. ``"H100"`` and 2.
        config: resource name ``projects/…/configs/…``; None takes the one that is certified for the GPUs.
        deployment: name of the deployment under the endpoint.
        inactive_minutes: Together stops it after so many minutes without a request (30 to 1440); None never.
            A control plane that does not know this field is asked again without it.
    """

    weights: str
    gpu: str | None
    gpus: int = 1
    config: str | None = None
    deployment: str = "main"
    inactive_minutes: int | None = None


class TogetherControl:
    """One endpoint, by its name ``[<slug>/]<endpoint>[/<deployment>]``.

    Attributes:
        pinned: name of the one deployment that is meant, where the name has one.
    """

    def __init__(self, model: str, *, where: str, creation: Creation | None, runtime: Runtime) -> None:
        parts = model.split("/")
        self._slug = parts[0] if len(parts) > 1 else None
        self._name = parts[1] if len(parts) > 1 else parts[0]
        self.pinned = parts[2] if len(parts) > 2 else None
        self._where = where
        self._creation = creation
        self._memory = Memory(runtime.guard())
        self._now = runtime.now
        self._project: str | None = None
        self._id: str | None = None
        self._catalogue: list[Any] | None = None
        self._no_timeout = False

    async def read(self, calls: Calls) -> View | None:
        """The endpoint and its deployments; None where there is none."""
        project = await self._project_of(calls)
        memory, client = self._memory, calls.client
        view = memory.endpoint(await self._find(calls, project), self._now())
        if view is None:
            return None
        self._id = view.id
        try:
            rows = await calls.all(
                lambda: client.endpoints.deployments.list(view.id, project_id=project, limit=100)
            )
        except EndpointNotFoundError:  # a read that is late, or somebody deleted it a moment ago
            rows = []
        read = tuple(deployment_of(row) for row in rows)
        return view.with_deployments(memory.deployments(read, self._now()))

    async def price(self, calls: Calls, hardware: str | None) -> HourlyPrice | None:
        """What a replica costs; None where Together does not say, or does not answer."""
        if self._catalogue is None:
            try:
                listed = await calls.ask(calls.client.endpoints.hardware.list)
            except EndpointError:
                return None
            self._catalogue = list(listed.data or ())
        return price_of(hardware, self._catalogue)

    async def log_of(self, calls: Calls, view: View) -> str | None:
        """The end of the log in the last error among the endpoint's events; None where there is none."""
        try:
            page = await calls.ask(
                lambda: calls.client.endpoints.list_events(
                    view.id, project_id=self._project, min_level="LEVEL_ERROR", limit=20
                )
            )
        except EndpointError:
            return None
        excerpts = (getattr(row, "log_excerpt", None) for row in page.data or ())
        return next((str(excerpt).strip() for excerpt in excerpts if excerpt), None)

    async def with_room(self, calls: Calls) -> list[str]:
        """Hardware of which Together says that more replicas fit at the moment."""
        try:
            listed = await calls.ask(calls.client.endpoints.hardware.list)
        except EndpointError:
            return []
        return [str(row.name) for row in listed.data or () if has_room(row)]

    async def act(self, calls: Calls, action: Action, done: Done) -> str:
        """Do it; says what was done.

        Raises:
            EndpointConflictError: what it rests on has changed: look again.
        """
        project = await self._project_of(calls)
        match action:
            case MakeEndpoint():
                return await self._make_endpoint(calls, project)
            case MakeDeployment():
                return await self._make_deployment(calls, project, action, done)
            case Scale():
                return await self._scale(calls, project, action, done)
            case Split():
                return await self._split(calls, project, action)
            case DeleteDeployment():
                return await self._delete_deployment(calls, project, action)
            case DeleteEndpoint():
                return await self.delete_endpoint(calls, action.endpoint.id)

    async def delete_endpoint(self, calls: Calls, id: str) -> str:
        """Delete an endpoint without deployments; harmless where it is gone."""
        project = await self._project_of(calls)
        try:
            await calls.ask(lambda: calls.client.endpoints.delete(id, project_id=project))
        except EndpointNotFoundError:
            pass
        self._memory.deleted(id)
        self._id = None
        return "delete the endpoint"

    async def _find(self, calls: Calls, project: str) -> View | None:
        client, id = calls.client, self._id
        if id is not None:
            try:
                return view_of(await calls.ask(lambda: client.endpoints.retrieve(id, project_id=project)))
            except EndpointNotFoundError:
                self._id = None
        rows = await calls.all(lambda: client.endpoints.list(project_id=project, limit=100))
        named = [row for row in rows if str(row.name).rpartition("/")[2] == self._name]
        return view_of(named[0]) if named else None

    async def _project_of(self, calls: Calls) -> str:
        """The project's id. A key of a project names its own; one of an organisation is asked for all."""
        if self._project is None:
            me = await calls.ask(calls.client.whoami)
            project = getattr(me, "project", None)
            if project is None or self._slug not in (None, project.slug):
                rows = await calls.all(calls.client.projects.list)
                project = next((row for row in rows if row.slug == self._slug), None)
                if project is None:
                    raise self._no_project([str(row.slug) for row in rows])
            self._project = str(project.id)
        return self._project

    def _no_project(self, slugs: list[str]) -> EndpointNotFoundError:
        known = ", ".join(slugs) or "none"
        return EndpointNotFoundError(
            f"this API key reaches no project {self._slug!r}" if self._slug else "the key has no project",
            where=self._where,
            hint=f"write the model as <project slug>/<endpoint>; the key reaches: {known}",
        )

    async def _make_endpoint(self, calls: Calls, project: str) -> str:
        made = await calls.ask(lambda: calls.client.endpoints.create(project_id=project, name=self._name))
        self._memory.made(view_of(made), self._now())
        self._id = made.id
        return f"make endpoint {self._name}"

    async def _make_deployment(self, calls: Calls, project: str, action: MakeDeployment, done: Done) -> str:
        creation = self._creation
        assert creation is not None  # noqa: S101 - without one, no goal is `creating`
        model, config, hardware = await self._profile(calls, creation)
        name = creation.deployment if action.number == 1 else f"{creation.deployment}-{action.number}"
        name = self.pinned or name
        options: dict[str, Any] = {}
        if creation.inactive_minutes is not None and not self._no_timeout:
            options["inactive_timeout"] = creation.inactive_minutes
        bounds = {"min_replicas": action.minimum, "max_replicas": action.minimum}
        try:
            made = await calls.ask(
                lambda: calls.client.endpoints.deployments.create(
                    action.endpoint.id, project_id=project, name=name, model=model, config=config,
                    autoscaling=bounds, **options,
                )
            )  # fmt: skip
        except EndpointError as error:
            if not options or error.status != 400 or "inactive" not in (error.said or "").lower():
                raise
            self._no_timeout = True
            return await self._make_deployment(calls, project, action, done)
        deployment = deployment_of(made)
        self._memory.made(deployment, self._now())
        done.made = deployment.id
        return f"make deployment {name} of {creation.weights} on {hardware}, {action.minimum} at least"

    async def _profile(self, calls: Calls, creation: Creation) -> tuple[str, str, str]:
        """Resource names of model and config, and the hardware in words."""
        weights, hardware = creation.weights, f"{creation.gpus} x {creation.gpu or 'any GPU'}"
        if weights.startswith("projects/"):
            if creation.config is None:
                raise EndpointNotFoundError(
                    f"{weights} is a resource name, and no config is given",
                    where=self._where, hint="give config= as projects/…/configs/…",
                )  # fmt: skip
            return weights, creation.config, hardware
        rows = await calls.all(
            lambda: calls.client.models.list_supported(
                product="PRODUCT_DEDICATED", search=weights.rpartition("/")[2], limit=100
            )
        )
        offered: list[str] = []
        for row in rows:
            for profile in row.deployment_profiles or ():
                if weights.lower() not in (str(row.name).lower(), str(profile.api_model_name).lower()):
                    continue
                offered.append(f"{profile.gpu_count} x {profile.gpu_type}")
                if _fits(creation, profile):
                    return profile.model, profile.config, offered[-1]
        raise EndpointNotFoundError(
            f"Together offers no dedicated {weights} on {hardware}",
            where=self._where,
            hint="choose another model, gpu or gpus; "
            + (
                f"offered for it: {', '.join(offered)}"
                if offered
                else "it is not in the catalogue; for one of your own give its resource name and config="
            ),
        )

    async def _scale(self, calls: Calls, project: str, action: Scale, done: Done) -> str:
        before, bounds = action.deployment, {"min_replicas": action.minimum, "max_replicas": action.maximum}
        done.scaled[before.id] = done.scaled.get(before.id, 0) + 1
        changed = await calls.ask(
            lambda: calls.client.endpoints.deployments.update(
                before.id, endpoint_id=action.endpoint.id, project_id=project, autoscaling=bounds,
                update_mask=_MASK,
            )
        )  # fmt: skip
        self._memory.wrote(before, deployment_of(changed))
        return f"scale {before.name} to {action.minimum}..{action.maximum}"

    async def _split(self, calls: Calls, project: str, action: Split) -> str:
        """The whole split is replaced, so the write must fail where somebody else changed it meanwhile."""
        view = action.endpoint
        etag = {} if view.etag is None else {"etag": view.etag}
        split = [{"deployment_id": id, "weight": weight} for id, weight in action.weights.items()]
        changed = await calls.ask(
            lambda: calls.client.endpoints.update(
                view.id, project_id=project, traffic_split=split, update_mask="trafficSplit", **etag
            )
        )
        self._memory.wrote(view, view_of(changed))
        return f"lead traffic to {len(split)} deployment{'' if len(split) == 1 else 's'}"

    async def _delete_deployment(self, calls: Calls, project: str, action: DeleteDeployment) -> str:
        id = action.deployment.id
        try:
            await calls.ask(
                lambda: calls.client.endpoints.deployments.delete(
                    id, endpoint_id=action.endpoint.id, project_id=project
                )
            )
        except EndpointNotFoundError:
            pass
        self._memory.deleted(id)
        return f"delete deployment {action.deployment.name}"


def _fits(creation: Creation, profile: Any) -> bool:
    """Whether a profile has the config, or is on the GPUs: ``H100`` is in ``nvidia-h100-80gb``."""
    if creation.config is not None:
        return bool(creation.config == profile.config)
    kind = str(profile.gpu_type).lower()
    wanted = (creation.gpu or "").lower()
    return profile.gpu_count == creation.gpus and (not wanted or wanted in kind or kind in wanted)
