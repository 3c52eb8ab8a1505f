"""A form on the wire reads back as what was put into it."""

from __future__ import annotations

import asyncio
import email
import email.policy
from email.message import Message
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.streams import StreamReader
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.uploads import LONGEST_PIECE, upload_of
from hybrid_infer.errors import InvalidCallError
from hybrid_infer.transport.base import Body
from hybrid_infer.transport.bodies import Multipart

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\\/;"),
    min_size=1,
    max_size=40,
)
"""Without backslashes, slashes and semicolons, of which aiohttp's reader makes something of its own."""
PLAIN_NAMES = st.text(st.characters(codec="ascii", min_codepoint=32, exclude_characters='"\\%'), min_size=1)


def sent(body: Body) -> bytes:
    reader = body.open()
    pieces = list(iter(reader.read, b""))
    reader.close()
    assert all(len(piece) <= LONGEST_PIECE for piece in pieces)
    return b"".join(pieces)


def parts(form: Multipart) -> list[Message]:
    """As the standard library reads it."""
    head = f"Content-Type: {form.content_type}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    message = email.message_from_bytes(head + sent(form), policy=email.policy.compat32)
    assert message.is_multipart()
    assert not message.defects
    return cast("list[Message]", message.get_payload())


class _Nobody:
    """Stands at the other end of a stream that is fed from here."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


async def read_by_aiohttp(form: Multipart) -> list[tuple[str | None, str | None, bytes]]:
    """Name, filename and content of each part, as a server on aiohttp reads them."""
    stream = StreamReader(cast("Any", _Nobody()), 2**20, loop=asyncio.get_running_loop())
    stream.feed_data(sent(form))
    stream.feed_eof()
    headers = cast("Any", {"Content-Type": form.content_type})
    found = []
    async for part in aiohttp.MultipartReader(headers, stream):
        assert isinstance(part, aiohttp.BodyPartReader)
        found.append((part.name, part.filename, bytes(await part.read())))
    return found


@given(
    fields=st.lists(st.tuples(PLAIN_NAMES, TEXTS), max_size=4),
    content=st.binary(min_size=1, max_size=300),
    more=st.lists(st.binary(min_size=1, max_size=30), max_size=2),
)
def test_fields_come_first_in_their_order_then_the_files_and_all_read_back(
    fields: list[tuple[str, str]], content: bytes, more: list[bytes]
) -> None:
    files = [upload_of("file", ("a.bin", each)) for each in (content, *more)]
    form = Multipart(fields, files)
    found = parts(form)
    assert len(sent(form)) == form.length
    texts = [
        (part.get_param("name", header="content-disposition"), part.get_payload(decode=True))
        for part in found[: len(fields)]
    ]
    assert texts == [(name, text.encode()) for name, text in fields]
    assert all(part.get_filename() is None for part in found[: len(fields)])
    assert [part.get_payload(decode=True) for part in found[len(fields) :]] == [content, *more]
    assert {part.get_filename() for part in found[len(fields) :]} == {"a.bin"}


@given(fields=st.lists(st.tuples(NAMES, TEXTS), max_size=3), filename=NAMES)
def test_names_in_any_script_read_back_with_quotes_percent_encoded_as_browsers_do(
    fields: list[tuple[str, str]], filename: str
) -> None:
    form = Multipart(fields, [upload_of("file", (filename, b"content"))])
    expected: list[tuple[str | None, str | None, bytes]] = [
        (name.replace('"', "%22"), None, text.encode()) for name, text in fields
    ]
    expected.append(("file", filename.replace('"', "%22"), b"content"))
    assert asyncio.run(read_by_aiohttp(form)) == expected


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Grüße 🙂.wav", "Grüße 🙂.wav"),
        ('a"b.wav', "a%22b.wav"),
        ('x"\r\nX-Evil: 1\r\n\r\nboo', "x%22%0D%0AX-Evil: 1%0D%0A%0D%0Aboo"),
        ("back\\slash", "back\\slash"),
        ("100%.wav", "100%.wav"),
        ("half \ud800.wav", "half ?.wav"),
    ],
)
def test_a_filename_is_written_as_browsers_write_it_and_never_ends_its_line(name: str, written: str) -> None:
    """WHATWG HTML, "multipart/form-data encoding algorithm", read 2026."""
    form = Multipart([], [upload_of("file", (name, b"x"))])
    head = sent(form).split(b"\r\n\r\n")[0].decode()
    assert head.split("\r\n")[1:] == [
        f'Content-Disposition: form-data; name="file"; filename="{written}"',
        f"Content-Type: {'audio/x-wav' if name.endswith('.wav') else 'application/octet-stream'}",
    ]


def test_a_form_is_written_to_the_letter() -> None:
    form = Multipart(
        [("model", "whisper"), ("grain[]", "word"), ("grain[]", "segment")],
        [upload_of("file", ("a.mp3", b"\r\n--not a boundary"))],
    )
    kind, _, boundary = form.content_type.partition("; boundary=")
    assert (kind, len(boundary)) == ("multipart/form-data", 32)
    assert sent(form).decode().split(f"--{boundary}") == [
        "",
        '\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n',
        '\r\nContent-Disposition: form-data; name="grain[]"\r\n\r\nword\r\n',
        '\r\nContent-Disposition: form-data; name="grain[]"\r\n\r\nsegment\r\n',
        '\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n'
        "Content-Type: audio/mpeg\r\n\r\n\r\n--not a boundary\r\n",
        "--\r\n",
    ]


def test_a_form_without_files_is_a_form() -> None:
    form = Multipart([("a", "b" * 600_000)], [])
    assert parts(form)[0].get_payload(decode=True) == b"b" * 600_000
    assert len(sent(form)) == form.length


def test_every_form_has_a_boundary_of_its_own() -> None:
    assert len({Multipart([], []).content_type for _ in range(100)}) == 100


def test_half_a_surrogate_pair_in_a_text_is_refused_rather_than_changed() -> None:
    with pytest.raises(InvalidCallError, match="'prompt': the text has characters that UTF-8 does not have"):
        Multipart([("prompt", "a\ud800")], [])


def test_the_repr_shows_neither_texts_nor_content() -> None:
    form = Multipart([("prompt", "secret")], [upload_of("file", b"secret")])
    assert repr(form) == f"Multipart(1 fields, 1 files, {form.length} bytes)"
