"""Request bodies that are read while they are sent: a form with files, and how a connection takes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from hybrid_infer.calls.uploads import LONGEST_PIECE, Upload
from hybrid_infer.errors import InvalidCallError, UploadError
from hybrid_infer.transport.base import Body, BodyReader

_ESCAPES = str.maketrans({"\r": "%0D", "\n": "%0A", '"': "%22"})
"""As browsers write names (WHATWG HTML, "multipart/form-data encoding algorithm"; RFC 7578, 4.2)."""


__all__ = ["Body", "BodyReader", "Counted", "Multipart", "Pieces"]


class Multipart:
    """A form (RFC 7578): the fields in their order, then the files, which are read when they are sent.

    One form may be sent several times, also at the same time; it has the same boundary and length each time.

    Args:
        fields: names and texts; a name may come several times. The texts go out as they are, in UTF-8.
        files: what `upload_of` made of what the caller gave.

    Raises:
        InvalidCallError: a name or text has half of a surrogate pair, which is no text in UTF-8.
    """

    def __init__(self, fields: Sequence[tuple[str, str]], files: Sequence[Upload]) -> None:
        self._boundary = os.urandom(16).hex()
        self._fields = len(fields)
        self._files = tuple(files)
        self._heads: list[bytes] = []
        written = b"".join(self._field(name, text) for name, text in fields)
        for file in files:
            self._heads.append(written + self._head(file))
            written = b"\r\n"
        self._end = written + f"--{self._boundary}--\r\n".encode()
        self.length = sum(map(len, self._heads)) + sum(file.size for file in files) + len(self._end)

    @property
    def content_type(self) -> str:
        """The value of the content-type header that has to go with it."""
        return f"multipart/form-data; boundary={self._boundary}"

    def open(self) -> BodyReader:
        """See `Body.open`. The first file is opened at once, so that one that is gone costs no connection."""
        return _FormReader(self._heads, self._files, self._end)

    def _field(self, name: str, text: str) -> bytes:
        head = f'--{self._boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'
        try:
            return f"{head}{text}\r\n".encode()
        except UnicodeEncodeError:
            raise InvalidCallError(f"{name!r}: the text has characters that UTF-8 does not have") from None

    def _head(self, file: Upload) -> bytes:
        """What stands before the content of a file."""
        head = (
            f"--{self._boundary}\r\n"
            f'Content-Disposition: form-data; name="{_quoted(file.field)}"; '
            f'filename="{_quoted(file.filename)}"\r\n'
            f"Content-Type: {file.content_type}\r\n\r\n"
        )
        return head.encode("utf-8", "replace")  # a name of a file may have bytes that are no text

    def __repr__(self) -> str:
        return f"Multipart({self._fields} fields, {len(self._files)} files, {self.length} bytes)"


class _FormReader:
    """See `BodyReader`. Small parts come as they are, files in pieces."""

    def __init__(self, heads: Sequence[bytes], files: Sequence[Upload], end: bytes) -> None:
        self._parts: list[bytes | Upload] = []
        for head, file in zip(heads, files, strict=True):
            self._parts += head, file
        self._parts.append(end)
        self._parts.reverse()
        self._text = b""
        self._file = files[0].open() if files else None
        self._ahead = self._file is not None
        """The file that is open is not yet the one that is read."""

    def read(self) -> bytes:
        while True:
            if self._text:
                piece, self._text = self._text[:LONGEST_PIECE], self._text[LONGEST_PIECE:]
                return piece
            if self._file is not None and not self._ahead:
                if piece := self._file.read():
                    return piece
                self.close()
            if not self._parts:
                return b""
            part = self._parts.pop()
            if isinstance(part, bytes):
                self._text = part
            elif self._ahead:
                self._ahead = False
            else:
                self._file = part.open()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


class Counted:
    """A body on its way out, which is exactly as long as it was announced or ends with an error.

    Too few bytes would leave the server waiting; with too many the rest would be taken for another request.
    So the last piece comes when it is known to be the last.
    """

    __slots__ = ("_left", "_length", "_reader")

    def __init__(self, body: Body) -> None:
        self._length = self._left = body.length
        self._reader = body.open()

    @property
    def ended(self) -> bool:
        """All of it was read."""
        return not self._left

    def read(self) -> bytes:
        if self.ended:
            return b""
        piece = self._reader.read()
        self._left -= len(piece)
        if self._left < 0 or (self._left and not piece) or (self.ended and self._reader.read()):
            raise UploadError(
                f"the body of the request is not the {self._length} bytes it was announced as; "
                "the upload was broken off"
            )
        return piece

    def close(self) -> None:
        self._reader.close()


class Pieces:
    """A body as `httpcore` and `httpx` take it. Each iteration reads it from its start.

    Whoever makes it closes it: a connection that breaks does not.

    Args:
        before: called before each piece; raises where no time is left.
    """

    def __init__(self, body: Body, before: Callable[[], object]) -> None:
        self._body = body
        self._before = before
        self._begun = False
        self._reader: Counted | None = Counted(body)

    def __iter__(self) -> Iterator[bytes]:
        if self._begun or self._reader is None:
            self.close()
            self._reader = Counted(self._body)
        self._begun = True
        return self

    def __next__(self) -> bytes:
        self._before()
        if self._reader is None:
            raise StopIteration
        piece = self._reader.read()
        if self._reader.ended:
            self.close()
        return piece

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


def _quoted(name: str) -> str:
    return name.translate(_ESCAPES)
