"""Modal's RPCs for calling functions, over a registry of deployed ones."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from hybrid_infer.simulator.blobs import Blobs
from hybrid_infer.simulator.functions import Deployed, FunctionRegistry, Input, NoSuchFunction, Outcome
from hybrid_infer.simulator.grpc_service import Answer, Send, StreamAnswer, empty_reply

_INLINE_RESULT = 2 * 1024 * 1024
_LONGEST_STREAM = 600.0
_PICKLE = api_pb2.DATA_FORMAT_PICKLE
_STATUS = {
    "raised": api_pb2.GenericResult.GENERIC_STATUS_FAILURE,
    "timeout": api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT,
    "lost": api_pb2.GenericResult.GENERIC_STATUS_INTERNAL_FAILURE,
    "out_of_memory": api_pb2.GenericResult.GENERIC_STATUS_KERNEL_OOM_KILL,
    "init_failed": api_pb2.GenericResult.GENERIC_STATUS_INIT_FAILURE,
    "terminated": api_pb2.GenericResult.GENERIC_STATUS_TERMINATED,
}
_REFUSALS = {
    "permission": (Status.PERMISSION_DENIED, "You don't have permission to call this function"),
    "exhausted": (Status.RESOURCE_EXHAUSTED, "Function input queue is full"),
    "throttled": (Status.RESOURCE_EXHAUSTED, "Rate limit exceeded"),
    "unavailable": (Status.UNAVAILABLE, "Service unavailable"),
    "internal": (Status.INTERNAL, "Internal error"),
    "invalid": (Status.INVALID_ARGUMENT, "Invalid input"),
}
_END = object()


@dataclass(eq=False, kw_only=True)
class _Running:
    """A function call: its inputs, the results they came to, and the items that a generator gave."""

    id: str
    function: Deployed
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict[int, "asyncio.Task[None]"])
    outputs: list[Any] = field(default_factory=list[Any])
    chunks: list[Any] = field(default_factory=list[Any])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Wake whoever waits for something new."""
        self.changed.set()
        self.changed = asyncio.Event()


