"""Files that go along with a call, as the caller gives them: looked at when given, read when sent."""

from __future__ import annotations

import errno
import inspect
import io
import mimetypes
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as part
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

from hybrid_infer.errors import InvalidCallError, UploadError

FileContent: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"
"""A path (a `str` is always a path), the bytes themselves, or an open file that can be sought."""

FileInput: TypeAlias = (
    "FileContent | tuple[str | None, FileContent] | tuple[str | None, FileContent, str | None]"
)
"""A file as the `openai` and `together` packages take it: content, or ``(filename, content)``, or
``(filename, content, content_type)``. None in a tuple stands for what would be taken without the tuple."""

LONGEST_PIECE = 262_144
"""Bytes of a file that are in memory at one time."""

_UNNAMED = "upload"
_UNKNOWN = "application/octet-stream"


class UploadReader(Protocol):
    """Reads a file from its start to its end, once."""

    def read(self) -> bytes:
        """The next piece, at most `LONGEST_PIECE` bytes; ``b""`` at the end.

        The last piece comes only after the file was found to be as it was when it was given.

        Raises:
            UploadError: it cannot be read, or it has changed.
        """
        ...

    def close(self) -> None:
        """May be called twice, and not while another thread reads."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Upload:
    """One file of a call. Holds no open file of its own; the content is no part of the repr.

    Attributes:
        field: the name of the form's field, e.g. ``"file"``.
        filename: as the provider is told; many take the format from its ending.
        content_type: the media type, e.g. ``"audio/wav"``.
        size: bytes.
    """

    field: str
    filename: str
    content_type: str
    size: int
    _reader: Callable[[], UploadReader] = part(repr=False)

    def open(self) -> UploadReader:
        """Begin to read it from its start; each attempt to send does so anew, also at the same time.

        Raises:
            UploadError: it is gone, or is not what it was when it was given.
        """
        return self._reader()


def upload_of(field: str, given: FileInput) -> Upload:
    """Look at a file that a caller gave. A path is opened once to see that it can be read, and not kept open.

    A file object is read from where it stands now. It stays the caller's: it is moved, and never closed.

    Args:
        field: the argument it was given as, for messages and as the field of the form.

    Raises:
        InvalidCallError: there is no such file, it is a folder, empty, closed, opened in text mode or not for
            reading, it cannot be sought, or it is not a file at all.
    """
    filename, content, content_type = _taken_apart(field, given)
    if isinstance(content, bytes):
        size, name, reader = len(content), None, _of_bytes(content)
    elif isinstance(content, (str, os.PathLike)):
        size, name, reader = _of_path(field, cast("str | os.PathLike[str]", content))
    else:
        size, name, reader = _of_object(field, content)
    if not size:
        raise InvalidCallError(
            f"{field}: {'the file is' if name is None else f'{name!r} is'} empty (0 bytes)"
        )
    filename = filename or name or _UNNAMED
    return Upload(
        field=field,
        filename=filename,
        content_type=content_type or _type_of(filename),
        size=size,
        _reader=reader,
    )


def _taken_apart(field: str, given: object) -> tuple[str | None, Any, str | None]:
    """Filename, content and content type."""
    filename: object = None
    content = given
    content_type: object = None
    if isinstance(given, tuple):
        parts = cast("tuple[object, ...]", given)
        if len(parts) not in (2, 3):
            raise InvalidCallError(
                f"{field}: a tuple is (filename, content) or (filename, content, content_type), "
                f"not {len(parts)} parts"
            )
        filename, content = parts[:2]
        content_type = parts[2] if len(parts) == 3 else None
    for what, value in (("filename", filename), ("content_type", content_type)):
        if value is not None and (not isinstance(value, str) or not value):
            raise InvalidCallError(f"{field}: the {what} in the tuple must be a text or None")
    if content_type is not None and not _is_header_value(cast("str", content_type)):
        raise InvalidCallError(f"{field}: the content_type in the tuple is one line of ASCII, e.g. audio/wav")
    if not isinstance(content, (bytes, str, os.PathLike)) and not _is_file(content):
        raise InvalidCallError(
            f"{field}: {_kind(content)} is not a file; give a path, bytes, a file opened with "
            "open(…, 'rb'), or a tuple (filename, one of these)"
        )
    return cast("str | None", filename), cast("Any", content), cast("str | None", content_type)


def _is_file(given: object) -> bool:
    read = getattr(given, "read", None)
    return callable(read) and not inspect.iscoroutinefunction(read)


def _is_header_value(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _kind(given: object) -> str:
    kind = type(given)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _type_of(filename: str) -> str:
    kind, packed = mimetypes.guess_type(filename)
    return kind if kind is not None and packed is None else _UNKNOWN


def _of_bytes(content: bytes) -> Callable[[], UploadReader]:
    return lambda: _Counted("the file", len(content), io.BytesIO(content).read, lambda: None)


def _of_path(field: str, given: str | os.PathLike[str]) -> tuple[int, str | None, Callable[[], UploadReader]]:
    path = os.fspath(given)
    if not isinstance(cast("object", path), str):
        raise InvalidCallError(f"{field}: the path {path!r} must be a text")
    if not path:
        raise InvalidCallError(f"{field}: the path is empty")
    try:
        found = Path(path).stat()  # first: to open a pipe waits for who writes to it
        if stat.S_ISDIR(found.st_mode):
            raise InvalidCallError(f"{field}: {path!r} is a folder; give the path of a file")
        if not stat.S_ISREG(found.st_mode):
            raise InvalidCallError(f"{field}: {path!r} is not a regular file; read it and give the bytes")
        with _opened(path):
            pass
    except FileNotFoundError:
        raise InvalidCallError(f"{field}: there is no file {path!r}{_from_here(path)}") from None
    except OSError as error:
        raise InvalidCallError(f"{field}: {path!r} cannot be read: {_reason(error)}") from None
    except ValueError:
        raise InvalidCallError(f"{field}: {path!r} is not a path") from None
    whole = Path(path).absolute()  # whoever changes the folder meanwhile
    return found.st_size, whole.name, lambda: _PathReader(path, whole, found)


def _from_here(path: str) -> str:
    if Path(path).is_absolute():
        return ""
    try:
        return f" (looked for in {str(Path.cwd())!r})"
    except OSError:
        return ""  # that folder is gone, too


def _of_object(field: str, given: Any) -> tuple[int, str | None, Callable[[], UploadReader]]:
    if getattr(given, "closed", False) is True:
        raise InvalidCallError(f"{field}: the file object is closed; give its path, or one that is open")
    if isinstance(given, io.TextIOBase):
        raise InvalidCallError(f"{field}: the file object is in text mode; open it with open(…, 'rb')")
    readable = getattr(given, "readable", None)
    if callable(readable) and not readable():
        raise InvalidCallError(f"{field}: the file object is not open for reading; use open(…, 'rb')")
    try:
        start: int = given.tell()
        size = given.seek(0, os.SEEK_END) - start
        given.seek(start)
        sample: object = given.read(0)
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ESPIPE):
            raise InvalidCallError(f"{field}: the file object cannot be read: {_reason(error)}") from None
        raise InvalidCallError(
            f"{field}: the file object cannot be sought, so it could not be sent again; "
            "give a path, or its content as bytes"
        ) from None
    if not isinstance(sample, bytes):
        raise InvalidCallError(f"{field}: the file object does not give bytes; open it with open(…, 'rb')")
    if size <= 0 and start:
        raise InvalidCallError(
            f"{field}: the file object stands at its end, and nothing is left to read; seek(0) it first"
        )
    name: object = getattr(given, "name", None)
    shown = Path(name).name if isinstance(name, str) else None
    turn: SimpleQueue[None] = SimpleQueue()
    turn.put(None)
    return size, shown, lambda: _ObjectReader(given, start, size, shown or "the file object", turn)


class _Counted:
    """Gives as many bytes as were announced, or an error in place of the last piece."""

    def __init__(
        self, name: str, size: int, read: Callable[[int], bytes], check: Callable[[], object]
    ) -> None:
        self._name = name
        self._size = size
        self._left = size
        self._read = read
        self._check = check

    def read(self) -> bytes:
        if not self._left:
            return b""
        try:
            piece = self._read(min(self._left, LONGEST_PIECE))
            self._left -= len(piece)
            if piece and not self._left:
                if self._read(1):
                    raise _changed(self._name, f"it has more than the {self._size} bytes it had")
                self._check()
        except UploadError:
            raise
        except OSError as error:
            raise UploadError(
                f"{self._name!r} cannot be read to its end: {_reason(error)}; the upload was broken off"
            ) from None
        except Exception as error:  # a file object may be of any make
            raise UploadError(
                f"{self._name!r} cannot be read to its end: {str(error) or type(error).__name__}; keep the "
                "file open until the call is over, or give a path"
            ) from error
        if not piece:
            raise _changed(self._name, f"it ends after {self._size - self._left} of {self._size} bytes")
        return piece

    def close(self) -> None:
        """Nothing is open."""


class _PathReader(_Counted):
    """A file of its own for each attempt. It must be the file that was given, and stay as it was."""

    def __init__(self, name: str, path: Path, given: os.stat_result) -> None:
        self._given = given
        try:
            self._file = _opened(path)
        except OSError as error:
            raise UploadError(
                f"{name!r} cannot be read any more: {_reason(error)}; nothing was sent"
            ) from None
        super().__init__(name, given.st_size, self._file.read, self._is_the_same)
        try:
            self._is_the_same()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        file: io.FileIO | None = getattr(self, "_file", None)
        if file is not None:
            file.close()

    def _is_the_same(self) -> None:
        now = os.fstat(self._file.fileno())
        if _print(now) != _print(self._given):
            size = f"{now.st_size} bytes instead of {self._given.st_size}"
            raise _changed(self._name, "it was written to" if now.st_size == self._given.st_size else size)


class _ObjectReader(_Counted):
    """Shares the caller's file object with the other attempts: each goes to its own place before it reads."""

    def __init__(self, file: Any, start: int, size: int, name: str, turn: SimpleQueue[None]) -> None:
        self._file = file
        self._at = start
        self._turn = turn
        super().__init__(name, size, self._next, lambda: None)

    def _next(self, size: int) -> bytes:
        self._turn.get()
        try:
            self._file.seek(self._at)
            piece: object = self._file.read(size)
        finally:
            self._turn.put(None)
        if not isinstance(piece, bytes) or len(piece) > size:
            raise TypeError("its read() does not give bytes, or more of them than it was asked for")
        self._at += len(piece)
        return piece


def _opened(path: str | Path) -> io.FileIO:
    """Unbuffered: nothing is read ahead, and closing it takes no lock."""
    return io.FileIO(path)


def _print(state: os.stat_result) -> tuple[int, int, int, int]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _changed(name: str, how: str) -> UploadError:
    return UploadError(
        f"{name!r} changed after it was given to the call: {how}; the upload was broken off. Call again when "
        "nobody writes to it any more"
    )


def _reason(error: OSError) -> str:
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
