"""What every transport says of a server that is not there, hangs up, or does not speak HTTP."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from carriers import BLOCKING, Carrier, request, soon, whole
from hybrid_infer.errors import ClientClosedError
from hybrid_infer.transport.base import Origin, TransportError, TransportTimeout
from wire_server import CHUNKED, Peer, Seen, Server, answering, chunk, response

pytestmark = pytest.mark.real_time
Serve = Callable[..., Server]


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue is full: who connects to it hears nothing."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def local(port: int) -> Origin:
    return Origin(scheme="http", host="127.0.0.1", port=port)


async def test_a_dead_port_is_told(carrier: Carrier, unused_port: int) -> None:
    async with carrier:
        with pytest.raises(TransportError) as caught:
            await carrier.make().send(request(local(unused_port)), until=soon())
    assert str(caught.value) == f"cannot connect to 127.0.0.1:{unused_port}: connection refused"
    assert not caught.value.sent


async def test_an_unknown_name_is_told(carrier: Carrier) -> None:
    nowhere = Origin(scheme="https", host="nowhere.invalid", port=443)
    async with carrier:
        with pytest.raises(TransportError, match=r"^cannot resolve nowhere\.invalid: ") as caught:
            await carrier.make().send(request(nowhere), until=soon())
    assert not caught.value.sent
    assert caught.value.hint == "check the address"


async def test_the_second_address_is_tried(carrier: Carrier, serve: Serve) -> None:
    """`localhost` is often ::1 first, where nobody listens."""
    server = serve(answering(response(b"ok")))
    named = Origin(scheme="http", host="localhost", port=server.port)
    async with carrier:
        assert await whole(await carrier.make().send(request(named), until=soon())) == b"ok"


async def test_connecting_ends_at_the_connect_timeout(carrier: Carrier, full_port: int) -> None:
    async with carrier:
        transport = carrier.make(connect_timeout=0.3)
        began = time.monotonic()
        with pytest.raises(TransportTimeout, match=r"within 0\.3 s") as caught:
            await transport.send(request(local(full_port)), until=soon())
        assert time.monotonic() - began == pytest.approx(0.3, abs=0.1)
    assert caught.value.connecting
    assert not caught.value.sent


async def test_connecting_ends_at_the_deadline(carrier: Carrier, full_port: int) -> None:
    """Where that is the earlier one, it is not the connect timeout that is told."""
    async with carrier:
        transport = carrier.make(connect_timeout=5.0)
        began = time.monotonic()
        with pytest.raises(TransportTimeout) as caught:
            await transport.send(request(local(full_port)), until=began + 0.3)
        assert time.monotonic() - began == pytest.approx(0.3, abs=0.1)
    assert not caught.value.connecting
    if carrier.kind in ("httpcore", "aiohttp"):
        assert not caught.value.sent


def hangs_up(peer: Peer, _: Seen) -> None:
    pass


def resets(peer: Peer, _: Seen) -> None:
    peer.reset()


def stops_in_the_head(peer: Peer, _: Seen) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")


@pytest.mark.parametrize("act", [hangs_up, resets, stops_in_the_head])
async def test_a_server_that_leaves_before_it_answers(
    carrier: Carrier, serve: Serve, act: Callable[[Peer, Seen], None]
) -> None:
    """The request may have been worked on: `sent` is True."""
    server = serve(act)
    async with carrier:
        with pytest.raises(TransportError, match=r"^the server closed the connection before") as caught:
            await carrier.make().send(request(server.origin), until=soon())
    assert caught.value.sent
    assert not isinstance(caught.value, TransportTimeout)


def too_short(peer: Peer, _: Seen) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")


def no_last_chunk(peer: Peer, _: Seen) -> None:
    peer.send(CHUNKED + chunk(b"only this"))


def half_a_chunk(peer: Peer, _: Seen) -> None:
    peer.send(CHUNKED + b"64\r\nonly this")


def resets_in_the_body(peer: Peer, _: Seen) -> None:
    peer.send(CHUNKED + chunk(b"only this"))
    peer.server.ended.get()  # the test says when
    peer.reset()


@pytest.mark.parametrize("act", [too_short, no_last_chunk, half_a_chunk, resets_in_the_body])
async def test_a_body_that_is_cut_short_is_never_a_silent_end(
    carrier: Carrier, serve: Serve, act: Callable[[Peer, Seen], None]
) -> None:
    server = serve(act)
    async with carrier:
        answer = await carrier.make().send(request(server.origin), until=soon())
        parts = b""
        with pytest.raises(TransportError) as caught:
            while data := await answer.read(soon()):
                parts += data
                server.ended.put(0)
    assert parts == b"only this"
    assert caught.value.sent
    assert str(caught.value).startswith("the server closed the connection before the answer was complete")


async def test_what_was_read_in_part_and_closed_does_not_end_silently(carrier: Carrier, serve: Serve) -> None:
    server = serve(too_short)
    async with carrier:
        answer = await carrier.make().send(request(server.origin), until=soon())
        await answer.aclose()
        with pytest.raises(TransportError, match="closed from this side"):
            await answer.read(soon())


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"])
async def test_what_is_not_http_is_told(carrier: Carrier, serve: Serve, said: bytes) -> None:
    def act(peer: Peer, _: Seen) -> None:
        peer.send(said)
        peer.gone(5)

    server = serve(act)
    async with carrier:
        with pytest.raises(TransportError, match=r"^the answer is not valid HTTP: ") as caught:
            await carrier.make().send(request(server.origin), until=soon())
    assert caught.value.sent


async def test_a_broken_chunk_is_told(carrier: Carrier, serve: Serve) -> None:
    def act(peer: Peer, _: Seen) -> None:
        peer.send(CHUNKED + b"zz\r\nwhat\r\n")
        peer.gone(5)

    server = serve(act)
    async with carrier:
        with pytest.raises(TransportError, match=r"^the answer is not valid HTTP: ") as caught:
            await whole(await carrier.make().send(request(server.origin), until=soon()))
    assert caught.value.sent


@pytest.mark.parametrize("kind", BLOCKING, indirect=True)
async def test_what_arrived_with_a_broken_chunk_is_read_before_that_is_told(
    carrier: Carrier, serve: Serve
) -> None:
    def act(peer: Peer, _: Seen) -> None:
        peer.send(CHUNKED + 3 * chunk(b"good ") + b"zz\r\nwhat\r\n")
        peer.gone(5)

    server = serve(act)
    async with carrier:
        answer = await carrier.make().send(request(server.origin), until=soon())
        parts = b""
        with pytest.raises(TransportError, match=r"^the answer is not valid HTTP: "):
            while data := await answer.read(soon()):
                parts += data
    assert parts == b"good good good "


async def test_an_idle_connection_that_the_server_closed_is_not_used(carrier: Carrier, serve: Serve) -> None:
    """Most servers close idle connections after a while; the next call must not notice."""

    def act(peer: Peer, _: Seen) -> None:
        peer.send(response(b"a"))

    server = serve(act)
    async with carrier:
        transport = carrier.make()
        for number in (1, 2):
            assert await whole(await transport.send(request(server.origin), until=soon())) == b"a"
            await ended(carrier, server, number)


async def ended(carrier: Carrier, server: Server, number: int) -> None:
    """Wait for the server to have closed that connection, and for the loop to have seen it."""
    import asyncio

    if carrier.kind in ("httpcore", "httpx-given"):
        assert server.ended.get(timeout=5) == number
        return
    assert await asyncio.to_thread(server.ended.get, timeout=5) == number


async def test_a_kept_connection_that_dies_with_the_request_is_told(carrier: Carrier, serve: Serve) -> None:
    """The request may have arrived, so it is not repeated here."""
    left = [response(b"a")]

    def act(peer: Peer, _: Seen) -> bool:
        if left:
            peer.send(left.pop())
            return True
        return False

    server = serve(act)
    async with carrier:
        transport = carrier.make()
        await whole(await transport.send(request(server.origin), until=soon()))
        with pytest.raises(TransportError, match=r"^the server closed the connection before") as caught:
            await transport.send(request(server.origin), until=soon())
    assert caught.value.sent
    assert len(server.seen) == 2


async def test_a_closed_transport_refuses(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(response(b"a")))
    async with carrier:
        transport = carrier.make()
        await whole(await transport.send(request(server.origin), until=soon()))
        await transport.aclose()
        await transport.aclose()
        with pytest.raises(ClientClosedError):
            await transport.send(request(server.origin), until=soon())
        await whole(await carrier.make().send(request(server.origin), until=soon()))


async def test_no_credential_reaches_an_error(carrier: Carrier, serve: Serve) -> None:
    """Libraries put the header they do not like into the message."""
    server = serve(answering(response(b"a")))
    async with carrier:
        with pytest.raises(TransportError, match="header") as caught:
            await carrier.make().send(
                request(server.origin, authorization="Bearer secret-1\r\nX: y"), until=soon()
            )
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret-1" not in repr(error)
        error = error.__cause__ or error.__context__
    assert not caught.value.sent
    assert server.seen == []
