"""Modal's own package, unchanged, scales what a simulated Modal has deployed: blocking and async."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from endpoints.modal_support import TOKEN
from hybrid_infer.simulator.autoscaling import Autoscaling
from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.grpc_door import ModalDoor
from hybrid_infer.simulator.modal import ModalPlan, ModalServer

# The package reads its file when it is imported; nobody's own is to be read here.
os.environ.setdefault("MODAL_CONFIG_PATH", "/nonexistent")

pytestmark = pytest.mark.real_time


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModalDoor]:
    registry = FunctionRegistry()
    server = ModalServer(ModalPlan(cold_start=0.2), Random)
    scaling = Autoscaling(functions=registry, server=server, cold_start=0.2)
    with ModalDoor(registry, token=TOKEN, autoscaling=scaling) as door:
        monkeypatch.setenv("MODAL_SERVER_URL", door.url)
        yield door


class Either:
    """The package in one colour: methods are called as they are, or as their ``.aio``."""

    def __init__(self, colour: str) -> None:
        self.colour = colour
        self.client: Any = None

    async def __call__(self, method: Any, *args: Any, **options: Any) -> Any:
        made = (method.aio if self.colour == "async" else method)(*args, **options)
        return await made if inspect.isawaitable(made) else made

    async def __aenter__(self) -> Either:
        import modal

        self.client = await self(modal.Client.from_credentials, *TOKEN)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self(self.client.close)


async def test_a_function_is_scaled_and_counted(colour: str, door: ModalDoor) -> None:
    """What is not given stays as it is; None takes a bound away."""
    import modal

    async with Either(colour) as call:
        function = modal.Function.from_name("detector", "detect", client=call.client)
        settings = await call(function.autoscaler.update, min_containers=2, max_containers=4)
        assert (settings.min_containers, settings.max_containers, settings.scaledown_window) == (2, 4, 60)
        settings = await call(function.autoscaler.update, max_containers=None, scaledown_window=5)
        assert (settings.min_containers, settings.max_containers) == (2, None)
        assert await call(function.autoscaler.settings) == settings
        stats = await call(function.get_current_stats)
        assert (stats.backlog, stats.num_total_runners, stats.num_running_inputs) == (0, 2, 0)
        assert (await call(function.info)).gpus == [("L4", 1)]
    assert door.seen.names() == [
        "FunctionGet",
        "FunctionUpdateSchedulingParams",
        "FunctionUpdateSchedulingParams",
        "FunctionGetSchedulingParams",
        "FunctionGetCurrentStats",
    ]


async def test_a_class_is_scaled_by_the_function_behind_it(colour: str, door: ModalDoor) -> None:
    """Its id is in the app's list, and is that of its methods; calls of methods go on."""
    import modal

    async with Either(colour) as call:
        app = await call(modal.App.lookup, "detector", client=call.client)
        listed = (await call(app.info)).functions
        method = modal.Cls.from_name("detector", "Detector", client=call.client)().detect
        await call(method.hydrate)
        assert method.object_id == listed["Detector.*"]
        behind = modal.Function.from_id(listed["Detector.*"], client=call.client)
        assert (await call(behind.autoscaler.update, min_containers=1)).min_containers == 1
        assert (await call(behind.get_current_stats)).num_total_runners == 1
        with pytest.raises(modal.exception.NotFoundError, match=r"is a modal\.Cls"):
            await call(modal.Function.from_name("detector", "Detector", client=call.client).hydrate)
        assert (await call(method.remote, b"picture"))["simulated"] is True
    assert door.autoscaling.scaling("detector/Detector.detect", 0.0).minimum == 1


async def test_a_server_is_scaled_by_its_name_and_by_its_id(colour: str, door: ModalDoor) -> None:
    import modal

    async with Either(colour) as call:
        server = modal.Server.from_name("llm", "Server", client=call.client)
        settings = await call(server.autoscaler.update, min_containers=1)
        assert (settings.min_containers, settings.max_containers) == (1, 2)
        info = await call(server.info)
        assert (info.gpus, info.port) == ([("H100", 1)], 8000)
        assert (await call(server.get_url)).endswith(".modal.direct")
        app = await call(modal.App.lookup, "llm", client=call.client)
        listed = (await call(app.info)).servers
        again = modal.Server.from_id(listed["Server"], client=call.client)
        assert await call(again.autoscaler.settings) == settings
        with pytest.raises(modal.exception.InvalidError, match="is a Server"):
            await call(modal.Function.from_id(listed["Server"], client=call.client).hydrate)
    server_now = door.autoscaling.server
    assert server_now is not None
    assert sum(server_now.containers(door.now())[:2]) == 1


async def test_refusals_come_as_the_package_s_own_errors(colour: str, door: ModalDoor) -> None:
    import modal

    door.autoscaling.read_only = True
    async with Either(colour) as call:
        function = modal.Function.from_name("detector", "detect", client=call.client)
        with pytest.raises(modal.exception.PermissionDeniedError, match="permission"):
            await call(function.autoscaler.update, min_containers=1)
        door.autoscaling.read_only = False
        with pytest.raises(modal.exception.InvalidError, match="cannot be greater"):
            await call(function.autoscaler.update, min_containers=3, max_containers=2)
        for missing in (
            modal.Function.from_name("detector", "nosuch", client=call.client),
            modal.Function.from_id("fu-nosuch", client=call.client),
            modal.Server.from_name("nosuch", "Server", client=call.client),
        ):
            with pytest.raises(modal.exception.NotFoundError):
                await call(missing.hydrate)
        with pytest.raises(modal.exception.NotFoundError):
            await call(modal.App.lookup, "nosuch", client=call.client)
