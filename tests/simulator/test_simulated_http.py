"""The HTTP door, seen by clients that know nothing of it: `openai`, `together`, and bytes over a socket."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
import together

from hybrid_infer.calls.call import MODES
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.server import SimulatorServer, exports
from hybrid_infer.simulator.world import World
from simulator.simulated import DEDICATED, SERVERLESS

ASK: Any = [{"role": "user", "content": "Why is the sky blue?"}]
QUOTED = "“Why is the sky blue?”"
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
WEATHER: Any = [{"role": "user", "content": "What is the weather in Paris?"}]


WRONG_STATES: list[Any] = [{}, [], {"state": "gone"}, {"state": 1}]


@contextlib.contextmanager
def served(world: World, speed: float) -> Iterator[SimulatorServer]:
    server = SimulatorServer(world, speed=speed)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorServer]:
    """At a hundred times real time, with its variables exported."""
    with served(World(), 100.0) as server:
        for name, value in exports(server.port).items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def http(server: SimulatorServer) -> Iterator[httpx.Client]:
    base = f"http://127.0.0.1:{server.port}"
    with httpx.Client(base_url=base, headers={"authorization": "Bearer any"}) as client:
        yield client


def body(model: str = SERVERLESS, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": ASK, **fields}


def test_the_openai_package_chats_and_streams(server: SimulatorServer) -> None:
    with openai.OpenAI() as client:
        whole = client.chat.completions.create(model=SERVERLESS, messages=ASK)
        stream = client.chat.completions.create(model=DEDICATED, messages=ASK, stream=True)
        chunks = list(stream)
    assert QUOTED in (whole.choices[0].message.content or "")
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert (text.startswith("(simulated)"), QUOTED in text) == (True, True)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_openai_package_gets_tool_calls(server: SimulatorServer) -> None:
    with openai.OpenAI() as client:
        whole = client.chat.completions.create(model=SERVERLESS, messages=WEATHER, tools=TOOLS)
        with client.chat.completions.stream(model=SERVERLESS, messages=WEATHER, tools=TOOLS) as stream:
            streamed = stream.get_final_completion()
    for answer in (whole, streamed):
        calls: Any = answer.choices[0].message.tool_calls
        (call,) = calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})


def test_the_together_package_chats_and_streams(server: SimulatorServer) -> None:
    with together.Together() as client:
        whole: Any = client.chat.completions.create(model=DEDICATED, messages=ASK)
        chunks: list[Any] = list(client.chat.completions.create(model=SERVERLESS, messages=ASK, stream=True))
        tools: Any = client.chat.completions.create(model=SERVERLESS, messages=WEATHER, tools=TOOLS)
    assert QUOTED in whole.choices[0].message.content
    assert QUOTED in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].usage.completion_tokens > 0
    assert tools.choices[0].message.tool_calls[0].function.name == "get_weather"


async def _chat_async() -> tuple[str, str]:
    async with openai.AsyncOpenAI() as client:
        whole = await client.chat.completions.create(model=SERVERLESS, messages=ASK)
        stream = await client.chat.completions.create(model=SERVERLESS, messages=ASK, stream=True)
        parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    return whole.choices[0].message.content or "", "".join(parts)


@pytest.mark.real_time
async def test_the_async_openai_package_chats_and_streams(server: SimulatorServer) -> None:
    whole, streamed = await _chat_async()
    assert whole == streamed


def test_errors_arrive_as_the_packages_know_them(server: SimulatorServer) -> None:
    with openai.OpenAI(max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="Qwen/Qwen3.7-Max", messages=ASK)
        assert caught.value.code == "streaming_required"
        with pytest.raises(openai.NotFoundError):
            client.moderations.create(model="any", input="text")
    stranger = together.Together(default_headers={"Authorization": "none"}, max_retries=0)
    with stranger, pytest.raises(together.AuthenticationError):
        stranger.chat.completions.create(model=SERVERLESS, messages=ASK)


def test_modal_is_cold_then_answers(server: SimulatorServer, http: httpx.Client) -> None:
    base = exports(server.port)["HYBRID_INFER_MODAL_URL"]
    assert http.get(f"{base}/health").status_code == 503
    assert http.get(f"{base}/health", headers={"authorization": ""}).status_code == 401
    while http.get(f"{base}/health").status_code == 503:
        pass
    with openai.OpenAI(base_url=f"{base}/v1", api_key="wk-1.ws-1") as client:
        (model,) = client.models.list().data
        whole = client.chat.completions.create(model=model.id, messages=ASK)
        usage = [
            chunk.usage
            for chunk in client.chat.completions.create(
                model=model.id, messages=ASK, stream=True, stream_options={"include_usage": True}
            )
        ][-1]
    assert QUOTED in (whole.choices[0].message.content or "")
    assert usage == whole.usage


def test_bytes_over_a_socket(server: SimulatorServer) -> None:
    """As curl would: one request, one JSON answer with its length."""
    payload = json.dumps(body()).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: simulator\r\nauthorization: Bearer x\r\n"
        f"content-type: application/json\r\ncontent-length: {len(payload)}\r\nconnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode() + payload)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    answer_head, _, answer = received.partition(b"\r\n\r\n")
    assert answer_head.startswith(b"HTTP/1.1 200")
    assert f"content-length: {len(answer)}".encode() in answer_head.lower()
    assert json.loads(answer)["object"] == "chat.completion"


def test_a_stream_comes_in_pieces() -> None:
    """The first piece is there long before the last token is made."""
    with served(World(), 0.1) as server, httpx.Client(headers={"authorization": "Bearer x"}) as client:
        url = f"http://127.0.0.1:{server.port}/v1/chat/completions"
        with client.stream("POST", url, json=body(DEDICATED, stream=True)) as response:
            pieces = list(response.iter_raw())
    assert "content-length" not in response.headers
    assert len(pieces) > 10
    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
def test_work_stops_when_the_client_goes_away(stream: bool) -> None:
    """Before the first byte, and in the middle of a stream."""
    with served(World(), 0.05) as server, httpx.Client(headers={"authorization": "Bearer x"}) as client:
        url = f"http://127.0.0.1:{server.port}"

        def requests() -> int:
            (endpoint,) = client.get(f"{url}/simulator/state").json()["machines"]["endpoints"]
            return int(endpoint["requests"])

        request = body(DEDICATED, stream=stream)
        if stream:
            with client.stream("POST", f"{url}/v1/chat/completions", json=request) as response:
                pieces = response.iter_raw()
                next(pieces)
                assert requests() == 1
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post(f"{url}/v1/chat/completions", json=request, timeout=0.3)
        while requests():
            pass
        assert client.get(f"{url}/simulator/state").json()["invoice"]["dedicated"][0]["busy_seconds"] < 0.1


def test_the_state_is_shown_and_the_endpoint_can_be_stopped_and_started(http: httpx.Client) -> None:
    def change(wanted: Any) -> Any:
        return http.post("/simulator/dedicated", json=wanted)

    assert http.post("/v1/chat/completions", json=body(DEDICATED)).status_code == 200
    assert change({"state": "stopped"}).json()["machines"]["endpoints"][0]["state"] == "STOPPED"
    refused = http.post("/v1/chat/completions", json=body(DEDICATED))
    assert refused.json()["error"]["code"] == "dedicated_endpoint_not_running"
    assert change({"state": "starting"}).json()["machines"]["endpoints"][0]["state"] == "PROVISIONING"
    assert change({"state": "ready"}).json()["machines"]["endpoints"][0]["routed"] is True
    assert http.post("/v1/chat/completions", json=body(DEDICATED)).status_code == 200
    assert [change(wrong).status_code for wrong in WRONG_STATES] == [400] * 4
    invoice = http.get("/simulator/state").json()["invoice"]
    assert invoice["dedicated_requests"] == 3
    assert invoice["dedicated"][0]["seconds"] > 0


def test_the_exported_variables_configure_the_three_modes() -> None:
    settings = Settings.load({"base_url": None}, environ=exports(1234))
    assistant = settings.models["assistant"]
    assert settings.model == "assistant"
    assert settings.modal_url == "http://127.0.0.1:1234/modal"
    for mode in MODES[:3]:
        target = assistant.target(mode)
        assert target is not None
        assert target.gpu == (None if mode == "together-serverless" else "H100")


def test_an_address_in_use_is_one_clear_error(server: SimulatorServer) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot listen at 127.0.0.1:{server.port}.*--port"):
        SimulatorServer(World(), port=server.port)


def test_it_says_its_port_and_ends_on_an_interrupt() -> None:
    """As the command line runs it."""
    program = (
        "from hybrid_infer.simulator.server import serve\n"
        "from hybrid_infer.simulator.world import World\n"
        "try:\n serve(World(), ready=lambda port: print(port, flush=True))\n"
        "except KeyboardInterrupt:\n print('interrupted', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert httpx.get(f"http://127.0.0.1:{port}/simulator/state").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "interrupted\n"
    assert process.returncode == 0
