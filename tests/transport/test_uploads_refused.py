"""Uploads that do not get through: no time, a server that has heard enough, a caller who gives up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from carriers import ASYNC, OURS, Carrier, request, soon, whole
from hybrid_infer.transport.base import TransportError, TransportTimeout
from wire_server import Certificate, Peer, Server, answering, response

pytestmark = pytest.mark.real_time
Serve = Callable[..., Server]
NEAR = 0.5
"""Seconds until the deadline of these tests."""
PIECE = bytes(65_536)
LARGE = 64_000_000 // len(PIECE) * len(PIECE)
"""Bytes that no buffer of the system takes in one go."""

heard_at_once = pytest.mark.parametrize("kind", ["httpcore", "aiohttp"], indirect=True)
"""Those that listen while they send."""


@dataclass
class Zeros:
    """A body that knows whether it is open."""

    length: int = LARGE
    read: int = 0
    open_now: int = 0
    before_read: Callable[[], object] = field(default=lambda: None)

    def open(self) -> Zeros._Reader:
        self.open_now += 1
        return Zeros._Reader(self)

    class _Reader:
        def __init__(self, body: Zeros) -> None:
            self.body, self.left, self.is_open = body, body.length, True

        def read(self) -> bytes:
            assert self.is_open
            self.body.before_read()
            piece = PIECE[: self.left]
            self.left -= len(piece)
            self.body.read += len(piece)
            return piece

        def close(self) -> None:
            self.body.open_now -= self.is_open
            self.is_open = False


async def is_closed(body: Zeros, kind: str) -> bool:
    """In a loop the file is closed as soon as the thread that reads it has ended."""
    if kind in ASYNC:
        for _ in range(500):
            if not body.open_now:
                break
            await asyncio.sleep(0.01)
    return not body.open_now


class Deaf(Server):
    """Reads nothing."""

    def serve(self, peer: Peer) -> None:
        self.stopping.recv(1)


class Refusing(Server):
    """Answers when the head has come, and reads nothing of the body; `hangs_up` after it."""

    def __init__(
        self, act: object, *, answer: bytes, hangs_up: bool = False, tls: Certificate | None = None
    ) -> None:
        self.answer, self.hangs_up = answer, hangs_up
        super().__init__(answering(response(b"ok")), tls=None if tls is None else tls.server())

    def serve(self, peer: Peer) -> None:
        if self.connections > 1:
            super().serve(peer)
            return
        peer.socket.recv(1_000)
        peer.send(self.answer)
        if not self.hangs_up:
            while not peer.gone(10):
                pass


REFUSAL = response(b"too large", "413 Content Too Large")


async def test_a_server_that_stops_reading_is_left_at_the_deadline(carrier: Carrier, serve: Serve) -> None:
    """With a user's own `httpx.Client` after as long again at most."""
    server, body = serve(None, of=Deaf), Zeros()
    async with carrier:
        transport = carrier.make()
        began = time.monotonic()
        with pytest.raises(TransportTimeout) as caught:
            await transport.send(request(server.origin, body), until=began + NEAR)
        took = time.monotonic() - began
    assert took == pytest.approx(NEAR, abs=0.15) or (carrier.kind == "httpx-given" and took < 2 * NEAR + 0.15)
    assert caught.value.sent
    assert await is_closed(body, carrier.kind)


@pytest.mark.parametrize("kind", OURS, indirect=True)
async def test_a_server_that_stops_reading_over_tls_is_left_at_the_deadline(
    carrier: Carrier, serve: Serve, localhost: Certificate
) -> None:
    server, body = serve(None, of=Deaf, tls=localhost.server()), Zeros()
    async with carrier:
        transport = carrier.make(environ={"SSL_CERT_FILE": str(localhost.file)})
        began = time.monotonic()
        with pytest.raises(TransportTimeout):
            await transport.send(request(server.origin, body), until=began + NEAR)
        assert time.monotonic() - began == pytest.approx(NEAR, abs=0.15)
    assert await is_closed(body, carrier.kind)


async def test_a_server_that_reads_slowly_is_left_at_the_deadline(carrier: Carrier, serve: Serve) -> None:
    class Slow(Server):
        def serve(self, peer: Peer) -> None:
            while not peer.gone(0.01):
                pass

    server, body = serve(None, of=Slow), Zeros()
    async with carrier:
        transport = carrier.make()
        began = time.monotonic()
        with pytest.raises(TransportTimeout):
            await transport.send(request(server.origin, body), until=began + NEAR)
        took = time.monotonic() - began
    assert took < (NEAR + 0.2 if carrier.kind != "httpx-given" else 2 * NEAR + 0.2)
    assert await is_closed(body, carrier.kind)


