"""Server-sent events, by the standard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire_samples import cut
from hybrid_infer.backends.sse import SseEvent, SseSplitter


def split(*pieces: bytes) -> list[SseEvent]:
    splitter = SseSplitter()
    return [event for piece in pieces for event in splitter.feed(piece)] + splitter.flush()


def message(data: bytes) -> SseEvent:
    return "message", data


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_all_three_line_ends_end_lines(end: bytes) -> None:
    stream = end.join([b"data: one", b"data: two", b"", b"event: error", b"data: three", b"", b""])
    assert split(stream) == [message(b"one\ntwo"), ("error", b"three")]


def test_carriage_return_and_newline_in_two_pieces_are_one_line_end() -> None:
    assert split(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [message(b"a\nb")]


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    splitter = SseSplitter()
    assert splitter.feed(b"data: a\n") == []
    assert splitter.feed(b"\r") == [message(b"a")]
    assert splitter.feed(b"\ndata: b\n\n") == [message(b"b")]


@pytest.mark.parametrize(
    ("line", "data"),
    [
        (b"data:x", b"x"),
        (b"data: x", b"x"),
        (b"data:  x", b" x"),
        (b"data: a:b", b"a:b"),
        (b"data", b""),
        (b"data:", b""),
        ("data: é\u2028".encode(), "é\u2028".encode()),
        (b"data: \x0b\x0c\x1c\x85", b"\x0b\x0c\x1c\x85"),
    ],
)
def test_value_is_what_follows_the_colon_and_one_space(line: bytes, data: bytes) -> None:
    assert split(line + b"\n\n") == [message(data)]


def test_comments_unknown_fields_and_events_without_data_are_left_out() -> None:
    assert split(b": ping\n\nid: 4\nretry: 10\nfoo: x\ndata : no\n\nevent: tick\n\ndata: a\n\n") == [
        message(b"a")
    ]


def test_byte_order_mark_at_the_start_is_no_part_of_the_first_field() -> None:
    assert split(b"\xef", b"\xbb", b"\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [message(b"a")]


def test_flush_gives_the_last_event_where_its_blank_line_or_line_end_is_missing() -> None:
    assert split(b"data: a\n\ndata: b") == [message(b"a"), message(b"b")]
    assert split(b"event: error\ndata: b\n") == [("error", b"b")]
    assert split(b"") == []


def test_flush_twice_gives_nothing_more() -> None:
    splitter = SseSplitter()
    splitter.feed(b"data: a")
    assert splitter.flush() == [message(b"a")]
    assert splitter.flush() == []


def test_a_line_in_very_many_pieces_is_read() -> None:
    assert split(b"data: ", *[b"x"] * 300_000, b"\n\n") == [message(b"x" * 300_000)]


LINES = st.lists(
    st.sampled_from(
        [b"data: a", b"data:\xc3\xa9", b"", b"event: error", b": note", b"id", b"data", b"\xef\xbb\xbf"]
    )
    | st.binary(max_size=5)
)


@given(st.data(), LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_of_the_bytes_gives_the_same_events(
    data: st.DataObject, lines: list[bytes], end: bytes
) -> None:
    stream = end.join(lines)
    whole = split(stream)
    assert split(*data.draw(cut(stream))) == whole
    assert split(*(stream[i : i + 1] for i in range(len(stream)))) == whole
