"""Pictures in messages."""

from __future__ import annotations

from base64 import b64encode
from os import PathLike
from pathlib import Path
from typing import Literal, TypedDict

from hybrid_infer.errors import InvalidCallError

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_ENOUGH = 16
"""Bytes that tell what kind of picture it is."""


class ImageURL(TypedDict):
    url: str


class ImagePart(TypedDict):
    """A part of a message's content, as the `openai` and `together` packages and vLLM know it."""

    type: Literal["image_url"]
    image_url: ImageURL


def image(source: str | PathLike[str] | bytes | bytearray | memoryview) -> ImagePart:
    """A picture as a part of a message's content.

    ```python
    content = [{"type": "text", "text": "What is this?"}, hybrid_infer.image("photo.jpg")]
    client.chat.completions.create(messages=[{"role": "user", "content": content}])
    ```

    Args:
        source: an address (``http://``, ``https://`` or ``data:``), which is sent as it is and read by the
            provider; or a file's path, or the bytes of a picture, which go into the request as a ``data:``
            address with the type that they begin with. Files are read here and now.

    No size is refused here: Together publishes no limit for pictures, and vLLM has none.

    Raises:
        InvalidCallError: there is no such file, it cannot be read or is empty, or it is no PNG, JPEG, GIF or
            WebP: the kinds that all vision models read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
        return _part(_data_url(_kind(content[:_ENOUGH], f"{len(content)} bytes"), content))
    if isinstance(source, str):
        scheme, colon, _ = source.partition(":")
        if colon and scheme.lower() in ("http", "https", "data"):
            return _part(source)
        if "://" in source:
            raise InvalidCallError(
                f"image: {_short(source)} has a scheme that providers do not read; give an http, https or "
                f"data address, a path, or the bytes"
            )
    elif not isinstance(source, PathLike):  # pyright: ignore[reportUnnecessaryIsInstance] - callers have no types
        raise InvalidCallError(
            f"image: {type(source).__name__} is no picture; give an address, a path, or the bytes"
        )
    return _part(_of_file(Path(source)))


def _of_file(path: Path) -> str:
    named = _short(str(path))
    try:
        with path.open("rb") as file:
            beginning = file.read(_ENOUGH)
            kind = _kind(beginning, named)  # before a large file that is something else is read
            return _data_url(kind, beginning + file.read())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidCallError(f"image: cannot read {named}: {reason}; check the path") from error


def _kind(beginning: bytes, named: str) -> str:
    if not beginning:
        raise InvalidCallError(f"image: {named}: there is nothing in it")
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return "image/webp"
    for magic, kind in _BEGINNINGS:
        if beginning.startswith(magic):
            return kind
    raise InvalidCallError(
        f"image: {named}: not a PNG, JPEG, GIF or WebP (it begins with {beginning[:8]!r}); convert it to one"
    )


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode('ascii')}"


def _part(url: str) -> ImagePart:
    return {"type": "image_url", "image_url": {"url": url}}


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}…")
