"""Modal's RPCs for looking up and scaling what is deployed, as the `modal` package 1.6.4 speaks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from hybrid_infer.simulator.autoscaling import Autoscaling, Scaling, ScalingError
from hybrid_infer.simulator.grpc_service import Answer

_STATUS = {
    "permission": Status.PERMISSION_DENIED,
    "not_found": Status.NOT_FOUND,
    "invalid": Status.INVALID_ARGUMENT,
}


class AutoscalerAnswers:
    """What the door answers about the autoscaler, and about names and ids on the way to it.

    Args:
        others: answers so far; look-ups of functions are theirs, and completed here.
        function_id: from a name to the provider's id.
        now: simulated seconds.
    """

    def __init__(
        self,
        scaling: Autoscaling,
        *,
        others: Mapping[str, Answer],
        function_id: Callable[[str], str],
        now: Callable[[], float],
    ) -> None:
        self._scaling = scaling
        self._function_get = others["FunctionGet"]
        self._function_id = function_id
        self._now = now
        self.answers: dict[str, Answer] = {
            "AppGetOrCreate": self._app,
            "AppGetInfo": self._app_info,
            "FunctionGet": self._get,
            "FunctionGetById": self._get_by_id,
            "FunctionUpdateSchedulingParams": self._update,
            "FunctionGetSchedulingParams": self._settings,
            "FunctionGetCurrentStats": self._stats,
        }

    async def _app(self, request: Any) -> Any:
        return api_pb2.AppGetOrCreateResponse(
            app_id=f"ap-{request.app_name}", handle_metadata=self._listed(request.app_name)
        )

    async def _app_info(self, request: Any) -> Any:
        return api_pb2.AppGetInfoResponse(info=self._listed(request.app_id.removeprefix("ap-")))

    async def _get(self, request: Any) -> Any:
        name = f"{request.app_name}/{request.object_tag}"
        if self._is_server(name):
            return self._server(name)
        if name not in self._scaling.functions.deployed and f"{name}.*" in self._names():
            wrong = api_pb2.FunctionLookupError(reason=api_pb2.FunctionLookupError.REASON_CLASS_NAME_USED)
            raise GRPCError(Status.NOT_FOUND, f"{name} is a class", [wrong])
        reply = await self._function_get(request)
        reply.function.is_class = name.endswith(".*")
        return reply

    async def _get_by_id(self, request: Any) -> Any:
        name = self._named(request.function_id)
        app, _, tag = name.partition("/")
        reply = await self._get(api_pb2.FunctionGetRequest(app_name=app, object_tag=tag))
        return api_pb2.FunctionGetByIdResponse(function=reply.function, handle_metadata=reply.handle_metadata)

    async def _update(self, request: Any) -> Any:
        name, told = self._named(request.function_id), request.settings
        fields = {
            "minimum": "min_containers",
            "maximum": "max_containers",
            "buffer": "buffer_containers",
            "window": "scaledown_window",
        }
        given = {ours: getattr(told, theirs) for ours, theirs in fields.items() if told.HasField(theirs)}
        try:
            now = self._scaling.scale(name, self._now(), **given)
        except ScalingError as error:
            raise GRPCError(_STATUS[error.wrong], str(error)) from None
        return api_pb2.FunctionUpdateSchedulingParamsResponse(current_settings=_settings(now))

    async def _settings(self, request: Any) -> Any:
        scaling = self._scaling.scaling(self._named(request.function_id), self._now())
        reply = api_pb2.FunctionGetSchedulingParamsResponse()
        reply.autoscaler_configuration.settings.CopyFrom(_settings(scaling))
        return reply

    async def _stats(self, request: Any) -> Any:
        stats = self._scaling.stats(self._named(request.function_id), self._now())
        return api_pb2.FunctionStats(
            backlog=stats.backlog,
            num_total_tasks=stats.containers,
            num_running_inputs=stats.inputs,
            input_headroom=max(0, stats.containers - stats.inputs),
        )

    def _server(self, name: str) -> Any:
        """The service function of a server."""
        app, _, tag = name.partition("/")
        server = self._scaling.server
        url = f"https://simulated--{app}-{tag.lower()}.us-east.modal.direct"
        data = api_pb2.FunctionData(
            function_name=tag, timeout_secs=300, is_server=True, flash_service_urls=[url]
        )
        data.http_config.port = 8000
        data.http_config.startup_timeout = 30
        data.http_config.proxy_regions.append("us-east")
        resources = data.ranked_functions.add().function.resources
        if server is not None:
            resources.gpu_config.gpu_type = server.machine.gpu
            resources.gpu_config.count = server.machine.gpus
        described = api_pb2.FunctionHandleMetadata(
            function_name=tag,
            function_type=api_pb2.Function.FUNCTION_TYPE_FUNCTION,
            app_id=f"ap-{app}",
        )
        getattr(described, "_experimental_flash_urls").append(url)  # noqa: B009 - it is the package's own
        return api_pb2.FunctionGetResponse(
            function_id=self._function_id(name), handle_metadata=described, function=data
        )

    def _listed(self, app: str) -> Any:
        names = [name for name in self._names() if name.startswith(f"{app}/")]
        if not names:
            raise GRPCError(Status.NOT_FOUND, f"App '{app}' not found")
        ids = {name.partition("/")[2]: (self._function_id(name), self._is_server(name)) for name in names}
        return api_pb2.AppHandleMetadata(
            app_id=f"ap-{app}",
            description=app,
            functions={tag: id for tag, (id, server) in ids.items() if not server},
            servers={tag: id for tag, (id, server) in ids.items() if server},
        )

    def _names(self) -> list[str]:
        """All that can be scaled, by the names under which it is."""
        scaling = self._scaling
        there = [scaling.find(name) for name in scaling.functions.deployed]
        return [*dict.fromkeys(there), *(scaling.servers if scaling.server is not None else ())]

    def _named(self, id: str) -> str:
        for name in self._names():
            if self._function_id(name) == id:
                return name
        raise GRPCError(Status.NOT_FOUND, f"Function {id} not found")

    def _is_server(self, name: str) -> bool:
        return self._scaling.server is not None and name in self._scaling.servers


def _settings(scaling: Scaling) -> Any:
    return api_pb2.AutoscalerSettings(
        min_containers=scaling.minimum,
        max_containers=scaling.maximum,
        buffer_containers=scaling.buffer,
        scaledown_window=scaling.window,
    )
