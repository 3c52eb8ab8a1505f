"""Over real sockets and in real time: deadlines, dropped streams, proxies, cassettes, other servers."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import vcr

from both import ASK, Making
from fakes import completion, delta
from hybrid_infer import AsyncClient, Client
from hybrid_infer.errors import APIConnectionError, APIError, AuthenticationError, DeadlineExceededError
from wire_server import Peer, ProxyServer, Seen, Server, answering, chunk, response

pytestmark = pytest.mark.real_time

ANSWER = response(json.dumps(completion()).encode(), "200 OK", "content-type: application/json")
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[Server] = []

    def start(act: Any, kind: type[Server] = Server) -> Server:
        server = kind(act)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


def at(server: Server, **settings: Any) -> dict[str, Any]:
    return {"mode": "openai-compatible", "base_url": str(server.origin), "model": "m", **settings}


async def test_a_plain_compatible_server_answers(make: Making, serve: Any) -> None:
    server = serve(answering(ANSWER))
    api = make(**at(server, api_key="sk-1"))
    reply = await api.create()
    await api.close()
    assert reply.choices[0].message.content == "It scatters."
    assert reply.hybrid.cost.amount is None
    assert reply.hybrid.cost.reason


@pytest.mark.parametrize("where", ["head", "body", "stream"])
async def test_a_deadline_holds_against_a_server_that_drips(make: Making, serve: Any, where: str) -> None:
    """One byte every 0.2 s: no read of it ever takes long."""

    def act(peer: Peer, _: Seen) -> bool:
        if where == "head":
            rest = ANSWER
        elif where == "body":
            peer.send(ANSWER[:-100])
            rest = ANSWER[-100:]
        else:
            peer.send(STREAM + chunk(delta("Hel")))
            rest = chunk(delta("lo"))
        for byte in rest:
            peer.send(bytes([byte]))
            if peer.gone(0.2):
                break
        return False

    api = make(**at(serve(act), max_retries=0))
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError) as caught:
        if where == "stream":
            await (await api.stream(timeout=1.1)).text()
        else:
            await api.create(timeout=1.1)
    assert time.monotonic() - started == pytest.approx(1.1, abs=0.1)
    assert (caught.value.partial is not None) == (where == "stream")
    await api.close()


def half_a_stream(left: threading.Event) -> Any:
    def act(peer: Peer, _: Seen) -> bool:
        peer.send(STREAM + chunk(delta("Hel")))
        if peer.gone(10):
            left.set()
        return False

    return act


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_stream_dropped_half_way_in_a_running_loop_closes_at_once(serve: Any, colour: str) -> None:
    """As in a notebook, where a loop is always running."""
    left = threading.Event()
    settings = at(serve(half_a_stream(left)))
    complaints: list[Any] = []

    async def cell() -> float:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        if colour == "sync":
            client = Client(**settings)
            stream: Any = client.chat.completions.create(messages=ASK, stream=True)
            next(stream)
        else:
            aclient = AsyncClient(**settings)
            stream = await aclient.chat.completions.create(messages=ASK, stream=True)
            await stream.__anext__()
        dropped = time.monotonic()
        del stream
        await asyncio.to_thread(left.wait, 5)
        seconds = time.monotonic() - dropped
        if colour == "sync":
            client.close()
        else:
            await aclient.close()
        return seconds

    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert asyncio.run(cell(), debug=True) < 0.5
            gc.collect()
    finally:
        gc.enable()
    assert left.is_set()
    assert complaints == []


async def test_a_wrong_key_says_what_to_set(make: Making, serve: Any) -> None:
    body = json.dumps(
        {"error": {"message": "Invalid API key sk-wrong-1", "code": "invalid_api_key"}}
    ).encode()
    server = serve(answering(response(body, "401 Unauthorized", "content-type: application/json")))
    api = make(mode="together-serverless", api_key="sk-wrong-1", base_url=str(server.origin), model="m")
    with pytest.raises(AuthenticationError, match="TOGETHER_API_KEY") as caught:
        await api.create()
    await api.close()
    assert "sk-wrong-1" not in f"{caught.value} {caught.value.body} {caught.value!r}"


async def test_a_dead_host_is_told(make: Making) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        api = make(mode="openai-compatible", base_url=f"http://127.0.0.1:{port}/v1", model="m", max_retries=0)
        with pytest.raises(APIConnectionError, match=f"127.0.0.1:{port}.*refused") as caught:
            await api.create()
        await api.close()
    assert caught.value.billed is False
    assert caught.value.retryable
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_a_proxy_that_refuses_is_told_with_its_variable(
    make: Making, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(b"HTTP/1.1 403 Forbidden\r\n\r\n", ProxyServer)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    api = make(api_key="k", model="m", max_retries=0)
    with pytest.raises(APIConnectionError, match="HTTPS_PROXY") as caught:
        await api.create()
    await api.close()
    assert caught.value.billed is False


@pytest.mark.parametrize("way", ["httpx", "default"])
async def test_cassettes_record_and_replay_without_the_key(
    make: Making, serve: Any, tmp_path: Path, way: str
) -> None:
    """The blocking default sends below httpx, where vcrpy does not listen: inject an httpx.Client there."""
    if way == "default" and make.colour == "sync":
        way = "httpx"
    own: Any = None
    if way == "httpx":
        own = httpx.Client() if make.colour == "sync" else httpx.AsyncClient()
    body = (
        STREAM
        + b"".join(map(chunk, (delta("Hel"), delta("lo"), delta(finish="stop"), b"data: [DONE]\n\n")))
        + b"0\r\n\r\n"
    )
    server = serve(answering(ANSWER, body))
    cassette = tmp_path / "chat.yaml"
    recorder = vcr.VCR(filter_headers=["authorization"], match_on=["method", "uri", "body"])

    async def conversation() -> tuple[str | None, str]:
        api = make(http_client=own, **at(server, api_key="sk-canary", max_retries=0))
        reply = await api.create()
        text = await (await api.stream()).text()
        await api.close()
        return reply.choices[0].message.content, text

    with recorder.use_cassette(str(cassette)):
        live = await conversation()
    assert len(server.seen) == 2
    with recorder.use_cassette(str(cassette), record_mode="none") as replayed:
        assert await conversation() == live == ("It scatters.", "Hello")
        assert replayed.play_count == 2
    assert len(server.seen) == 2, "nothing went out the second time"
    if own is not None:
        own.close() if make.colour == "sync" else await own.aclose()
    assert "sk-canary" not in cassette.read_text()
    assert "authorization" not in cassette.read_text().lower()


async def test_no_exception_of_a_library_reaches_the_user(make: Making, serve: Any) -> None:
    garbage = [
        b"",
        b"\x00\x01\x02",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{{{",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
    ]
    for said in garbage:

        def act(peer: Peer, _: Seen, said: bytes = said) -> bool:
            peer.send(said)
            return False

        api = make(**at(serve(act), max_retries=0))
        for ask in (api.create, api.stream):
            with pytest.raises(APIError) as caught:
                await ask(timeout=5)
            assert caught.value.__cause__ is None
        await api.close()
