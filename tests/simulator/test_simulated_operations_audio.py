from __future__ import annotations

import base64
import io
import wave
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator.ask import NotAcceptedError
from hybrid_infer.simulator.exchange import Request
from hybrid_infer.simulator.operations.forms import read_form
from hybrid_infer.simulator.operations.sounds import heard, length, transcript
from hybrid_infer.simulator.world import Provider, World
from simulator.operated import BOUNDARY, MODES, form, in_mode, posted, recording
from simulator.simulated import ask

SERVERLESS_MODE, DEDICATED_MODE, MODAL_MODE, PLAIN_MODE = MODES
BY_MODE = pytest.mark.parametrize("mode", MODES, ids=[mode for _, mode, _ in MODES])
TRANSCRIPTS = Path(__file__).parents[2] / "examples" / "transcripts"
WRITE, TRANSLATE, SAY = "/v1/audio/transcriptions", "/v1/audio/translations", "/v1/audio/speech"


@BY_MODE
@pytest.mark.parametrize("path", [WRITE, TRANSLATE])
def test_a_recording_becomes_a_simulated_text_as_long_as_it_is(
    mode: tuple[Provider, Mode, str], path: str
) -> None:
    short, long = (in_mode(mode, form(path, recording(s), model=mode[2])).json["text"] for s in (2.0, 40.0))
    assert short.startswith("(simulated) ")
    assert len(long) > 3 * len(short)
    assert in_mode(mode, form(path, recording(2.0), model=mode[2])).json["text"] == short


@BY_MODE
def test_the_verbose_answer_has_times(mode: tuple[Provider, Mode, str]) -> None:
    fields: dict[str, Any] = {
        "model": mode[2],
        "response_format": "verbose_json",
        "timestamp_granularities": ["word", "segment"],
    }
    got = in_mode(mode, form(WRITE, recording(9.0), **fields, language="fr")).json
    assert (got["duration"], got["language"]) == (9.0, "fr")
    for rows in (got["segments"], got["words"]):
        times = [time for row in rows for time in (row["start"], row["end"])]
        assert (times[0], times[-1]) == (0.0, 9.0)
        assert times == sorted(times)
    spoken = " ".join(segment["text"] for segment in got["segments"])
    assert got["text"] == f"(simulated) {spoken}"
    assert " ".join(word["word"] for word in got["words"]) == spoken
    assert ("usage" in got) is (mode[0] == "modal")
    fields.pop("timestamp_granularities")
    assert "words" not in in_mode(mode, form(WRITE, recording(9.0), **fields)).json


@BY_MODE
def test_a_text_in_place_of_a_recording_is_its_own_transcript(mode: tuple[Provider, Mode, str]) -> None:
    for file in sorted(TRANSCRIPTS.glob("*.txt")):
        got = in_mode(mode, form(WRITE, file.read_bytes(), filename=file.name, model=mode[2])).json
        assert got["text"] == file.read_text().strip()


def test_a_transcript_keeps_its_own_times_and_its_speakers() -> None:
    text = b"[00:05] Ana: Hello there.\n[00:10] Ben: Hi.\n[01:00:00] Ana: Goodbye."
    fields = {"model": "m", "response_format": "verbose_json", "diarize": "true"}
    got = in_mode(SERVERLESS_MODE, form(WRITE, text, **fields)).json
    assert [segment["start"] for segment in got["segments"]] == [5.0, 10.0, 3600.0]
    assert got["segments"][0] == {"id": 0, "start": 5.0, "end": 10.0, "text": "Ana: Hello there."}
    speakers = [segment["speaker_id"] for segment in got["speaker_segments"]]
    assert speakers == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]


def test_text_is_answered_as_plain_text() -> None:
    got = in_mode(PLAIN_MODE, form(WRITE, b"Said and done.", response_format="text"))
    assert (got.header("content-type"), got.body) == ("text/plain; charset=utf-8", b"Said and done.\n")


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_heard(data: bytes) -> None:
    found = heard(data, 0)
    assert found.text
    assert found.duration > 0.0
    assert all(0.0 <= segment.start <= segment.end <= found.duration + 0.01 for segment in found.segments)


def test_a_recording_is_as_long_as_its_header_says_and_others_by_their_size() -> None:
    assert length(recording(3.5)) == 3.5
    assert length(b"\xff\xfb" + bytes(31_998)) == 2.0
    lying = bytearray(recording(1.0))
    lying[40:44] = (2**31).to_bytes(4, "little")
    assert length(bytes(lying)) < 2.0
    assert transcript(recording(1.0)) is None


def test_together_takes_a_url_in_place_of_a_file_and_engines_do_not() -> None:
    request = form(WRITE, model="m", file="https://example.test/a.mp3")
    assert in_mode(SERVERLESS_MODE, request).json["text"].startswith("(simulated)")
    assert in_mode(PLAIN_MODE, request).status == 400
    assert in_mode(SERVERLESS_MODE, form(WRITE, model="m", file="a.mp3")).status == 400


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "srt"}, "response_format"),
        ({"timestamp_granularities": "letter"}, "timestamp_granularities"),
        ({"stream": "true"}, "stream"),
        ({"stream": "maybe"}, "stream"),
    ],
)
def test_what_is_not_simulated_is_refused(fields: dict[str, str], param: str) -> None:
    got = in_mode(PLAIN_MODE, form(WRITE, recording(1.0), **fields))
    assert (got.status, got.json["error"]["param"]) == (400, param)


