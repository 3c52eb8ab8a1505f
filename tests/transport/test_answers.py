"""What every transport does with a server that behaves."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import httpcore
import pytest
from httpcore._sync.connection_pool import PoolRequest
from httpcore._sync.http11 import HTTP11Connection

from carriers import BLOCKING, OURS, Carrier, request, soon, whole
from hybrid_infer.transport.base import TransportError, header
from wire_server import CHUNKED, LAST, Peer, Seen, Server, answering, chunk, response

pytestmark = pytest.mark.real_time
Serve = Callable[..., Server]


async def test_an_answer_comes_back_whole(carrier: Carrier, serve: Serve) -> None:
    """Status, headers with names in lower case, body."""
    server = serve(answering(response(b'{"a": 1}', "201 Made", "X-Request-ID: r1", "X-Two: a", "X-Two: b")))
    async with carrier:
        answer = await carrier.make().send(request(server.origin), until=soon())
        body = await whole(answer)
    assert (answer.status, body) == (201, b'{"a": 1}')
    assert header(answer.headers, "x-request-id") == "r1"
    assert [value for name, value in answer.headers if name == "x-two"] == ["a", "b"]
    assert await answer.read(soon()) == b""


async def test_the_request_goes_out_as_it_is(carrier: Carrier, serve: Serve) -> None:
    """Method, target to the letter, headers and body; nothing is added but what HTTP needs."""
    server = serve(answering(response()))
    target = "/v1/models/a%2Fb?q=%7Ba%7D&r=x+y%20z"
    async with carrier:
        sent = request(server.origin, b"\x00\xff", path=target, authorization="Bearer k", x_one="1")
        await whole(await carrier.make().send(sent, until=soon()))
    (seen,) = server.seen
    assert (seen.method, seen.target, seen.body) == ("POST", target, b"\x00\xff")
    assert seen.header("authorization") == "Bearer k"
    assert seen.header("host") == f"127.0.0.1:{server.port}"
    assert seen.header("accept-encoding") == "identity"
    if carrier.kind in ("httpcore", "aiohttp"):
        names = {name.lower() for name, _ in seen.headers}
        assert names == {"host", "content-length", "authorization", "x-one", "accept-encoding"}


async def test_a_request_may_ask_for_an_encoding(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(response()))
    async with carrier:
        await whole(await carrier.make().send(request(server.origin, accept_encoding="gzip"), until=soon()))
    assert server.seen[0].header("accept-encoding") == "gzip"


async def test_a_get_has_no_body(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(response(b"[]")))
    async with carrier:
        answer = await carrier.make().send(request(server.origin, b"", method="GET"), until=soon())
        assert await whole(answer) == b"[]"
    assert server.seen[0].method == "GET"
    assert server.seen[0].header("content-length") is None


async def test_pieces_come_as_they_are_sent(carrier: Carrier, serve: Serve) -> None:
    """The server sends the second piece only after the first was read."""
    read = threading.Event()

    def act(peer: Peer, _: Seen) -> bool:
        peer.send(CHUNKED + chunk(b"one"))
        assert read.wait(10)
        peer.send(chunk(b"two") + LAST)
        return True

    server = serve(act)
    async with carrier:
        answer = await carrier.make().send(request(server.origin), until=soon())
        assert await answer.read(soon()) == b"one"
        read.set()
        assert await whole(answer) == b"two"


async def test_many_small_pieces_that_arrive_together_are_all_read(carrier: Carrier, serve: Serve) -> None:
    pieces = [b"%d " % number for number in range(500)]
    server = serve(answering(CHUNKED + b"".join(map(chunk, pieces)) + LAST, response(b"next")))
    async with carrier:
        transport = carrier.make()
        assert await whole(await transport.send(request(server.origin), until=soon())) == b"".join(pieces)
        assert await whole(await transport.send(request(server.origin), until=soon())) == b"next"
    assert server.connections == 1


async def test_a_body_may_end_with_the_connection(carrier: Carrier, serve: Serve) -> None:
    """Without a length and without chunks, the end of the connection is the end (RFC 9112, 6.3)."""

    def act(peer: Peer, _: Seen) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")

    server = serve(act)
    async with carrier:
        answer = await carrier.make().send(request(server.origin), until=soon())
        assert await whole(answer) == b"all of it"


def _raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


TEXT = b"the quick brown fox " * 500


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT[:77], mtime=0) + gzip.compress(TEXT[77:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", _raw_deflate(TEXT)),
        ("identity", TEXT),
    ],
    ids=["gzip", "gzip in two parts", "deflate", "deflate without a head", "identity"],
)
async def test_a_compressed_answer_is_unpacked(
    carrier: Carrier, serve: Serve, name: str, encoded: bytes
) -> None:
    """Although nobody asked for it: some servers compress all the same."""
    server = serve(answering(response(encoded, "200 OK", f"Content-Encoding: {name}")))
    async with carrier:
        answer = await carrier.make().send(request(server.origin), until=soon())
        assert await whole(answer) == TEXT


@pytest.mark.parametrize(
    ("name", "encoded"), [("br", b"abc"), ("gzip", gzip.compress(TEXT, mtime=0)[:40]), ("gzip", b"not gzip")]
)
async def test_an_encoding_that_cannot_be_read_is_an_error(
    carrier: Carrier, serve: Serve, name: str, encoded: bytes
) -> None:
    server = serve(answering(response(encoded, "200 OK", f"Content-Encoding: {name}")))
    async with carrier:
        with pytest.raises(TransportError, match=r"encoding|compressed") as caught:
            await whole(await carrier.make().send(request(server.origin), until=soon()))
    assert caught.value.sent


async def test_redirects_are_not_followed(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(response(b"", "307 Elsewhere", "Location: /other")))
    async with carrier:
        answer = await carrier.make().send(request(server.origin), until=soon())
        await whole(answer)
    assert (answer.status, header(answer.headers, "location")) == (307, "/other")
    assert len(server.seen) == 1


async def test_a_connection_serves_again(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(response(b"a"), CHUNKED + chunk(b"b") + LAST, response(b"c")))
    async with carrier:
        transport = carrier.make()
        bodies = [await whole(await transport.send(request(server.origin), until=soon())) for _ in range(3)]
    assert (bodies, server.connections) == ([b"a", b"b", b"c"], 1)


@pytest.mark.parametrize("kind", OURS, indirect=True)
async def test_no_connection_is_kept_where_none_may_be(carrier: Carrier, serve: Serve) -> None:
    server = serve(answering(response(b"a")))
    async with carrier:
        transport = carrier.make(max_keepalive=0)
        for _ in range(2):
            await whole(await transport.send(request(server.origin), until=soon()))
    assert server.connections == 2


@pytest.mark.parametrize("kind", OURS, indirect=True)
async def test_cookies_are_not_kept(carrier: Carrier, serve: Serve) -> None:
    """They would tie one call to another, and one user of a server to the next."""
    server = serve(answering(response(b"a", "200 OK", "Set-Cookie: session=1; Path=/")))
    async with carrier:
        transport = carrier.make()
        for _ in range(2):
            await whole(await transport.send(request(server.origin), until=soon()))
    assert [seen.header("cookie") for seen in server.seen] == [None, None]


async def test_a_long_body_goes_out_whole(carrier: Carrier, serve: Serve) -> None:
    body = bytes(range(256)) * 12_000
    server = serve(answering(response(b"ok")))
    async with carrier:
        await whole(await carrier.make().send(request(server.origin, body), until=soon()))
    assert server.seen[0].body == body
    assert server.seen[0].header("content-length") == str(len(body))


async def test_a_server_may_answer_before_it_has_read_everything(carrier: Carrier, serve: Serve) -> None:
    """An error for a body that is too long must reach the caller (RFC 9112, 9.6)."""

    class Impatient(Server):
        def serve(self, peer: Peer) -> None:
            peer.socket.recv(1000)
            peer.send(response(b"too long", "413 Too Long", "Connection: close"))
            while peer.socket.recv(65_536):
                pass

    server = serve(answering(), of=Impatient)
    async with carrier:
        answer = await carrier.make().send(request(server.origin, b"x" * 3_000_000), until=soon())
        assert (answer.status, await whole(answer)) == (413, b"too long")


async def test_a_hundred_at_once(carrier: Carrier, serve: Serve) -> None:
    """Each gets its own answer."""
    server = serve(lambda peer, seen: (peer.send(response(seen.body)), True)[1])
    async with carrier:
        transport = carrier.make(max_connections=100)

        async def work(index: int) -> bytes:
            return await whole(await transport.send(request(server.origin, b"%d" % index), until=soon()))

        answers = await carrier.at_once(100, work)
    assert answers == [b"%d" % index for index in range(100)]


async def test_more_calls_than_connections_wait_their_turn(carrier: Carrier, serve: Serve) -> None:
    server = serve(lambda peer, seen: (peer.send(response(seen.body)), True)[1])
    async with carrier:
        transport = carrier.make(max_connections=3)

        async def work(index: int) -> bytes:
            return await whole(await transport.send(request(server.origin, b"%d" % index), until=soon()))

        answers = await carrier.at_once(20, work)
    assert answers == [b"%d" % index for index in range(20)]
    if carrier.kind in OURS:
        assert server.connections <= 3


@pytest.fixture
def slow_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool of httpcore does what it always does, but other threads get their turn where that hurts most:
    before a connection begins with the request it was given to; between looking whether a connection is idle
    and whether it has ended; and before closing it."""
    wait, close = PoolRequest.wait_for_connection, httpcore.ConnectionPool._close_connections

    def wait_for_connection(request: PoolRequest, timeout: float | None = None) -> Any:
        connection = wait(request, timeout)
        time.sleep(0.003)
        return connection

    def has_expired(connection: HTTP11Connection) -> bool:
        if not connection.is_idle():
            return False
        time.sleep(0.005)
        return bool(connection._network_stream.get_extra_info("is_readable"))

    def close_connections(pool: httpcore.ConnectionPool, closing: list[Any]) -> None:
        if closing:
            time.sleep(0.005)
        close(pool, closing)

    monkeypatch.setattr(PoolRequest, "wait_for_connection", wait_for_connection)
    monkeypatch.setattr(HTTP11Connection, "has_expired", has_expired)
    monkeypatch.setattr(httpcore.ConnectionPool, "_close_connections", close_connections)


@pytest.mark.usefixtures("slow_pool")
@pytest.mark.parametrize("kind", BLOCKING, indirect=True)
@pytest.mark.parametrize("kept", [1, 3])
async def test_the_pool_closes_no_connection_under_a_request(
    carrier: Carrier, serve: Serve, kept: int
) -> None:
    """Neither one with more of its answer than was read, nor one too many to keep."""

    def act(peer: Peer, seen: Seen) -> bool:
        peer.send(CHUNKED)
        time.sleep(0.001)
        peer.send(chunk(seen.body) + LAST)
        return True

    server = serve(act)
    async with carrier:
        transport = carrier.make(max_connections=3, max_keepalive=kept)

        async def work(index: int) -> bytes:
            answer = await transport.send(request(server.origin, b"%d" % index), until=soon())
            time.sleep(0.01)
            return await whole(answer)

        answers = await carrier.at_once(30, work)
    assert answers == [b"%d" % index for index in range(30)]