class FunctionAnswers:
    """What the door answers about functions.

    Args:
        now: simulated seconds.
        speed: simulated seconds for a real one.
    """

    def __init__(
        self, registry: FunctionRegistry, *, blobs: Blobs, now: Callable[[], float], speed: float
    ) -> None:
        self._registry = registry
        self._blobs = blobs
        self._now = now
        self._speed = speed
        self._calls: dict[str, _Running] = {}
        self._ids: dict[str, str] = {}
        self._numbers = count(1)
        self._last: Input | None = None
        self.answers: dict[str, Answer] = {
            "ClientHello": self._hello,
            "AuthTokenGet": self._auth_token,
            "FunctionGet": self._function_get,
            "FunctionGetById": self._function_get,
            "ClassGet": self._class_get,
            "FunctionMap": self._map,
            "FunctionPutInputs": self._put_inputs,
            "FunctionGetOutputs": self._get_outputs,
            "FunctionCallCancel": self._cancel,
            "BlobCreate": self._blob_create,
            "BlobGet": self._blob_get,
        }
        self.streams: dict[str, StreamAnswer] = {"FunctionCallGetDataOut": self._data_out}

    def function_id(self, name: str) -> str:
        """The id by which the provider knows ``app/tag``; for a class the tag is ``Class.*``."""
        id = f"fu-{name.replace('/', '-').replace('.', '-').replace('*', 'all').replace('_', '-')}"
        self._ids[id] = name
        return id

    async def stop(self) -> None:
        """Give up what runs."""
        tasks = [task for call in self._calls.values() for task in call.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _hello(self, _: Any) -> Any:
        return api_pb2.ClientHelloResponse()

    async def _auth_token(self, _: Any) -> Any:
        claims = base64.urlsafe_b64encode(json.dumps({"exp": 4102444800}).encode()).decode().rstrip("=")
        return api_pb2.AuthTokenGetResponse(token=f"e30.{claims}.x")

    async def _function_get(self, request: Any) -> Any:
        by_id: str | None = getattr(request, "function_id", None)
        name = self._ids.get(by_id, "") if by_id else f"{request.app_name}/{request.object_tag}"
        functions = self._of(name)
        if not functions:
            raise GRPCError(Status.NOT_FOUND, self._missing(name))
        data = api_pb2.FunctionData(timeout_secs=int(max(1.0, functions[0].timeout)))
        resources = data.ranked_functions.add().function.resources
        if functions[0].gpu is not None:
            resources.gpu_config.gpu_type = functions[0].gpu
            resources.gpu_config.count = functions[0].gpus
        return api_pb2.FunctionGetResponse(
            function_id=self.function_id(name),
            handle_metadata=self._described(name, functions),
            function=data,
        )

    async def _class_get(self, request: Any) -> Any:
        name = f"{request.app_name}/{request.object_tag}"
        if not self._registry.methods(request.app_name, request.object_tag):
            raise GRPCError(Status.NOT_FOUND, self._missing(name))
        return api_pb2.ClassGetResponse(class_id=f"cs-{name.replace('/', '-')}")

    async def _map(self, request: Any) -> Any:
        name = self._ids.get(request.function_id)
        functions = () if name is None else self._of(name)
        if name is None or not functions:
            raise GRPCError(Status.NOT_FOUND, f"Function {request.function_id} not found")
        self._refuse(functions[0])
        call = _Running(id=f"fc-m{next(self._numbers):08d}", function=functions[0])
        put = [self._begin(call, item, name) for item in request.pipelined_inputs]
        if self._last is not None and put:
            call.id = self._last.id
        self._calls[call.id] = call
        return api_pb2.FunctionMapResponse(
            function_call_id=call.id,
            function_call_jwt=call.id,
            pipelined_inputs=put,
            retry_policy=api_pb2.FunctionRetryPolicy(),
            max_inputs_outstanding=1000,
        )

    async def _put_inputs(self, request: Any) -> Any:
        call, name = self._call(request.function_call_id), self._ids[request.function_id]
        return api_pb2.FunctionPutInputsResponse(
            inputs=[self._begin(call, item, name) for item in request.inputs]
        )

    async def _get_outputs(self, request: Any) -> Any:
        call = self._call(request.function_call_id)
        seen = int(request.last_entry_id.partition("-")[0] or 0)
        until = asyncio.get_running_loop().time() + request.timeout
        while True:
            changed, new = call.changed, call.outputs[seen:]
            left = until - asyncio.get_running_loop().time()
            if new or left <= 0:
                return api_pb2.FunctionGetOutputsResponse(
                    outputs=new,
                    last_entry_id=f"{len(call.outputs)}-0",
                    num_unfinished_inputs=len(call.tasks) - len(call.outputs),
                )
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                pass

    async def _data_out(self, request: Any, send: Send) -> None:
        call, sent = self._call(request.function_call_id), int(request.last_index)
        async with asyncio.timeout(_LONGEST_STREAM):
            while True:  # the client goes when it has all items
                changed = call.changed
                while sent < len(call.chunks):
                    await send(call.chunks[sent])
                    sent += 1
                await changed.wait()

    async def _cancel(self, request: Any) -> Any:
        call = self._call(request.function_call_id)
        for task in call.tasks.values():
            task.cancel()
        await asyncio.gather(*call.tasks.values(), return_exceptions=True)
        return empty_reply("FunctionCallCancel")

    async def _blob_create(self, request: Any) -> Any:
        id = self._blobs.new_id()
        reply = api_pb2.BlobCreateResponse(blob_id=id, blob_ids=[id])
        reply.upload_urls.items.append(self._blobs.url(id))
        return reply

    async def _blob_get(self, request: Any) -> Any:
        return api_pb2.BlobGetResponse(download_url=self._blobs.url(request.blob_id))

    def _of(self, name: str) -> tuple[Deployed, ...]:
        """The function of that name; for ``app/Class.*`` the methods."""
        app, _, tag = name.partition("/")
        if tag.endswith(".*"):
            return self._registry.methods(app, tag[:-2])
        one = self._registry.deployed.get(name)
        return () if one is None else (one,)

    def _missing(self, name: str) -> str:
        try:
            self._registry.find(name)
        except NoSuchFunction as error:
            return str(error)
        return f"{name} is not deployed"

    def _described(self, name: str, functions: tuple[Deployed, ...]) -> Any:
        if not name.endswith(".*"):
            return _metadata(functions[0])
        whole = api_pb2.FunctionHandleMetadata(
            function_name=name.partition("/")[2], function_type=api_pb2.Function.FUNCTION_TYPE_FUNCTION
        )
        for one in functions:
            method = one.tag.partition(".")[2]
            described = whole.method_handle_metadata[method]
            described.CopyFrom(_metadata(one))
            described.is_method, described.use_method_name = True, method
        return whole

    def _refuse(self, function: Deployed) -> None:
        refusal = self._registry.refusal(function)
        if refusal is not None:
            status, message = _REFUSALS[refusal]
            details = [api_pb2.RPCRetryPolicy(retry_after_secs=0.2)] if refusal == "throttled" else None
            raise GRPCError(status, message, details)

    def _begin(self, call: _Running, item: Any, name: str) -> Any:
        if name.endswith(".*"):
            call.function = self._registry.find(f"{name[:-2]}.{item.input.method_name}")
        one = self._last = self._registry.begin(call.function, self._now())
        task = asyncio.get_running_loop().create_task(self._run(call, one, item))
        call.tasks[item.idx] = task
        return api_pb2.FunctionPutInputsResponseItem(
            idx=item.idx, input_id=f"in-{one.id[3:]}", input_jwt=one.id
        )

    async def _run(self, call: _Running, one: Input, item: Any) -> None:
        """An input's life."""
        began = self._now()
        try:
            data = item.input.args or self._blobs.held[item.input.args_blob_id]
            args, kwargs = pickle.loads(data)  # noqa: S301 - of whoever was let in, over loopback
            if one.function.generator:
                await self._generate(call, one, item.idx, args, kwargs)
                return
            outcome = await asyncio.to_thread(self._registry.outcome, one.function, args, kwargs)
            await self._until(began + outcome.after)
        except asyncio.CancelledError:
            self._registry.end(one, "cancelled", self._now())
            self._put(
                call, item.idx, one, Outcome(after=0, wrong="terminated", message="Function call cancelled")
            )
            return
        except Exception as error:
            outcome = Outcome(after=0, wrong="init_failed", message=f"the simulator failed: {error!r}")
        self._registry.end(one, "done" if outcome.wrong is None else "failed", self._now())
        self._put(call, item.idx, one, outcome)

    async def _generate(self, call: _Running, one: Input, index: int, args: Any, kwargs: Any) -> None:
        items = self._registry.items(one.function, args, kwargs)
        lasts = one.function.lasts(args, kwargs)
        try:
            while True:
                began = self._now()
                value = await asyncio.to_thread(next, items, _END)
                if value is _END:
                    break
                await self._until(began + lasts)
                one.items += 1
                call.chunks.append(
                    api_pb2.DataChunk(index=one.items, data_format=_PICKLE, data=pickle.dumps(value))
                )
                call.tell()
        except Exception as error:
            self._registry.end(one, "failed", self._now())
            said = f"{type(error).__name__}: {error}"
            self._put(call, index, one, Outcome(after=0, wrong="raised", error=error, message=said))
            return
        self._registry.end(one, "done", self._now())
        done = api_pb2.GeneratorDone(items_total=one.items).SerializeToString()
        self._put(call, index, one, None, data=done)

    def _put(
        self, call: _Running, index: int, one: Input, outcome: Outcome | None, *, data: bytes = b""
    ) -> None:
        result = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)
        kind = api_pb2.DATA_FORMAT_GENERATOR_DONE
        if outcome is not None:
            kind = _PICKLE
            if outcome.wrong is not None:
                result.status = _STATUS[outcome.wrong]
                result.exception = outcome.message
            data = b"" if outcome.wrong is not None and outcome.error is None else _pickled(outcome)
        if len(data) > _INLINE_RESULT:
            result.data_blob_id = self._blobs.keep(data)
        else:
            result.data = data
        call.outputs.append(
            api_pb2.FunctionGetOutputsItem(
                result=result,
                idx=index,
                input_id=f"in-{one.id[3:]}",
                data_format=kind,
                input_started_at=one.began,
                output_created_at=self._now(),
            )
        )
        call.tell()

    async def _until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, (moment - self._now()) / self._speed))

    def _call(self, id: str) -> _Running:
        call = self._calls.get(id)
        if call is None:
            raise GRPCError(Status.NOT_FOUND, f"FunctionCall {id} not found")
        return call


def _metadata(function: Deployed) -> Any:
    kind = api_pb2.Function
    return api_pb2.FunctionHandleMetadata(
        function_name=function.tag,
        function_type=kind.FUNCTION_TYPE_GENERATOR if function.generator else kind.FUNCTION_TYPE_FUNCTION,
        app_id=f"ap-{function.app}",
    )


def _pickled(outcome: Outcome) -> bytes:
    try:
        return pickle.dumps(outcome.value if outcome.error is None else outcome.error)
    except Exception as error:
        return pickle.dumps(RuntimeError(f"the result cannot be pickled: {error}"))
