"""A simulated Modal for each test, and what carries calls to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from functions_support import TOKEN
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.functions_door import SimulatedFunctions
from hybrid_infer.simulator.grpc_door import ModalDoor

# The package reads its file when it is imported; nobody's own is to be read here.
os.environ.setdefault("MODAL_CONFIG_PATH", "/nonexistent")


@pytest.fixture
def registry() -> FunctionRegistry:
    return FunctionRegistry()


@pytest.fixture
def door(registry: FunctionRegistry, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModalDoor]:
    with ModalDoor(registry, token=TOKEN) as door:
        monkeypatch.setenv("MODAL_SERVER_URL", door.url)
        yield door


@pytest.fixture
def client(door: ModalDoor) -> Iterator[Any]:
    """A client of Modal's own package."""
    import modal

    client = modal.Client.from_credentials(*TOKEN)
    yield client
    client.close()


@pytest.fixture
def runtime(colour: str, request: pytest.FixtureRequest) -> Runtime:
    if colour == "async":
        return TaskRuntime()
    real = request.node.get_closest_marker("real_time") is not None
    return BlockingRuntime() if real else VirtualThreads()


@pytest.fixture
def simulated(registry: FunctionRegistry, runtime: Runtime) -> SimulatedFunctions:
    return SimulatedFunctions(registry, runtime=runtime)
