"""Files as callers give them: what is looked at when, and what is said where one cannot be sent."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.uploads import LONGEST_PIECE, FileInput, Upload, upload_of
from hybrid_infer.errors import InvalidCallError, UploadError

SOUND = bytes(range(256)) * 5_000
"""More than four pieces."""


def content(upload: Upload) -> bytes:
    reader = upload.open()
    try:
        return b"".join(iter(reader.read, b""))
    finally:
        reader.close()


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "a sound.wav"
    path.write_bytes(SOUND)
    return path


@pytest.mark.parametrize(
    "give",
    [
        lambda path: str(path),
        lambda path: path,
        lambda path: path.read_bytes(),
        lambda path: io.BytesIO(path.read_bytes()),
        lambda path: ("other.flac", path),
        lambda path: (None, str(path), "audio/x-own"),
        lambda path: ("a.jsonl", io.BytesIO(path.read_bytes()), None),
    ],
)
def test_every_way_to_give_a_file_gives_the_same_bytes_each_time_it_is_opened(
    sound: Path, give: Callable[[Path], FileInput]
) -> None:
    upload = upload_of("file", give(sound))
    assert upload.size == len(SOUND)
    assert content(upload) == content(upload) == SOUND


@pytest.mark.parametrize(
    ("give", "name", "kind"),
    [
        (lambda path: str(path), "a sound.wav", "audio/x-wav"),
        (lambda path: path.open("rb"), "a sound.wav", "audio/x-wav"),
        (lambda path: b"x", "upload", "application/octet-stream"),
        (lambda path: io.BytesIO(b"x"), "upload", "application/octet-stream"),
        (lambda path: ("take.mp3", path), "take.mp3", "audio/mpeg"),
        (lambda path: ("take.tar.gz", path), "take.tar.gz", "application/octet-stream"),
        (lambda path: ("take", path, "audio/x-own"), "take", "audio/x-own"),
        (lambda path: (None, path, None), "a sound.wav", "audio/x-wav"),
    ],
)
def test_name_and_type_are_those_given_or_else_those_of_the_file(
    sound: Path, give: Callable[[Path], Any], name: str, kind: str
) -> None:
    given_file = give(sound)
    upload = upload_of("file", given_file)
    if isinstance(given_file, io.IOBase):
        given_file.close()
    assert (upload.field, upload.filename) == ("file", name)
    assert upload.content_type in {kind, kind.replace("x-wav", "wav"), kind.replace("x-wav", "vnd.wave")}


def test_a_file_object_is_read_from_where_it_stood_and_stays_open(sound: Path) -> None:
    with sound.open("rb") as file:
        file.seek(1_000)
        upload = upload_of("file", file)
        assert file.tell() == 1_000
        file.seek(7)
        assert content(upload) == content(upload) == SOUND[1_000:]
        assert not file.closed


@given(data=st.data())
def test_two_attempts_that_read_one_file_object_in_turns_do_not_disturb_each_other(data: Any) -> None:
    upload = upload_of("file", io.BytesIO(SOUND))
    readers = upload.open(), upload.open()
    read = [b"", b""]
    for which in data.draw(st.permutations([0] * 6 + [1] * 6)):
        piece = readers[which].read()
        assert len(piece) <= LONGEST_PIECE
        read[which] += piece
    assert read == [SOUND, SOUND]


def test_two_threads_that_read_one_file_object_each_get_the_whole_of_it(sound: Path) -> None:
    found: list[bytes] = []
    with sound.open("rb") as file:
        upload = upload_of("file", file)
        threads = [threading.Thread(target=lambda: found.append(content(upload))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [SOUND] * 8


def test_a_path_stays_the_same_file_when_the_folder_is_changed(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sound.parent)
    upload = upload_of("file", sound.name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert content(upload) == SOUND


class _Unsought(io.RawIOBase):
    def readable(self) -> bool:
        return True


class _Coroutines:
    async def read(self, _: int = -1) -> bytes:
        return b""


def _closed() -> BinaryIO:
    file = io.BytesIO(b"x")
    file.close()
    return file


def _at_its_end() -> BinaryIO:
    file = io.BytesIO(b"x")
    file.read()
    return file


@pytest.mark.parametrize(
    ("given_file", "says"),
    [
        ("missing.wav", "no file 'missing.wav' (looked for in "),
        ("/nowhere/missing.wav", "no file '/nowhere/missing.wav'"),
        ("", "the path is empty"),
        (os.curdir, "is a folder"),
        ("\0", "is not a path"),
        ("x" * 300, "file name too long"),
        (os.devnull, "not a regular file"),
        (b"", "the file is empty (0 bytes)"),
        (io.BytesIO(), "empty (0 bytes)"),
        (_at_its_end(), "stands at its end, and nothing is left to read; seek(0)"),
        (_closed(), "is closed"),
        (io.StringIO("text"), "text mode; open it with open(…, 'rb')"),
        (_Unsought(), "give a path, or its content as bytes"),
        (_Coroutines(), "_Coroutines is not a file"),
        (17, "int is not a file"),
        (None, "NoneType is not a file"),
        (bytearray(b"x"), "bytearray is not a file"),
        (("only",), "not 1 parts"),
        (("a", b"b", "c/d", {}), "not 4 parts"),
        ((7, b"x"), "filename in the tuple"),
        (("", b"x"), "filename in the tuple"),
        (("a", b"x", 7), "content_type in the tuple"),
        (("a", b"x", "a/b\r\nx-evil: 1"), "one line of ASCII"),
        (("a", ("b", b"x")), "tuple is not a file"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name_before_anything_is_sent(given_file: Any, says: str) -> None:
    with pytest.raises(InvalidCallError) as caught:
        upload_of("file", given_file)
    assert str(caught.value).startswith("file: ")
    assert says in str(caught.value)
    assert not isinstance(caught.value, UploadError)


def test_files_that_are_empty_in_a_loop_or_only_written_are_refused(tmp_path: Path) -> None:
    empty, loop = tmp_path / "empty", tmp_path / "loop"
    empty.touch()
    loop.symlink_to(loop)
    with pytest.raises(InvalidCallError, match=r"'empty' is empty \(0 bytes\)"):
        upload_of("file", empty)
    with pytest.raises(InvalidCallError, match="cannot be read: too many levels of symbolic links"):
        upload_of("file", loop)
    with (tmp_path / "new").open("wb") as file, pytest.raises(InvalidCallError, match="not open for reading"):
        upload_of("file", file)
    with tempfile.TemporaryFile("w+") as text, pytest.raises(InvalidCallError, match="text mode"):
        upload_of("file", text)  # type: ignore[arg-type] # what a type checker says to it, too


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_pipe_is_refused_without_waiting_for_who_writes_to_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidCallError, match="not a regular file"):
        upload_of("file", tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(sound: Path) -> None:
    sound.chmod(0)
    with pytest.raises(InvalidCallError, match="cannot be read: permission denied"):
        upload_of("file", sound)


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


CHANGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: os.truncate(path, 300_000), "300000 bytes instead of 1280000"),
    (_grow, "1280004 bytes instead of 1280000"),
    (_replace, "it was written to"),
    (lambda path: os.utime(path, ns=(1, 1)), "it was written to"),
]


@pytest.mark.parametrize(("change", "says"), CHANGES)
def test_a_file_that_changed_before_it_is_read_is_not_begun(
    sound: Path, change: Callable[[Path], object], says: str
) -> None:
    upload = upload_of("file", sound)
    change(sound)
    with pytest.raises(UploadError, match=says):
        upload.open()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: os.truncate(path, 300_000), "ends after 300000 of 1280000"),
        (_grow, "more than"),
        CHANGES[3],
    ],
)
def test_a_file_that_changes_while_it_is_read_never_gives_its_last_piece(
    sound: Path, change: Callable[[Path], object], says: str
) -> None:
    reader = upload_of("file", sound).open()
    read = reader.read()
    change(sound)
    with pytest.raises(UploadError, match=says):
        while piece := reader.read():
            read += piece
    reader.close()
    assert len(read) < len(SOUND)


def test_a_file_that_vanished_is_named(sound: Path) -> None:
    upload = upload_of("file", sound)
    sound.unlink()
    with pytest.raises(UploadError, match=r"a sound.wav' cannot be read any more: no such file"):
        upload.open()


def test_a_file_object_that_changes_or_is_closed_ends_with_the_same_error() -> None:
    file = io.BytesIO(SOUND)
    upload = upload_of("file", file)
    file.truncate(300_000)
    with pytest.raises(UploadError, match="ends after 300000 of 1280000 bytes"):
        content(upload)
    file.seek(0)
    file.write(SOUND + b"!")
    with pytest.raises(UploadError, match="more than the 1280000 bytes"):
        content(upload)
    file.close()
    with pytest.raises(UploadError, match="keep the file open until the call is over"):
        content(upload)


def test_a_disk_that_fails_midway_ends_with_the_same_error() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 0:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(UploadError, match="cannot be read to its end: input/output error"):
        content(upload_of("file", Broken(SOUND)))


def test_whatever_a_file_object_raises_is_an_error_of_the_upload() -> None:
    class Packed(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if size:
                raise EOFError("the archive is broken")
            return b""

    with pytest.raises(UploadError, match="cannot be read to its end: the archive is broken") as caught:
        content(upload_of("file", Packed(SOUND)))
    assert isinstance(caught.value.__cause__, EOFError)


def test_the_content_is_in_no_repr() -> None:
    assert "secret" not in repr(upload_of("file", b"secret")) + repr(upload_of("file", io.BytesIO(b"secret")))


def test_a_file_that_nobody_closed_closes_itself_in_silence(sound: Path) -> None:
    """As a warning would tell of it."""
    upload_of("file", sound).open().read()
