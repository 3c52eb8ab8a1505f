"""Files go over the wire as they are on the disk, or not at all."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from carriers import ASYNC, OURS, Carrier, request, soon, whole
from hybrid_infer.calls.uploads import upload_of
from hybrid_infer.errors import UploadError
from hybrid_infer.layers.exchange.redirects import followed
from hybrid_infer.transport.base import Body, Headers, Origin, WireRequest
from hybrid_infer.transport.bodies import Multipart
from wire_server import Certificate, Peer, Server, answering, response

pytestmark = pytest.mark.real_time
Serve = Callable[..., Server]
LARGE = 64_000_000
"""Bytes that no buffer of the system takes in one go."""


def post(server: Server, form: Multipart) -> WireRequest:
    return request(server.origin, form, content_type=form.content_type)


def in_memory(form: Body) -> bytes:
    reader = form.open()
    try:
        return b"".join(iter(reader.read, b""))
    finally:
        reader.close()


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.wav"
    path.write_bytes(os.urandom(3_000_001))
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(LARGE)
    return path


@dataclass
class Noted:
    """A body of pieces that notes who reads it, and whether it was closed again."""

    pieces: Iterable[bytes]
    length: int
    opened: int = 0
    closed: int = 0
    threads: set[int] = field(default_factory=set)

    def open(self) -> Noted._Reader:
        self.opened += 1
        return Noted._Reader(self, iter(self.pieces))

    class _Reader:
        def __init__(self, body: Noted, pieces: Iterator[bytes]) -> None:
            self.body, self.pieces, self.is_closed = body, pieces, False

        def read(self) -> bytes:
            assert not self.is_closed
            self.body.threads.add(threading.get_ident())
            return next(self.pieces, b"")

        def close(self) -> None:
            self.body.closed += not self.is_closed
            self.is_closed = True


class Meddling(Server):
    """Does something to the file when the head of an upload has come, and only then takes its body."""

    def __init__(self, act: object, *, meddle: Callable[[], object]) -> None:
        self.meddle = meddle
        self.incomplete: list[int] = []
        super().__init__(answering(response(b"ok")))

    def serve(self, peer: Peer) -> None:
        if self.connections == 1:
            got = len(peer.socket.recv(65_536))
            self.meddle()
            try:
                while data := peer.socket.recv(65_536):
                    got += len(data)
            finally:
                self.incomplete.append(got)
        else:
            super().serve(peer)


async def test_a_form_arrives_byte_for_byte_and_once_more_when_it_is_sent_again(
    carrier: Carrier, serve: Serve, sound: Path
) -> None:
    server = serve(answering(response(b"ok")))
    with sound.open("rb") as opened:
        opened.seek(100)
        files = [upload_of("file", sound), upload_of("part", opened), upload_of("note", b"short")]
        form = Multipart([("model", "whisper"), ("prompt", "Grüße")], files)
        async with carrier:
            transport = carrier.make()
            for _ in range(2):
                assert await whole(await transport.send(post(server, form), until=soon())) == b"ok"
    first, again = server.seen
    assert first.body == again.body == in_memory_of(form, sound)
    assert sound.read_bytes() in first.body
    assert first.header("content-length") == str(form.length) == str(len(first.body))
    assert first.header("content-type") == form.content_type
    assert first.header("transfer-encoding") is None
    assert server.connections == 1, "it was complete, so the connection is used again"


def in_memory_of(form: Multipart, sound: Path) -> bytes:
    """The form, with the caller's file object replaced by what it held: that one is closed by now."""
    data = sound.read_bytes()
    boundary = form.content_type.rpartition("=")[2]
    copy = Multipart(
        [("model", "whisper"), ("prompt", "Grüße")],
        [
            upload_of("file", ("sound.wav", data)),
            upload_of("part", ("sound.wav", data[100:])),
            upload_of("note", b"short"),
        ],
    )
    return in_memory(copy).replace(copy.content_type.rpartition("=")[2].encode(), boundary.encode())


@pytest.mark.parametrize("kind", OURS, indirect=True)
async def test_a_form_arrives_byte_for_byte_over_tls(
    carrier: Carrier, serve: Serve, sound: Path, localhost: Certificate
) -> None:
    server = serve(answering(response(b"ok")), tls=localhost.server())
    form = Multipart([], [upload_of("file", sound)])
    async with carrier:
        transport = carrier.make(environ={"SSL_CERT_FILE": str(localhost.file)})
        for _ in range(2):
            assert await whole(await transport.send(post(server, form), until=soon())) == b"ok"
    assert [seen.body for seen in server.seen] == [in_memory(form)] * 2
    assert server.connections == 1


