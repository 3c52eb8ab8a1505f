"""Modal's own package, unchanged, against the simulator's gRPC door."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.grpc_door import ModalDoor

modal: Any = pytest.importorskip("modal")
pytestmark = pytest.mark.real_time


def function(client: Any, name: str) -> Any:
    app, _, tag = name.partition("/")
    if "." in tag:
        cls, _, method = tag.partition(".")
        return getattr(modal.Cls.from_name(app, cls, client=client)(), method)
    return modal.Function.from_name(app, tag, client=client)


def test_a_function_a_method_and_a_generator_are_called(client: Any) -> None:
    boxes = function(client, "detector/detect").remote(b"picture")
    assert boxes["simulated"] is True and boxes["boxes"]
    assert function(client, "detector/Detector.detect").remote(b"picture") == boxes
    assert list(function(client, "text/stream_words").remote_gen("a b c")) == ["a ", "b ", "c "]
    assert list(function(client, "faults/echo").map([1, 2, 3])) == [
        {"args": [n], "kwargs": {}} for n in (1, 2, 3)
    ]


async def test_the_same_from_an_event_loop(client: Any) -> None:
    boxes = await function(client, "detector/detect").remote.aio(b"picture")
    assert await function(client, "detector/Detector.detect").remote.aio(b"picture") == boxes
    assert [one async for one in function(client, "text/stream_words").remote_gen.aio("a b")] == ["a ", "b "]
    assert [one["args"] async for one in function(client, "faults/echo").map.aio([1, 2])] == [[1], [2]]
    spawned = await function(client, "faults/echo").spawn.aio(1, two=2)
    assert await spawned.get.aio() == {"args": [1], "kwargs": {"two": 2}}


def test_a_cancel_stops_the_input_and_what_it_costs(client: Any, door: ModalDoor) -> None:
    call = function(client, "faults/slow").spawn(30)
    with pytest.raises(TimeoutError):
        call.get(timeout=0.05)
    assert [one.id for one in door.registry.running()] == [call.object_id]
    call.cancel()
    assert door.seen.count("FunctionCallCancel") == 1
    assert door.registry.running() == ()
    stopped = door.registry.use(door.now())[0].seconds
    time.sleep(0.05)
    assert 0.05 <= door.registry.use(door.now())[0].seconds == stopped < 5
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        call.get()


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("faults/raises", ValueError, "no such luck"),
        ("faults/times_out", modal.exception.FunctionTimeoutError, "timeout"),
        ("faults/lost", modal.exception.InternalFailure, "preempted"),
        ("faults/out_of_memory", modal.exception.RemoteError, "memory"),
        ("faults/init_failed", modal.exception.RemoteError, "start"),
        ("faults/permission", modal.exception.PermissionDeniedError, "permission"),
        ("faults/exhausted", modal.exception.ResourceExhaustedError, "full"),
        ("faults/invalid", modal.exception.InvalidError, "Invalid"),
        ("faults/absent", modal.exception.NotFoundError, "app 'faults' has echo"),
        ("absent/absent", modal.exception.NotFoundError, "no app 'absent'"),
        ("detector/Detector.absent", modal.exception.NotFoundError, "no method"),
    ],
)
def test_what_goes_wrong_has_the_type_it_has_on_modal(
    client: Any, name: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        function(client, name).remote()


def test_big_arguments_and_results_go_through_the_store_of_blobs(client: Any, door: ModalDoor) -> None:
    echo = function(client, "faults/echo")
    assert len(echo.spawn("x" * 20_000).get()["args"][0]) == 20_000
    assert (door.seen.count("BlobCreate"), door.seen.count("BlobGet")) == (1, 0)
    assert len(echo.remote("x" * 3_000_000)["args"][0]) == 3_000_000
    assert (door.seen.count("BlobCreate"), door.seen.count("BlobGet")) == (2, 1)


def test_a_wrong_token_is_refused(door: ModalDoor) -> None:
    with (
        modal.Client.from_credentials("ak-other", "as-other") as other,
        pytest.raises(modal.exception.AuthError),
    ):
        function(other, "faults/echo").remote()


def test_functions_of_your_own_are_deployed(client: Any, registry: FunctionRegistry) -> None:
    registry.deploy("mine/double", lambda n: 2 * n)
    registry.deploy("mine/Counter.count", lambda n: iter(range(n)), generator=True)
    assert function(client, "mine/double").remote(21) == 42
    assert list(function(client, "mine/Counter.count").remote_gen(3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="app/function"):
        registry.deploy("double", lambda n: n)


async def test_an_rpc_that_others_answer_is_added_by_name(
    registry: FunctionRegistry, monkeypatch: Any
) -> None:
    from modal_proto import api_pb2

    door = ModalDoor(registry)

    async def stats(request: Any) -> Any:
        assert request.function_id == door.function_id("faults/echo")
        return api_pb2.FunctionStats(backlog=7)

    door.answers["FunctionGetCurrentStats"] = stats
    with door:
        monkeypatch.setenv("MODAL_SERVER_URL", door.url)
        async with await modal.Client.from_credentials.aio("ak-1", "as-1") as client:
            told = await function(client, "faults/echo").get_current_stats.aio()
            assert told.backlog == 7
            await asyncio.sleep(0)
