"""What only the way over Modal's package has: connections, RPCs, and inputs that nobody waits for."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions_support import TOKEN, named
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.grpc_door import ModalDoor
from hybrid_infer.transport.functions import FunctionFailure, FunctionTimeout
from hybrid_infer.transport.modal_functions import ModalFunctions

pytest.importorskip("modal")
pytestmark = pytest.mark.real_time


def token() -> tuple[str, str]:
    return TOKEN


def until_true(what: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.005)
    return what()


@pytest.fixture
def functions(door: ModalDoor, runtime: Runtime) -> ModalFunctions:
    return ModalFunctions(runtime=runtime, token=token)


async def called(
    functions: ModalFunctions, runtime: Runtime, name: str, *args: Any, within: float = 10
) -> Any:
    returned = await functions.call(named(name), args, {}, until=runtime.now() + within)
    return returned.value


async def test_a_function_is_looked_up_once(functions: Any, runtime: Runtime, door: ModalDoor) -> None:
    for name in ("faults/echo", "detector/Detector.detect"):
        await called(functions, runtime, name, b"")
    looked_up = door.seen.names()
    assert (looked_up.count("FunctionGet"), looked_up.count("ClassGet")) == (2, 1)
    for name in ("faults/echo", "detector/Detector.detect"):
        await called(functions, runtime, name, b"")
    assert door.seen.names()[len(looked_up) :] == ["FunctionMap", "FunctionGetOutputs"] * 2
    await functions.aclose()


async def test_a_function_that_was_deployed_anew_is_found_again(
    functions: Any, runtime: Runtime, door: ModalDoor, registry: FunctionRegistry
) -> None:
    await called(functions, runtime, "faults/echo")
    door._functions._ids.clear()  # as if the ids of before were gone
    assert await called(functions, runtime, "faults/echo", 1) == {"args": [1], "kwargs": {}}
    assert door.seen.count("FunctionGet") == 2
    await functions.aclose()


async def test_a_deadline_cancels_the_input_at_modal(
    functions: Any, runtime: Runtime, door: ModalDoor
) -> None:
    await called(functions, runtime, "faults/echo")
    with pytest.raises(FunctionTimeout):
        await called(functions, runtime, "faults/slow", 60, within=0.15)
    assert until_true(lambda: door.seen.count("FunctionCallCancel") == 1)
    assert until_true(lambda: not door.registry.running())
    slow = door.registry.inputs[-1]
    assert slow.state == "cancelled" and 0.05 < slow.seconds(door.now()) < 2
    await functions.aclose()


async def test_big_arguments_go_by_the_store_and_can_be_cancelled_all_the_same(
    functions: Any, runtime: Runtime, door: ModalDoor
) -> None:
    big = "x" * 20_000
    assert (await called(functions, runtime, "faults/echo", big))["args"] == [big]
    with pytest.raises(FunctionTimeout):
        await called(functions, runtime, "faults/slow", 60, big, within=0.3)
    await functions.aclose()
    assert (door.seen.count("BlobCreate"), door.seen.count("FunctionCallCancel")) == (2, 1)
    assert door.registry.inputs[-1].state == "cancelled"


async def test_an_input_that_is_taken_too_late_is_cancelled_when_its_id_comes(
    registry: FunctionRegistry, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = ModalDoor(registry)
    take = door.answers["FunctionMap"]

    async def slowly(request: Any) -> Any:
        taken = await take(request)
        await asyncio.sleep(0.3)
        return taken

    door.answers["FunctionMap"] = slowly
    with door:
        monkeypatch.setenv("MODAL_SERVER_URL", door.url)
        functions = ModalFunctions(runtime=runtime, token=token)
        began = time.monotonic()
        with pytest.raises(FunctionTimeout) as late:
            await called(functions, runtime, "faults/slow", 60, within=0.15)
        assert late.value.stage == "send" and time.monotonic() - began < 0.3
        await functions.aclose()
        assert [one.state for one in registry.inputs] == ["cancelled"]


async def test_a_server_that_says_nothing_holds_nobody(
    registry: FunctionRegistry, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = ModalDoor(registry)

    async def silent(request: Any) -> Any:
        await asyncio.sleep(60)

    door.answers["FunctionGet"] = silent
    with door:
        monkeypatch.setenv("MODAL_SERVER_URL", door.url)
        functions = ModalFunctions(runtime=runtime, token=token)
        began = time.monotonic()
        with pytest.raises(FunctionTimeout) as late:
            await called(functions, runtime, "faults/echo", within=0.2)
        assert late.value.stage == "look-up" and time.monotonic() - began < 1
        await functions.aclose()


async def test_a_closed_port_is_waited_for_no_longer_than_the_call_wants(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("MODAL_SERVER_URL", f"http://127.0.0.1:{port}")
    functions = ModalFunctions(runtime=runtime, token=token)
    began = time.monotonic()
    with pytest.raises(FunctionTimeout, match=f"no connection to 127.0.0.1:{port}") as late:
        await called(functions, runtime, "faults/echo", within=0.5)
    assert late.value.stage == "connect" and time.monotonic() - began < 1.5
    with pytest.raises(FunctionTimeout) as impatient:
        await functions.call(named("faults/echo"), (), {}, until=runtime.now() + 60, connect=0.2)
    assert impatient.value.stage == "connect" and time.monotonic() - began < 3
    await functions.aclose()


async def test_a_wrong_token_is_told_and_not_shown(
    door: ModalDoor, runtime: Runtime, registry: FunctionRegistry
) -> None:
    functions = ModalFunctions(runtime=runtime, token=lambda: ("ak-wrong-id", "as-wrong-secret"))
    with pytest.raises(FunctionFailure) as failed:
        await called(functions, runtime, "faults/echo")
    assert failed.value.cause == "authentication"
    await functions.aclose()


async def test_a_server_that_echoes_the_token_is_not_repeated(
    registry: FunctionRegistry, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grpclib import GRPCError, Status

    door = ModalDoor(registry)

    async def echoing(request: Any) -> Any:
        raise GRPCError(Status.INVALID_ARGUMENT, f"what is {TOKEN[0]} with {TOKEN[1]}?")

    door.answers["FunctionMap"] = echoing
    with door:
        monkeypatch.setenv("MODAL_SERVER_URL", door.url)
        functions = ModalFunctions(runtime=runtime, token=token)
        with pytest.raises(FunctionFailure, match=r"what is \*\*\* with \*\*\*\?"):
            await called(functions, runtime, "faults/echo")
        await functions.aclose()


async def test_modals_own_configuration_is_used_where_no_token_is_given(
    door: ModalDoor, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODAL_TOKEN_ID", TOKEN[0])
    monkeypatch.setenv("MODAL_TOKEN_SECRET", TOKEN[1])
    functions = ModalFunctions(runtime=runtime)
    assert await called(functions, runtime, "faults/echo", 1) == {"args": [1], "kwargs": {}}
    await functions.aclose()


async def test_no_token_at_all_is_an_error_that_says_so(door: ModalDoor, runtime: Runtime) -> None:
    functions = ModalFunctions(runtime=runtime)
    with pytest.raises(FunctionFailure, match="Token missing") as failed:
        await called(functions, runtime, "faults/echo")
    assert failed.value.cause == "authentication"
    await functions.aclose()


async def test_that_modal_throttles_is_told_and_bounded(
    functions: Any, runtime: Runtime, registry: FunctionRegistry
) -> None:
    registry.deploy("mine/twice", lambda: 1, refuses="throttled", refusals=2)
    told: list[str] = []
    await functions.call(named("mine/twice"), (), {}, until=runtime.now() + 10, notice=told.append)
    assert told == ["Modal throttled FunctionMap: its package waited, and asked again"]
    registry.deploy("mine/always", lambda: 1, refuses="throttled")
    with pytest.raises(FunctionTimeout):
        await called(functions, runtime, "mine/always", within=0.3)
    await functions.aclose()


async def test_the_time_that_throttling_may_take_is_set_unless_somebody_did(
    door: ModalDoor, runtime: Runtime, registry: FunctionRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.deploy("mine/always", lambda: 1, refuses="throttled")
    functions = ModalFunctions(runtime=runtime, token=token, max_throttle_wait=1)
    began = time.monotonic()
    with pytest.raises(FunctionFailure) as failed:
        await called(functions, runtime, "mine/always")
    assert failed.value.cause == "exhausted" and time.monotonic() - began < 3
    assert os.environ["MODAL_MAX_THROTTLE_WAIT"] == "1"
    await functions.aclose()
    monkeypatch.setenv("MODAL_MAX_THROTTLE_WAIT", "0")
    other = ModalFunctions(runtime=runtime, token=token, max_throttle_wait=30)
    with pytest.raises(FunctionFailure):
        await called(other, runtime, "mine/always")
    assert os.environ["MODAL_MAX_THROTTLE_WAIT"] == "0"
    await other.aclose()


async def test_a_closed_transport_says_so(functions: Any, runtime: Runtime) -> None:
    await functions.aclose()
    with pytest.raises(FunctionFailure) as failed:
        await called(functions, runtime, "faults/echo")
    assert failed.value.cause == "closed"


async def test_without_the_package_it_says_what_to_install(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "modal", None)
    functions = ModalFunctions(runtime=runtime, token=token)
    with pytest.raises(ConfigurationError, match=r"pip install 'hybrid-infer\[modal\]'"):
        await called(functions, runtime, "faults/echo")


async def test_a_cancelled_task_cancels_the_input(door: ModalDoor) -> None:
    runtime = TaskRuntime()
    functions = ModalFunctions(runtime=runtime, token=token)
    task = asyncio.create_task(called(functions, runtime, "faults/slow", 60))
    while not door.registry.running():
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await functions.aclose()
    assert [one.state for one in door.registry.inputs] == ["cancelled"]


def test_the_input_is_cancelled_although_the_loop_of_its_task_has_ended(door: ModalDoor) -> None:
    runtime = TaskRuntime()
    functions = ModalFunctions(runtime=runtime, token=token)

    async def main() -> None:
        async with asyncio.timeout(0.3):
            await called(functions, runtime, "faults/slow", 60)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert until_true(lambda: [one.state for one in door.registry.inputs] == ["cancelled"])


@pytest.fixture
def script(door: ModalDoor) -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """Runs a script against the door in a process of its own."""

    def run(code: str) -> subprocess.CompletedProcess[str]:
        head = f"""
