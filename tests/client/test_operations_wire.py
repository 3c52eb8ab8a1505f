"""What goes over the wire, byte for byte, for one request of each operation; and the rules around it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from both import EitherStream, Making, settled
from fakes import DONE, USAGE, Answer, ScriptedTransport, refused, said, streamed
from hybrid_infer import (
    APIConnectionError,
    APIError,
    APIResponseError,
    InternalServerError,
    InvalidCallError,
    NotFoundError,
    RateLimitError,
)
from hybrid_infer.transport.base import TransportError, WireRequest
from hybrid_infer.transport.bodies import Multipart

TOGETHER: dict[str, Any] = {"mode": "together-serverless", "api_key": "k", "model": "m"}
COMPATIBLE: dict[str, Any] = {
    "mode": "openai-compatible",
    "base_url": "http://here:8000/v1",
    "api_key": "k",
    "model": "m",
}
FILE = ("talk.wav", b"RIFF....")
Ask = Callable[[Any], Any]

LIST: Any = {"object": "list", "data": []}
JOB = {"id": "b-1", "status": "VALIDATING"}
STORED = {"id": "f-1", "filename": "a.jsonl"}
VIDEO = {"id": "v-1", "status": "in_progress"}

ASKED: Mapping[str, tuple[Ask, Any, str, str]] = {
    "completions": (
        lambda c: c.completions.create(prompt="Once", max_tokens=3),
        {"choices": [{"text": "upon"}]},
        "POST /v1/completions",
        '{"model":"m","prompt":"Once","max_tokens":3}',
    ),
    "embeddings": (
        lambda c: c.embeddings.create(input=["a", "b"]),
        LIST,
        "POST /v1/embeddings",
        '{"model":"m","input":["a","b"]}',
    ),
    "images": (
        lambda c: c.images.generate(prompt="a cat", width=64, height=32),
        LIST,
        "POST /v1/images/generations",
        '{"model":"m","prompt":"a cat","width":64,"height":32}',
    ),
    "speech": (
        lambda c: c.audio.speech.create(input="Hi", voice="tara"),
        Answer(200, (b"ID3",), (("content-type", "audio/mpeg"),)),
        "POST /v1/audio/speech",
        '{"model":"m","input":"Hi","voice":"tara"}',
    ),
    "models.list": (lambda c: c.models.list(), [{"id": "m"}], "GET /v1/models", ""),
    "files.retrieve": (lambda c: c.files.retrieve("f-1"), STORED, "GET /v1/files/f-1", ""),
    "files.list": (lambda c: c.files.list(purpose="batch"), LIST, "GET /v1/files?purpose=batch", ""),
    "files.content": (
        lambda c: c.files.content("f/1?"),
        Answer(200, (b"{}",), (("content-type", "binary/octet-stream"),)),
        "GET /v1/files/f%2F1%3F/content",
        "",
    ),
    "files.delete": (
        lambda c: c.files.delete("f-1"),
        {"id": "f-1", "deleted": True},
        "DELETE /v1/files/f-1",
        "",
    ),
    "batches.create": (
        lambda c: c.batches.create(input_file_id="f-1", completion_window="24h"),
        {"job": JOB, "warning": "slow today"},
        "POST /v1/batches",
        '{"input_file_id":"f-1","endpoint":"/v1/chat/completions","completion_window":"24h"}',
    ),
    "batches.retrieve": (lambda c: c.batches.retrieve("b-1"), JOB, "GET /v1/batches/b-1", ""),
    "batches.list": (lambda c: c.batches.list(), [JOB], "GET /v1/batches", ""),
    "batches.cancel": (lambda c: c.batches.cancel("b-1"), JOB, "POST /v1/batches/b-1/cancel", "{}"),
    "videos.create": (
        lambda c: c.videos.create(prompt="waves", seconds="5"),
        VIDEO,
        "POST /v2/videos",
        '{"model":"m","prompt":"waves","seconds":"5"}',
    ),
    "videos.retrieve": (lambda c: c.videos.retrieve("v-1"), VIDEO, "GET /v2/videos/v-1", ""),
    "post": (
        lambda c: c.post("/v1/audio/voices?x=1", {"a": [1]}),
        {},
        "POST /v1/audio/voices?x=1",
        '{"a":[1]}',
    ),
    "get": (lambda c: c.get("/v1/voices", {"model": "m"}), {}, "GET /v1/voices?model=m", ""),
}


@pytest.mark.parametrize("operation", list(ASKED))
async def test_the_request_is_this(operation: str, make: Making) -> None:
    ask, answer, line, body = ASKED[operation]
    transport = ScriptedTransport([answer if isinstance(answer, Answer) else said(answer)])
    reply = await settled(ask(make(transport=transport, **TOGETHER).client))
    [sent] = transport.sent
    assert f"{sent.request.method} {sent.request.path}" == line
    assert sent.request.body == body.encode()
    headers = dict(sent.request.headers)
    assert headers["authorization"] == "Bearer k"
    assert ("content-type" in headers) == (sent.request.method == "POST")
    assert sent.request.origin.host == "api.together.ai"  # chat alone has a host of its own
    assert reply.hybrid.attempts == 1


async def test_a_rerank_is_this(make: Making) -> None:
    transport = ScriptedTransport([said({"results": [{"index": 0, "relevance_score": 0.5, "document": {}}]})])
    api = make(transport=transport, **COMPATIBLE)
    await settled(api.client.rerank.create(query="q", documents=["d", {"title": "t"}], top_n=1))
    [sent] = transport.sent
    assert sent.request.path == "/v1/rerank"
    assert sent.request.body == b'{"model":"m","query":"q","documents":["d",{"title":"t"}],"top_n":1}'


def form(request: WireRequest) -> str:
    """The form that was sent, its boundary written as B."""
    body = request.body
    assert isinstance(body, Multipart)
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\w+)", dict(request.headers)["content-type"])
    assert boundary is not None
    reader, parts = body.open(), []
    while piece := reader.read():
        parts.append(piece)
    reader.close()
    whole = b"".join(parts)
    assert len(whole) == body.length
    return whole.decode().replace(boundary[1], "B")


def part(name: str, value: str) -> str:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'


@pytest.mark.parametrize("which", ["transcriptions", "translations"])
async def test_a_recording_is_sent_as_this_form(which: str, make: Making) -> None:
    transport = ScriptedTransport([said({"text": "hello"})])
    audio = make(transport=transport, **TOGETHER).client.audio
    granularities = ["word", "segment"]
    await settled(
        getattr(audio, which).create(
            file=FILE, diarize=True, timestamp_granularities=granularities, prompt=None
        )
    )
    [sent] = transport.sent
    assert f"{sent.request.method} {sent.request.path}" == f"POST /v1/audio/{which}"
    assert form(sent.request) == (
        part("model", "m")
        + part("diarize", "true")
        + part("timestamp_granularities[]", "word")
        + part("timestamp_granularities[]", "segment")
        + '--B\r\nContent-Disposition: form-data; name="file"; filename="talk.wav"\r\n'
        "Content-Type: audio/x-wav\r\n\r\nRIFF....\r\n--B--\r\n"
    )


async def test_a_link_to_a_recording_is_fetched_by_the_provider(make: Making) -> None:
    transport = ScriptedTransport([said({"text": "hello"})])
    audio = make(transport=transport, **TOGETHER).client.audio
    await settled(audio.transcriptions.create(file="https://x/talk.wav"))
    assert transport.sent[0].json == {"model": "m", "file": "https://x/talk.wav"}


async def test_a_file_goes_where_each_provider_takes_it(make: Making) -> None:
    for settings, path, fields in (
        (TOGETHER, "/v1/files/upload", part("purpose", "batch-api") + part("file_name", "a.jsonl")),
        (COMPATIBLE, "/v1/files", part("purpose", "batch")),
    ):
        transport = ScriptedTransport([said(STORED)])
        files = make(transport=transport, **settings).client.files
        await settled(files.create(file=("a.jsonl", b"{}"), purpose="batch"))
        [sent] = transport.sent
        assert sent.request.path == path
        assert form(sent.request).startswith(fields + '--B\r\nContent-Disposition: form-data; name="file"')


async def test_images_are_asked_for_in_the_words_of_each_provider(make: Making) -> None:
    for settings, given, wanted in (
        (
            TOGETHER,
            {"size": "64x32", "response_format": "b64_json"},
            {"width": 64, "height": 32, "response_format": "base64"},
        ),
        (
            COMPATIBLE,
            {"width": 64, "height": 32, "response_format": "base64"},
            {"size": "64x32", "response_format": "b64_json"},
        ),
    ):
        transport = ScriptedTransport([said(LIST)])
        await settled(make(transport=transport, **settings).client.images.generate(prompt="a cat", **given))
        assert transport.sent[0].json == {"model": "m", "prompt": "a cat", **wanted}


async def test_the_warning_beside_a_new_job_is_kept(make: Making) -> None:
    api = make(transport=ScriptedTransport([said({"job": JOB, "warning": "slow today"})]), **TOGETHER)
    job = await settled(api.client.batches.create(input_file_id="f-1"))
    assert (job.id, job.status) == ("b-1", "validating")
    assert job.hybrid.warnings == ("slow today",)


CREATING: Mapping[str, Ask] = {
    "files": lambda c: c.files.create(file=FILE, purpose="batch"),
    "batches": lambda c: c.batches.create(input_file_id="f-1"),
    "videos": lambda c: c.videos.create(prompt="waves"),
    "post": lambda c: c.post("/v1/things", {"a": 1}),
}
AFTER_SENDING = [refused(500), refused(429), TransportError("lost", sent=True), said("no answer of any kind")]


@pytest.mark.parametrize("what", list(CREATING))
@pytest.mark.parametrize("outcome", range(len(AFTER_SENDING)))
async def test_what_creates_is_not_sent_again_once_it_went_out(what: str, outcome: int, make: Making) -> None:
    if (what, outcome) == ("post", 3):
        return  # any success answers a request of one's own
    transport = ScriptedTransport([AFTER_SENDING[outcome]])
    with pytest.raises((InternalServerError, RateLimitError, APIConnectionError, APIResponseError)):
        await settled(CREATING[what](make(transport=transport, **TOGETHER).client))
    assert len(transport.sent) == 1


@pytest.mark.parametrize("what", list(CREATING))
async def test_it_is_where_nothing_went_out_or_the_call_says_that_it_may(what: str, make: Making) -> None:
    good = said({**STORED, **JOB, **VIDEO})
    for script, options in (
        ([TransportError("no connection", sent=False), good], {}),
        ([refused(500), good], {"idempotent": True}),
    ):
        transport = ScriptedTransport(list(script))
        client = make(transport=transport, **TOGETHER).client.with_options(**options)
        await settled(CREATING[what](client))
        assert len(transport.sent) == 2
    assert "idempotent" not in str(transport.sent[0].request.body)


async def test_a_get_is_repeated_and_nothing_of_ones_own_is_cached(make: Making) -> None:
    transport = ScriptedTransport([refused(500), said({}), said({})])
    client = make(transport=transport, cache="memory", **TOGETHER).client
    assert (await settled(client.get("/v1/voices"))).hybrid.attempts == 2
    assert (await settled(client.get("/v1/voices"))).hybrid.cache == "off"
    assert len(transport.sent) == 3


async def test_vectors_are_cached(make: Making) -> None:
    vectors = said({"data": [{"index": 0, "embedding": [0.1, -2.5e-7]}]})
    transport = ScriptedTransport([vectors])
    client = make(transport=transport, cache="memory", **TOGETHER).client
    first = await settled(client.embeddings.create(input="a"))
    again = await settled(client.embeddings.create(input="a"))
    assert (again.hybrid.cache, again) == ("hit", first)
    assert len(transport.sent) == 1


WRONG: Mapping[str, tuple[Ask, str]] = {
    "a missing file": (
        lambda c: c.files.create(file="/nowhere/a.jsonl", purpose="batch"),
        "/nowhere/a.jsonl",
    ),
    "an empty file": (lambda c: c.audio.transcriptions.create(file=b""), "empty"),
    "no text": (lambda c: c.embeddings.create(input=""), "input"),
    "no documents": (
        lambda c: c.with_options(mode="modal").rerank.create(query="q", documents=[]),
        "documents",
    ),
    "bytes as a text": (lambda c: c.embeddings.create(input=b"caf\xe9"), "input"),
    "text that is not UTF-8": (lambda c: c.embeddings.create(input=["caf\udce9"]), "UTF-8"),
    "bytes that are not UTF-8": (lambda c: c.embeddings.create(input=[b"caf\xe9"]), "UTF-8"),
    "a field that is not UTF-8": (
        lambda c: c.audio.transcriptions.create(file=FILE, prompt="\udce9"),
        "prompt",
    ),
    "no id": (lambda c: c.files.retrieve(""), "id"),
    "no path": (lambda c: c.post("v1/things"), "path"),
    "another host": (lambda c: c.get("//evil.example/v1"), "path"),
    "a body that is no object": (lambda c: c.post("/v1/things", [1]), "mapping"),
    "a field beside the body": (lambda c: c.post("/v1/things", {}, temperature=1), "temperature"),
}


@pytest.mark.parametrize("what", list(WRONG))
async def test_wrong_arguments_are_one_clear_error_and_nothing_is_sent(what: str, make: Making) -> None:
    ask, named = WRONG[what]
    transport = ScriptedTransport([said({})])
    with pytest.raises(InvalidCallError) as caught:
        await settled(ask(make(transport=transport, **TOGETHER).client))
    assert named in str(caught.value)
    assert caught.value.__cause__ is None
    assert transport.sent == []


async def test_an_answer_of_another_shape_is_named(make: Making) -> None:
    for answer, said_so in (
        (said({"data": [{"embedding": "x" * 3, "index": {}}]}), "embeddings"),
        (Answer(200, (b"<html>",), (("content-type", "text/html"),)), "web page"),
        (said({"error": {"message": "no such model", "code": "model_not_found"}}), "no such model"),
    ):
        api = make(transport=ScriptedTransport([answer]), max_retries=0, **TOGETHER)
        with pytest.raises((APIResponseError, NotFoundError), match=said_so):
            await settled(api.client.embeddings.create(input="a"))


async def read(stream: Any) -> tuple[list[Any], Any]:
    """All pieces of a stream, and what they add up to."""
    either = EitherStream(stream)
    pieces: list[Any] = [piece async for piece in either]
    return pieces, await either.final()


async def test_a_completion_streams(make: Making) -> None:
    """Together puts the finish reason beside the choices, or in them (types and recordings, 2026-10)."""
    for ends in ({"finish_reason": "eos"}, {"choices": [{"text": "", "finish_reason": "eos"}]}):
        events = [
            {"id": "c", "choices": [{"index": 0, "text": "Up"}]},
            {"id": "c", "choices": [{"index": 0, "text": "on"}]},
            {"id": "c", "choices": [{"index": 0, "text": ""}], "usage": USAGE, **ends},
        ]
        body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
        transport = ScriptedTransport([streamed(body[:90], body[90:], DONE)])
        client = make(transport=transport, **TOGETHER).client
        pieces, whole = await read(await settled(client.completions.create(prompt="Once", stream=True)))
        assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text == "Upon"
        assert whole.choices[0].finish_reason == "stop"
        assert whole.hybrid.usage.output_tokens == 2
        assert transport.sent[0].json == {"model": "m", "prompt": "Once", "stream": True}


@pytest.mark.parametrize("kind", ["events", "bytes", "whole"])
async def test_speech_streams_however_the_server_sends_it(kind: str, make: Making) -> None:
    audio = bytes(range(256)) * 8
    halves = audio[:1000], audio[1000:]
    if kind == "events":
        events = [b'data: {"b64": "%b"}\n\n' % b64encode(half) for half in halves]
        answer = streamed(b"".join(events)[:700], b"".join(events)[700:], DONE)
    elif kind == "bytes":
        answer = Answer(200, halves, (("content-type", "audio/pcm"),))
    else:
        answer = Answer(
            200, (b"dat", b"a", b"bytes that begin like an event"), (("content-type", "audio/x"),)
        )
        audio = b"databytes that begin like an event"
    client = make(transport=ScriptedTransport([answer]), **TOGETHER).client
    pieces, whole = await read(await settled(client.audio.speech.create(input="Hi", stream=True)))
    assert b"".join(piece.content for piece in pieces) == whole.content == audio


@pytest.mark.parametrize("what", ["cut", "error"])
async def test_a_stream_of_speech_that_breaks_keeps_what_came(what: str, make: Making) -> None:
    first = b'data: {"b64": "%b"}\n\n' % b64encode(b"sound")
    after = b"" if what == "cut" else b'data: {"error": {"message": "no room", "code": null}}\n\n'
    client = make(transport=ScriptedTransport([streamed(first, after)]), **TOGETHER).client
    stream = EitherStream(await settled(client.audio.speech.create(input="Hi", stream=True)))
    with pytest.raises(APIError) as caught:
        async for _ in stream:
            pass
    assert caught.value.partial.content == b"sound"