async def test_one_form_can_be_sent_many_times_at_once(carrier: Carrier, serve: Serve, sound: Path) -> None:
    """Also where all read the caller's one file object."""
    server = serve(answering(response(b"ok")))
    file = io.BytesIO(sound.read_bytes())
    form = Multipart([], [upload_of("file", file)])
    async with carrier:
        transport = carrier.make()

        async def send(_: int) -> bytes:
            return await whole(await transport.send(post(server, form), until=soon()))

        assert await carrier.at_once(6, send) == [b"ok"] * 6
    assert {seen.body for seen in server.seen} == {in_memory(form)}


async def test_a_file_that_is_gone_costs_no_connection(carrier: Carrier, serve: Serve, sound: Path) -> None:
    server = serve(answering(response(b"ok")))
    form = Multipart([], [upload_of("file", sound)])
    sound.unlink()
    async with carrier:
        with pytest.raises(UploadError, match="cannot be read any more: no such file"):
            await carrier.make().send(post(server, form), until=soon())
    assert server.connections == 0


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize(
    ("meddle", "how"),
    [
        (lambda path: os.truncate(path, 1_000), "it ends after"),
        (_grow, "it has more than the 64000000 bytes"),
        (lambda path: os.utime(path, ns=(1, 1)), "it was written to"),
    ],
)
async def test_a_file_that_changes_while_it_is_sent_breaks_the_request_off_and_ends_its_connection(
    carrier: Carrier, serve: Serve, large: Path, meddle: Callable[[Path], object], how: str
) -> None:
    server = serve(None, of=Meddling, meddle=lambda: meddle(large))
    assert isinstance(server, Meddling)
    form = Multipart([], [upload_of("file", large)])
    async with carrier:
        transport = carrier.make()
        with pytest.raises(UploadError, match=f"large.bin' changed after it was given to the call: {how}"):
            await transport.send(post(server, form), until=soon())
        assert await whole(await transport.send(request(server.origin), until=soon())) == b"ok"
    assert {server.ended.get(timeout=10) for _ in range(2)} == {1, 2}
    assert server.incomplete[0] < form.length, "the server never had what it might take for the whole"
    assert server.connections == 2


@pytest.mark.parametrize(("pieces", "length"), [([b"abc"], 4), ([b"abc", b"de"], 4), ([], 1)])
async def test_a_body_is_as_long_as_announced_or_is_broken_off(
    carrier: Carrier, serve: Serve, pieces: list[bytes], length: int
) -> None:
    server = serve(answering(response(b"ok")))
    body = Noted(pieces, length)
    async with carrier:
        with pytest.raises(UploadError, match=f"is not the {length} bytes it was announced as"):
            await carrier.make().send(request(server.origin, body), until=soon())
    assert server.seen == []
    assert body.opened == body.closed == 1


async def test_a_body_is_closed_when_it_is_sent_and_a_loop_reads_it_in_threads(
    carrier: Carrier, serve: Serve
) -> None:
    server = serve(answering(response(b"ok")))
    body = Noted([b"a" * 1_000] * 100, 100_000)
    async with carrier:
        transport = carrier.make()
        assert await whole(await transport.send(request(server.origin, body), until=soon())) == b"ok"
    assert server.seen[0].body == b"a" * 100_000
    assert body.opened == body.closed == 1
    assert (threading.get_ident() in body.threads) == (carrier.kind not in ASYNC)


def test_a_request_shows_how_long_its_body_is_and_can_be_had_in_memory() -> None:
    asked = request(Origin(scheme="http", host="a", port=80), Noted([b"abc", b"d"], 4))
    assert repr(asked) == "WireRequest(POST http://a/v1/chat, 4 bytes)"
    assert asked.content() == asked.content() == b"abcd"


@dataclass
class _Redirect:
    status: int
    headers: Headers = (("location", "/there"),)

    async def read(self, until: float) -> bytes:
        return b""

    async def aclose(self) -> None: ...
    def abandon(self) -> None: ...


@pytest.mark.parametrize(("status", "method", "content"), [(307, "POST", b"abcd"), (303, "GET", b"")])
def test_a_redirect_takes_a_streamed_body_along_where_it_keeps_the_method(
    status: int, method: str, content: bytes
) -> None:
    asked = request(Origin(scheme="http", host="a", port=80), Noted([b"abc", b"d"], 4))
    asked.content()
    follow = followed(asked, _Redirect(status))
    assert follow is not None
    assert (follow.method, follow.path, follow.content()) == (method, "/there", content)
