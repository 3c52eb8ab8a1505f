"""Endpoints on Modal through Modal's own package, over a simulated control plane, in both colours."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from endpoints.modal_support import TOKEN, settings
from hybrid_infer.endpoints.errors import (
    EndpointForbiddenError,
    EndpointNotFoundError,
    EndpointUnreachableError,
)
from hybrid_infer.endpoints.modal import modal_endpoint
from hybrid_infer.endpoints.modal_autoscaler import server_name
from hybrid_infer.endpoints.modal_package import PackageAutoscaler
from hybrid_infer.errors import APIError
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.simulator.autoscaling import Autoscaling
from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.grpc_door import ModalDoor
from hybrid_infer.simulator.modal import ModalPlan, ModalServer
from hybrid_infer.transport.functions import FunctionFailure

os.environ.setdefault("MODAL_CONFIG_PATH", "/nonexistent")

pytestmark = pytest.mark.real_time


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModalDoor]:
    registry = FunctionRegistry()
    server = ModalServer(ModalPlan(cold_start=0.2, scaledown_window=2.0), Random)
    scaling = Autoscaling(functions=registry, server=server, cold_start=0.2)
    with ModalDoor(registry, token=TOKEN, autoscaling=scaling) as door:
        monkeypatch.setenv("MODAL_SERVER_URL", door.url)
        yield door


@pytest.fixture
def runtime(colour: str) -> Runtime:
    return TaskRuntime() if colour == "async" else BlockingRuntime()


def endpoint(
    runtime: Runtime, colour: str, name: str, *, token: tuple[str, str] = TOKEN, **options: Any
) -> Any:
    runtime.check()
    given = settings(modal_token_id=token[0], modal_token_secret=token[1], connect_timeout=1.0)
    return modal_endpoint(given, name, runtime=runtime, blocking=colour == "sync", **options)


@pytest.mark.parametrize("name", ["detector/detect", "detector/Detector.detect", "detector/Detector"])
async def test_functions_and_classes_are_warmed_and_let_go(
    colour: str, runtime: Runtime, door: ModalDoor, name: str
) -> None:
    """A class by one of its methods or by its own name: all of them are scaled together."""
    one = endpoint(runtime, colour, name)
    assert (await one.state()).life == "cold"
    state = await one.warm(2, timeout=10.0)
    assert (state.life, state.replicas.ready, state.minimum) == ("warm", 2, 2)
    assert state.price is not None
    assert door.autoscaling.stats(name, door.now()).containers == 2
    assert (await one.set_minimum(0)).minimum == 0
    assert await one.minimum() == 0


async def test_one_operation_of_a_function_is_a_few_requests(
    colour: str, runtime: Runtime, door: ModalDoor
) -> None:
    """Each has its own connection, and looks the function up once."""
    one = endpoint(runtime, colour, "detector/detect")
    for _ in range(2):
        await one.state()
    assert (
        door.seen.names()
        == [
            "FunctionGet",
            "FunctionGetSchedulingParams",
            "FunctionGetCurrentStats",
        ]
        * 2
    )
    assert door.seen.open == 0


async def test_a_server_is_kept_up_by_its_autoscaler(colour: str, runtime: Runtime, door: ModalDoor) -> None:
    """Its address is asked meanwhile, and tells when it answers."""

    class Asked:
        shared = False

        async def __call__(self, until: float) -> APIError | None:
            return None

    given = settings(
        modal_token_id=TOKEN[0],
        modal_token_secret=TOKEN[1],
        models={"server": {"modal": {"url": "https://a.modal.direct", "server": "llm/Server"}}},
    )
    runtime.check()
    one = modal_endpoint(given, "server", runtime=runtime, blocking=colour == "sync", knock=Asked())
    state = await one.set_minimum(1)
    assert (state.life, state.minimum, state.maximum) == ("warm", 1, 2)
    assert state.price is not None  # nothing in the settings says that it has an H100
    server = door.autoscaling.server
    assert server is not None
    assert sum(server.containers(door.now())[:2]) == 1
    assert (await one.stop(timeout=10.0)).minimum == 0


async def test_what_is_wrong_is_told_apart(colour: str, runtime: Runtime, door: ModalDoor) -> None:
    """A wrong token, a token without the right, a name that is not there; no token is in any message."""
    with pytest.raises(EndpointForbiddenError, match="token is missing or wrong") as wrong:
        await endpoint(runtime, colour, "detector/detect", token=("ak-wrong", "as-wrong")).state()
    assert "as-wrong" not in str(wrong.value)
    door.autoscaling.read_only = True
    with pytest.raises(EndpointForbiddenError, match="may not do this"):
        await endpoint(runtime, colour, "detector/detect").set_minimum(1)
    for name in ("detector/nosuch", "detector/Detector.nosuch", "nosuch/Class.method", "nosuch/function"):
        with pytest.raises(EndpointNotFoundError, match="deployed"):
            await endpoint(runtime, colour, name).state()


async def test_a_closed_port_is_told_within_the_connect_timeout(
    colour: str, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package by itself tries for 56 seconds."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MODAL_SERVER_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        one = endpoint(runtime, colour, "detector/detect")
        began = runtime.now()
        with pytest.raises(EndpointUnreachableError, match="did not answer in time"):
            await one.state()
        assert runtime.now() - began < 4.0


async def test_a_control_plane_that_says_nothing_is_not_waited_for_longer_than_asked(
    colour: str, runtime: Runtime, door: ModalDoor
) -> None:
    async def never(_: Any) -> Any:
        await asyncio.sleep(30.0)

    door.answers["FunctionGetSchedulingParams"] = never
    one, began = endpoint(runtime, colour, "detector/detect"), runtime.now()
    with pytest.raises(EndpointUnreachableError, match="did not answer in time"):
        await one.warm(timeout=0.5)
    assert runtime.now() - began < 3.0


async def test_a_web_function_can_be_named_as_the_server(
    colour: str, runtime: Runtime, door: ModalDoor
) -> None:
    """It has an autoscaler, too; what its container asks for is not told then."""
    runtime.check()
    autoscaler = PackageAutoscaler(server_name("detector/detect"), runtime=runtime, token=lambda: TOKEN)
    until = runtime.now() + 10.0
    assert (await autoscaler.scale(until, minimum=1)).minimum == 1
    assert (await autoscaler.container(until)).gpu is None
    await autoscaler.aclose()


async def test_a_server_has_no_statistics(colour: str, runtime: Runtime, door: ModalDoor) -> None:
    runtime.check()
    autoscaler = PackageAutoscaler(server_name("llm/Server"), runtime=runtime, token=lambda: TOKEN)
    until = runtime.now() + 10.0
    assert (await autoscaler.container(until)).gpu == "H100"
    assert (await autoscaler.scale(until, minimum=1, maximum=5)).maximum == 5
    with pytest.raises(FunctionFailure, match=r"modal\.Server"):
        await autoscaler.runners(until)
    await autoscaler.aclose()
