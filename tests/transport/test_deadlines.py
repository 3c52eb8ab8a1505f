"""`until` is the end of all waiting, however the server spends the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from carriers import ASYNC, Carrier, request, soon, whole
from hybrid_infer.transport.base import TransportTimeout
from wire_server import CHUNKED, LAST, Peer, Seen, Server, answering, chunk, response

pytestmark = pytest.mark.real_time
Serve = Callable[..., Server]
NEAR = 0.5
"""Seconds until the deadline of these tests."""

exact = pytest.mark.parametrize("kind", ["httpcore", *ASYNC], indirect=True)
"""All but a user's own `httpx.Client`, whose single waits are bounded and no more."""


def silent(peer: Peer, _: Seen) -> None:
    peer.gone(10)


def drips_the_head(peer: Peer, _: Seen) -> None:
    peer.drip(response(b"never", "200 OK", "X-Long: " + "x" * 100))


def drips_the_body(peer: Peer, _: Seen) -> None:
    peer.send(CHUNKED)
    while not peer.gone(0.2):
        peer.send(chunk(b"."))


def drips_a_chunk_head(peer: Peer, _: Seen) -> None:
    peer.send(CHUNKED)
    peer.drip(b"1;" + b"x" * 100)


async def test_a_silent_server_is_left_at_the_deadline(carrier: Carrier, serve: Serve) -> None:
    server = serve(silent)
    async with carrier:
        transport = carrier.make()
        began = time.monotonic()
        with pytest.raises(TransportTimeout) as caught:
            await transport.send(request(server.origin), until=began + NEAR)
        assert time.monotonic() - began == pytest.approx(NEAR, abs=0.1)
    assert (caught.value.sent, caught.value.connecting) == (True, False)


@exact
async def test_a_head_that_drips_is_left_at_the_deadline(carrier: Carrier, serve: Serve) -> None:
    server = serve(drips_the_head)
    async with carrier:
        transport = carrier.make()
        began = time.monotonic()
        with pytest.raises(TransportTimeout) as caught:
            await transport.send(request(server.origin), until=began + NEAR)
        assert time.monotonic() - began == pytest.approx(NEAR, abs=0.1)
    assert caught.value.sent


@exact
@pytest.mark.parametrize("act", [drips_the_body, drips_a_chunk_head])
async def test_a_body_that_drips_is_left_at_the_deadline(
    carrier: Carrier, serve: Serve, act: Callable[[Peer, Seen], None]
) -> None:
    server = serve(act)
    async with carrier:
        answer = await carrier.make().send(request(server.origin), until=soon())
        began = time.monotonic()
        with pytest.raises(TransportTimeout) as caught:
            await whole(answer, began + NEAR)
        assert time.monotonic() - began == pytest.approx(NEAR, abs=0.1)
    assert (caught.value.sent, caught.value.connecting) == (True, False)


async def test_a_body_that_drips_in_pieces_ends_soon_after_the_deadline_everywhere(
    carrier: Carrier, serve: Serve
) -> None:
    """Between two pieces every transport looks at the clock."""
    server = serve(drips_the_body)
    async with carrier:
        answer = await carrier.make().send(request(server.origin), until=soon())
        began = time.monotonic()
        with pytest.raises(TransportTimeout):
            await whole(answer, began + NEAR)
        assert NEAR <= time.monotonic() - began < NEAR + 0.4


@exact
async def test_each_read_has_a_deadline_of_its_own(carrier: Carrier, serve: Serve) -> None:
    """That of `send` does not go on counting, and an earlier one counts at once."""

    def act(peer: Peer, _: Seen) -> bool:
        peer.send(CHUNKED + chunk(b"first"))
        assert not peer.gone(0.4)
        peer.send(chunk(b"second"))
        return not peer.gone(10)

    server = serve(act)
    async with carrier:
        transport = carrier.make()
        began = time.monotonic()
        answer = await transport.send(request(server.origin), until=began + 0.2)
        assert await answer.read(began + 0.2) == b"first"
        assert await answer.read(soon()) == b"second"
        began = time.monotonic()
        with pytest.raises(TransportTimeout):
            await answer.read(began + 0.05)
        assert time.monotonic() - began < 0.15


