"""The short way to the pieces of a body finds what h11's own way finds, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.transport.arrivals import End, Read, plain, quick

HEAD = b"HTTP/1.1 200 OK\r\n"
bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
cuts = st.lists(st.integers(0, 600), max_size=12)


def chunked(pieces: list[bytes], end: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks + end


def sized(pieces: list[bytes], end: bytes) -> bytes:
    body = b"".join(pieces)
    return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


def until_the_end(pieces: list[bytes], end: bytes) -> bytes:
    return HEAD + b"connection: close\r\n\r\n" + b"".join(pieces)


def waiting() -> h11.Connection:
    """A client that has sent its request."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    parser.send(h11.EndOfMessage())
    return parser


def read_all(data: bytes, cuts: list[int], way: Any) -> tuple[bytes, str, str]:
    """The body as far as it came, the state of the server, and what was wrong."""
    parser, found = waiting(), b""
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reading: tuple[Read, End] | None = None
    try:
        for place, following in pairwise(places):
            parser.receive_data(data[place:following])
            while parser.their_state in (h11.SEND_RESPONSE, h11.SEND_BODY):
                if parser.their_state is h11.SEND_RESPONSE:
                    if parser.next_event() is h11.NEED_DATA:
                        break
                    continue
                read, end = reading = reading or way(parser)
                event = read()
                if not isinstance(event, h11.Data):
                    end(event)
                    break
                found += event.data
    except h11.ProtocolError as error:
        return found, "broken", str(error)
    return found, str(parser.their_state), ""


@given(pieces=bodies, cuts=cuts, end=st.sampled_from([b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"", b"z\r\n"]))
def test_both_ways_find_the_same(pieces: list[bytes], cuts: list[int], end: bytes) -> None:
    for framed in (chunked, sized, until_the_end):
        data = framed(pieces, end)
        found = read_all(data, cuts, quick)
        assert found == read_all(data, cuts, plain)
        assert found[0] == b"".join(pieces)


def test_an_end_ends_it() -> None:
    data = chunked([b"a", b"b"], b"0\r\n\r\n")
    assert read_all(data, [], quick) == (b"ab", "DONE", "")


def test_what_is_no_chunk_is_told_after_what_came_before() -> None:
    found, state, wrong = read_all(chunked([b"a"], b"zz\r\n"), [], quick)
    assert (found, state) == (b"a", "broken")
    assert "chunk header" in wrong


class Other(h11.Connection):
    """One that is made of other parts, as far as can be seen from outside."""

    seen = False

    def __getattribute__(self, name: str) -> Any:
        if name == "_process_event" and Other.seen:
            raise AttributeError(name)
        return super().__getattribute__(name)


def test_another_h11_is_read_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = Other(h11.CLIENT)
    monkeypatch.setattr(Other, "seen", True)
    assert quick(parser) == plain(parser)
