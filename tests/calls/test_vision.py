"""Pictures in messages: whatever is given becomes the part that providers read."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hybrid_infer
from hybrid_infer import InvalidCallError
from hybrid_infer.calls.ask import chat_call

BEGINNINGS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
}


def url_of(source: Any) -> str:
    part = hybrid_infer.image(source)
    assert part.keys() == {"type", "image_url"} and part["type"] == "image_url"
    return part["image_url"]["url"]


@given(st.sampled_from(sorted(BEGINNINGS)), st.binary(max_size=300))
def test_bytes_come_back_from_the_address_with_the_type_they_begin_with(kind: str, rest: bytes) -> None:
    content = BEGINNINGS[kind] + rest
    for source in (content, bytearray(content), memoryview(content)):
        begins, _, encoded = url_of(source).partition(",")
        assert begins == f"data:{kind};base64"
        assert b64decode(encoded, validate=True) == content


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_a_file_is_read_whatever_it_is_called(kind: str, tmp_path: Path) -> None:
    content = BEGINNINGS[kind] + bytes(range(256))
    path = tmp_path / "picture.txt"
    path.write_bytes(content)
    assert url_of(path) == url_of(str(path)) == url_of(content)


def test_the_first_gif_version_is_one_too() -> None:
    assert url_of(b"GIF87a").startswith("data:image/gif;")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png?b=c#d",
        "http://example.com/a",
        "HTTPS://example.com",
        "data:image/png;base64,AA",
    ],
)
def test_an_address_is_sent_as_it_is(url: str) -> None:
    assert url_of(url) == url


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere/photo.png", r"cannot read 'nowhere/photo\.png': No such file or directory; check the path"),
        (Path("nowhere.png"), r"cannot read 'nowhere\.png': No such file or directory"),
        ("a\0b", r"cannot read .*null"),
        ("x" * 5000, r"cannot read 'x{100}…': File name too long"),
        ("s3://bucket/photo.png", r"'s3://bucket/photo\.png' has a scheme that providers do not read"),
        (b"", r"0 bytes: there is nothing in it"),
        (
            b"%PDF-1.7 and so on",
            r"19 bytes|18 bytes: not a PNG, JPEG, GIF or WebP \(it begins with b'%PDF-1\.7'\)",
        ),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", r"not a PNG, JPEG, GIF or WebP"),
        (12, r"int is no picture; give an address, a path, or the bytes"),
        (None, r"NoneType is no picture"),
    ],
)
def test_what_is_no_picture_is_an_error_that_says_so(source: Any, says: str) -> None:
    with pytest.raises(InvalidCallError, match=says):
        hybrid_infer.image(source)


def test_an_empty_file_and_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(InvalidCallError, match=r"empty\.png': there is nothing in it"):
        hybrid_infer.image(tmp_path / "empty.png")
    with pytest.raises(InvalidCallError, match="Is a directory"):
        hybrid_infer.image(tmp_path)


def test_parts_of_messages_are_sent_as_they_are() -> None:
    """Pictures, sounds and what nobody has heard of yet."""
    content = [
        {"type": "text", "text": "What is this?"},
        hybrid_infer.image(BEGINNINGS["image/png"]),
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
        {"type": "smell", "smell": "smoke"},
    ]
    messages = [{"role": "user", "content": content}]
    call = chat_call({}, messages, "m", None, {})
    assert call.body["messages"] == messages