def test_files_that_are_missing_empty_or_too_large_are_refused() -> None:
    assert in_mode(SERVERLESS_MODE, form(WRITE, model="m")).json["error"]["param"] == "file"
    assert in_mode(SERVERLESS_MODE, form(WRITE, b"", model="m")).json["error"]["param"] == "file"
    large = form(WRITE, bytes(80 * 1024**2 + 1), model="m")
    assert in_mode(SERVERLESS_MODE, large).status == 413


def test_minutes_are_billed_when_the_answer_is_complete() -> None:
    world = World()
    request = form(WRITE, recording(90.0), model="whisper")
    left = world.receive("together", request, 0.0)
    left.cancel(0.001)
    assert world.invoice(60.0).units == ()
    ask(world, "together", request, 60.0)
    (row,) = world.invoice(120.0).units
    assert (row.model, row.unit, row.requests, row.quantity) == ("whisper", "minutes", 1, 1.5)


@BY_MODE
@pytest.mark.parametrize("asked", ["wav", "mp3"])
def test_speech_is_a_wav_file_whatever_was_asked_for(mode: tuple[Provider, Mode, str], asked: str) -> None:
    seconds: list[float] = []
    for text in ("Hello", "Hello to all of you, wherever you are"):
        request = posted(SAY, model=mode[2], input=text, voice="any", response_format=asked)
        got = in_mode(mode, request)
        assert got.header("content-type") == "audio/wav"
        with wave.open(io.BytesIO(got.body), "rb") as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
            seconds.append(file.getnframes() / file.getframerate())
            assert any(file.readframes(file.getnframes()))
    assert seconds == [pytest.approx(6 / 15, rel=0.01), pytest.approx(38 / 15, rel=0.01)]


def test_together_streams_speech_as_raw_samples_in_events() -> None:
    fields: dict[str, Any] = {"model": "kokoro", "input": "Hello to everybody", "voice": "af_alloy"}
    got = in_mode(SERVERLESS_MODE, posted(SAY, **fields, stream=True))
    assert {(chunk["object"], chunk["model"]) for chunk in got.events} == {("audio.tts.chunk", "kokoro")}
    whole = in_mode(SERVERLESS_MODE, posted(SAY, **fields, response_format="raw"))
    assert b"".join(base64.b64decode(chunk["b64"]) for chunk in got.events) == whole.body
    assert got.first < got.last
    refused = in_mode(SERVERLESS_MODE, posted(SAY, **fields, stream=True, response_format="mp3"))
    assert refused.json["error"]["param"] == "response_format"


def test_engines_send_speech_as_it_is_made() -> None:
    got = in_mode(PLAIN_MODE, posted(SAY, input="Hello to everybody", response_format="pcm"))
    assert got.header("content-type") == "audio/pcm"
    assert got.first < got.last


def test_characters_are_billed() -> None:
    world = World()
    ask(world, "together", posted(SAY, model="kokoro", input="Hello", voice="af_alloy"))
    (row,) = world.invoice(60.0).units
    assert (row.unit, row.quantity) == ("characters", 5)


PARTS = st.dictionaries(
    st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8),
    st.text(max_size=30).filter(lambda text: BOUNDARY not in text),
    max_size=4,
)


@given(PARTS, st.binary(max_size=100).filter(lambda data: BOUNDARY.encode() not in data))
def test_a_form_is_read_as_it_was_written(fields: dict[str, str], data: bytes) -> None:
    fields.pop("file", None)
    fields.pop("filename", None)
    read = read_form(form("/v1/files", data, filename="ä b.txt", **fields))
    assert read.fields == {name: [value] for name, value in fields.items()}
    assert (read.uploads["file"].data, read.uploads["file"].filename) == (data, "ä b.txt")


@given(st.binary(max_size=300), st.sampled_from([BOUNDARY, "", '"', "x" * 80]))
def test_anything_else_is_refused(body: bytes, boundary: str) -> None:
    kind = f"multipart/form-data; boundary={boundary}"
    try:
        read = read_form(Request(method="POST", path="/", headers={"content-type": kind}, body=body))
    except NotAcceptedError as error:
        assert error.message
    else:
        assert body.startswith(b"--") or not read.fields


@pytest.mark.parametrize(
    "part",
    [
        b"no headers at all",
        b'\r\nContent-Disposition: form-data; filename="a"\r\n\r\nx\r\n',
        b'\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n',
        b'\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n',
        b'\r\nContent-Disposition: form-data; name="a"\r\nnever ends',
    ],
)
def test_a_broken_part_is_refused(part: bytes) -> None:
    mark = f"--{BOUNDARY}".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    body = mark + part + mark + b"--\r\n"
    with pytest.raises(NotAcceptedError) as caught:
        read_form(Request(method="POST", path="/", headers={"content-type": kind}, body=body))
    assert caught.value.code == "invalid_form"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('filename="a%22b.txt"', 'a"b.txt'),
        (r'filename="a\"b.txt"', 'a"b.txt'),
        ("filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"),
        ("filename=plain.txt", "plain.txt"),
    ],
)
def test_names_of_files_are_read_as_clients_write_them(written: str, read: str) -> None:
    body = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=file; {written}\r\n\r\nx\r\n--{BOUNDARY}--"
    headers = {"content-type": f'multipart/form-data; charset=utf-8; boundary="{BOUNDARY}"'}
    got = read_form(Request(method="POST", path="/", headers=headers, body=body.encode()))
    assert got.uploads["file"].filename == read