async def test_a_deadline_that_passed_sends_nothing(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(response(b"a")))
    async with carrier:
        with pytest.raises(TransportTimeout) as caught:
            await carrier.make().send(request(server.origin), until=time.monotonic() - 1)
    assert not caught.value.sent
    assert server.seen == []


async def test_a_deadline_that_passed_reads_nothing(carrier: Carrier, serve: Serve) -> None:
    """A server that never pauses leaves no moment in which a timer could fire."""
    server = serve(answering(response(b"a" * 100)))
    async with carrier:
        answer = await carrier.make().send(request(server.origin), until=soon())
        with pytest.raises(TransportTimeout):
            await answer.read(time.monotonic() - 1)


@exact
async def test_a_server_that_does_not_read_is_left_at_the_deadline(carrier: Carrier, serve: Serve) -> None:
    class Deaf(Server):
        def serve(self, peer: Peer) -> None:
            self.stopping.recv(1)

    server = serve(answering(), of=Deaf)
    async with carrier:
        transport = carrier.make()
        began = time.monotonic()
        with pytest.raises(TransportTimeout) as caught:
            await transport.send(request(server.origin, bytes(30_000_000)), until=began + NEAR)
        assert time.monotonic() - began == pytest.approx(NEAR, abs=0.15)
    assert caught.value.sent


@exact
async def test_waiting_for_a_free_connection_ends_at_the_deadline(carrier: Carrier, serve: Serve) -> None:
    """It is not connecting: the connect timeout does not count."""
    server = serve(answering(CHUNKED + chunk(b"a")))
    async with carrier:
        transport = carrier.make(max_connections=1, connect_timeout=0.1)
        held = await transport.send(request(server.origin), until=soon())
        began = time.monotonic()
        with pytest.raises(TransportTimeout) as caught:
            await transport.send(request(server.origin), until=began + NEAR)
        assert time.monotonic() - began == pytest.approx(NEAR, abs=0.1)
        await held.aclose()
    assert not caught.value.connecting
    if carrier.kind in ("httpcore", "aiohttp"):
        assert not caught.value.sent


async def test_after_a_timeout_the_connection_is_not_used_again(carrier: Carrier, serve: Serve) -> None:
    """What comes late must not become the answer to another request."""
    late = [b"late"]

    def act(peer: Peer, _: Seen) -> bool:
        if late:
            peer.gone(0.3)
        peer.send(response(late.pop() if late else b"own"))
        return True

    server = serve(act)
    async with carrier:
        transport = carrier.make()
        with pytest.raises(TransportTimeout):
            await transport.send(request(server.origin), until=time.monotonic() + 0.1)
        assert await whole(await transport.send(request(server.origin), until=soon())) == b"own"
    assert server.connections == 2


@pytest.mark.parametrize("kind", ASYNC, indirect=True)
@pytest.mark.parametrize("act", [silent, drips_the_head, drips_the_body])
async def test_a_cancellation_passes_through(
    carrier: Carrier, serve: Serve, act: Callable[[Peer, Seen], None]
) -> None:
    """It is not taken for our own timeout, and the connection is closed at once."""
    server = serve(act)

    async def work() -> bytes:
        return await whole(await transport.send(request(server.origin), until=soon()))

    async with carrier:
        transport = carrier.make()
        task = asyncio.ensure_future(work())
        while not server.seen:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.ended.get, timeout=2) == 1


@pytest.mark.parametrize("kind", ["aiohttp", "httpx-async"], indirect=True)
async def test_a_timeout_around_the_call_is_the_callers(carrier: Carrier, serve: Serve) -> None:
    server = serve(silent)
    async with carrier:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await carrier.make().send(request(server.origin), until=soon())


@exact
async def test_a_stream_is_used_again_after_its_deadline_was_kept(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(CHUNKED + chunk(b"a") + LAST))
    async with carrier:
        transport = carrier.make()
        for _ in range(3):
            assert await whole(await transport.send(request(server.origin), until=soon())) == b"a"
    assert server.connections == 1
