"""Chunks taken past the parser are those that it would find itself, however they are written and cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hybrid_infer.transport.arrivals import whole_chunks

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
NEVER = 0

cuts = st.lists(st.integers(0, 600), max_size=12)
pieces = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
chunks = st.builds(
    lambda data, size, footer: size % len(data) + b"\r\n" + data + footer,
    data=st.one_of(
        st.binary(min_size=1, max_size=40), st.sampled_from([b"\r\n", b"5\r\n", b"\r\n0\r\n\r\n"])
    ),
    size=st.sampled_from(
        [b"%x", b"%X", b"00%x", b"000000000%x", b"%x;a=b", b"%x ", b"+%x", b"0x%x", b"1_%x"]
    ),
    footer=st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\r\n", b""]),
)
ends = st.sampled_from([b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"00\r\n\r\n", b"0", b"", b"z\r\n", b"\r\n"])


def waiting(kind: type[h11.Connection] = h11.Connection) -> h11.Connection:
    """A client that has sent its request."""
    parser = kind(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    parser.send(h11.EndOfMessage())
    return parser


def read_all(data: bytes, cuts: list[int], most: int) -> tuple[bytes, str, str]:
    """The body as far as it came, the state of the server, and what was wrong; `most` at a time are taken."""
    parser, found = waiting(), b""
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    try:
        for place, following in pairwise(places):
            parser.receive_data(data[place:following])
            while (event := parser.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Data):
                    found += event.data
                    found += b"".join(whole_chunks(parser, most))
                if isinstance(event, h11.EndOfMessage):
                    break
    except h11.ProtocolError as error:
        return found, "broken", str(error)
    return found, str(parser.their_state), ""


@given(st.lists(chunks, max_size=8), ends, cuts, st.integers(1, 4))
@example([b"1\r\na\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n"], b"0\r\n\r\n", [], 4)
def test_the_parser_finds_the_same(chunks: list[bytes], end: bytes, cuts: list[int], most: int) -> None:
    data = CHUNKED + b"".join(chunks) + end
    assert read_all(data, cuts, most) == read_all(data, cuts, NEVER)


@given(pieces, cuts, st.integers(0, 4))
def test_the_pieces_are_found_however_they_are_cut(pieces: list[bytes], cuts: list[int], most: int) -> None:
    written = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    found = read_all(CHUNKED + written + b"0\r\n\r\n", cuts, most)
    assert found == (b"".join(pieces), "DONE", "")


def test_what_is_no_chunk_is_told_after_what_came_before() -> None:
    found, state, wrong = read_all(CHUNKED + b"1\r\na\r\n1\r\nb\r\nzz\r\n", [], 4)
    assert (found, state) == (b"ab", "broken")
    assert "chunk header" in wrong


@given(pieces, cuts)
def test_a_body_that_is_not_in_chunks_is_the_parsers_alone(pieces: list[bytes], cuts: list[int]) -> None:
    body = b"".join(pieces)
    for head in (HEAD + b"content-length: %d\r\n\r\n" % len(body), HEAD + b"connection: close\r\n\r\n"):
        found = read_all(head + body, cuts, 4)
        assert found == read_all(head + body, cuts, NEVER)
        assert found[0] == body


def begun(rest: bytes, kind: type[h11.Connection] = h11.Connection) -> h11.Connection:
    """One whose parser has given out the first chunk, and has more."""
    parser = waiting(kind)
    parser.receive_data(CHUNKED + b"5\r\nfirst\r\n" + rest)
    assert isinstance(parser.next_event(), h11.Response)
    assert isinstance(parser.next_event(), h11.Data)
    return parser


def test_what_has_arrived_is_taken_up_to_the_most() -> None:
    parser = begun(b"1\r\na\r\n2\r\nbb\r\n1\r\nc\r\n0\r\n\r\n")
    assert whole_chunks(parser, 2) == [b"a", b"bb"]
    assert whole_chunks(parser, 2) == [b"c"]
    assert isinstance(parser.next_event(), h11.EndOfMessage)


@pytest.mark.parametrize("came", [b"", b"4", b"4\r", b"4\r\n", b"4\r\nb", b"4\r\nbbb"])
def test_part_of_a_chunk_is_left_until_the_rest_is_there(came: bytes) -> None:
    parser = begun(b"1\r\na\r\n" + came)
    assert whole_chunks(parser, 9) == [b"a"]
    parser.receive_data(b"4\r\nbbbb\r\n".removeprefix(came))
    assert whole_chunks(parser, 9) == [b"bbbb"]


class Other(h11.Connection):
    """One that is made of other parts, as far as can be seen from outside."""

    hidden: str | None = None

    def __getattribute__(self, name: str) -> Any:
        if name == Other.hidden:
            raise AttributeError(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("part", ["_reader", "_receive_buffer"])
def test_of_another_h11_nothing_is_taken(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = begun(b"1\r\na\r\n", Other)
    monkeypatch.setattr(Other, "hidden", part)
    assert whole_chunks(parser, 9) == []