@heard_at_once
async def test_a_refusal_is_heard_while_the_body_is_sent(carrier: Carrier, serve: Serve) -> None:
    """The server neither reads nor closes. The next call makes another connection."""
    server, body = serve(None, of=Refusing, answer=REFUSAL), Zeros()
    async with carrier:
        transport = carrier.make()
        began = time.monotonic()
        answer = await transport.send(request(server.origin, body), until=soon())
        assert (answer.status, await whole(answer)) == (413, b"too large")
        assert time.monotonic() - began < 5
        await answer.aclose()
        again = await transport.send(request(server.origin), until=soon())
        assert await whole(again) == b"ok"
    assert body.read < LARGE
    assert await is_closed(body, carrier.kind)
    assert server.connections == 2


@heard_at_once
async def test_a_refusal_is_heard_over_tls(carrier: Carrier, serve: Serve, localhost: Certificate) -> None:
    server, body = serve(None, of=Refusing, answer=REFUSAL, tls=localhost), Zeros()
    async with carrier:
        transport = carrier.make(environ={"SSL_CERT_FILE": str(localhost.file)})
        answer = await transport.send(request(server.origin, body), until=soon())
        assert (answer.status, await whole(answer)) == (413, b"too large")
    assert await is_closed(body, carrier.kind)


async def test_a_refusal_that_hangs_up_is_an_answer_or_a_lost_connection(
    carrier: Carrier, serve: Serve
) -> None:
    server, body = serve(None, of=Refusing, answer=REFUSAL, hangs_up=True), Zeros()
    async with carrier:
        transport = carrier.make()
        try:
            answer = await transport.send(request(server.origin, body), until=soon())
            assert answer.status == 413
            await answer.aclose()
        except TransportError as error:
            assert not isinstance(error, TransportTimeout)
            assert error.sent
            assert "closed the connection" in str(error)
        assert await whole(await transport.send(request(server.origin), until=soon())) == b"ok"
    assert await is_closed(body, carrier.kind)


@pytest.mark.parametrize("early", [b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP"])
@pytest.mark.parametrize("kind", ["httpcore"], indirect=True)
async def test_what_is_no_refusal_lets_the_body_go_on(carrier: Carrier, serve: Serve, early: bytes) -> None:
    class Eager(Server):
        got = 0

        def serve(self, peer: Peer) -> None:
            self.got = len(peer.socket.recv(1_000))
            peer.send(early)
            while self.got < LARGE:
                self.got += len(peer.socket.recv(65_536))
            rest = response(b"all of it")
            peer.send(rest if early.endswith(b"\r\n\r\n") else rest.removeprefix(early))

    server, body = serve(None, of=Eager), Zeros()
    async with carrier:
        answer = await carrier.make().send(request(server.origin, body), until=soon())
        assert await whole(answer) == b"all of it"
    assert body.read == LARGE


@pytest.mark.parametrize("kind", ASYNC, indirect=True)
async def test_a_caller_who_gives_up_waits_for_no_disk_and_the_file_is_closed_after_it(
    carrier: Carrier, serve: Serve
) -> None:
    server = serve(None, of=Deaf)
    reading, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        reading.set()
        assert go_on.wait(10)

    body = Zeros(before_read=hang)
    async with carrier:
        transport = carrier.make()
        task = asyncio.ensure_future(transport.send(request(server.origin, body), until=soon()))
        await asyncio.to_thread(reading.wait, 10)
        task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 1
        assert body.open_now == 1, "a thread still reads it"
        go_on.set()
    assert await is_closed(body, carrier.kind)


@pytest.mark.parametrize("kind", OURS, indirect=True)
async def test_an_upload_that_nobody_answers_in_time_leaves_the_file_closed(
    carrier: Carrier, serve: Serve
) -> None:
    """All was sent, and the time runs out while the server thinks."""
    server = serve(lambda peer, _: peer.gone(10))
    body = Zeros(length=1_000)
    async with carrier:
        with pytest.raises(TransportTimeout):
            await carrier.make().send(request(server.origin, body), until=time.monotonic() + 0.3)
    assert len(server.seen[0].body) == 1_000
    assert await is_closed(body, carrier.kind)