import os
os.environ.update(MODAL_SERVER_URL={door.url!r}, MODAL_CONFIG_PATH="/nonexistent")
from hybrid_infer.calls.functions import function_name
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step
from hybrid_infer.transport.modal_functions import ModalFunctions
runtime = BlockingRuntime()
functions = ModalFunctions(runtime=runtime, token=lambda: {TOKEN!r})

def call(name, *args, within=10):
    work = functions.call(function_name(name), args, {{}}, until=runtime.now() + within)
    return step(work).value
"""
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", head + code], capture_output=True, text=True, timeout=30
        )

    yield run


def test_a_process_that_ends_at_its_deadline_still_says_that_nobody_waits(
    script: Callable[[str], subprocess.CompletedProcess[str]], door: ModalDoor
) -> None:
    ended = script("""
call("faults/echo")
call("faults/slow", 60, within=0.2)
""")
    assert ended.returncode == 1 and "FunctionTimeout" in ended.stderr
    assert [one.state for one in door.registry.inputs] == ["done", "cancelled"]


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_ctrl_c_cancels_the_input(
    script: Callable[[str], subprocess.CompletedProcess[str]], door: ModalDoor
) -> None:
    ended = script("""
import signal, threading
call("faults/echo")
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    call("faults/slow", 60)
except KeyboardInterrupt:
    print("interrupted")
""")
    assert (ended.stdout, ended.stderr) == ("interrupted\n", "")
    assert [one.state for one in door.registry.inputs] == ["done", "cancelled"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_connects_anew(
    script: Callable[[str], subprocess.CompletedProcess[str]], door: ModalDoor
) -> None:
    ended = script("""
import sys
print(call("faults/echo", "parent")["args"], flush=True)
child = os.fork()
if not child:
    print(call("faults/echo", "child")["args"], flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
print(call("faults/echo", "parent again")["args"], os.waitstatus_to_exitcode(status), flush=True)
""")
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == ["['parent']", "['child']", "['parent again'] 0"]
