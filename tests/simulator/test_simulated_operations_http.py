"""Operations over the HTTP door, by the `together` and `openai` packages as they are."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import together

from hybrid_infer.simulator.server import SimulatorServer, exports
from hybrid_infer.simulator.world import World
from simulator.operated import recording
from simulator.simulated import DEDICATED, SERVERLESS
from simulator.test_simulated_http import served

pytestmark = pytest.mark.real_time

CHAT: Any = "/v1/chat/completions"
WORDS = "(simulated) "


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorServer]:
    """At two hundred times real time, so that a batch is done in a fraction of a second."""
    with served(World(), 200.0) as server:
        for name, value in exports(server.port).items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def theirs(server: SimulatorServer) -> Iterator[together.Together]:
    with together.Together(max_retries=0) as client:
        yield client


@pytest.fixture
def engine(server: SimulatorServer) -> Iterator[openai.OpenAI]:
    """An engine that keeps files."""
    base_url = f"http://127.0.0.1:{server.port}/engine/v1"
    with openai.OpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def modal(server: SimulatorServer) -> Iterator[openai.OpenAI]:
    """A Modal server with a container that is up."""
    base_url = exports(server.port)["HYBRID_INFER_MODAL_URL"]
    headers = {"authorization": "Bearer wk-1.ws-1"}
    while httpx.get(f"{base_url}/health", headers=headers).status_code == 503:
        pass
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key="wk-1.ws-1", max_retries=0) as client:
        yield client


def requests_file(folder: Path, model: str) -> Path:
    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    rows = [
        {
            "custom_id": f"row-{index}",
            "method": "POST",
            "url": CHAT,
            "body": {"model": model, "messages": messages},
        }
        for index in range(3)
    ]
    path = folder / "requests.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def seconds_of(data: bytes) -> float:
    with wave.open(io.BytesIO(data), "rb") as file:
        return file.getnframes() / file.getframerate()


def test_the_together_package_completes_and_streams(theirs: together.Together) -> None:
    whole: Any = theirs.completions.create(model=SERVERLESS, prompt="Why?")
    chunks: list[Any] = list(theirs.completions.create(model=SERVERLESS, prompt="Why?", stream=True))
    assert whole.choices[0].text.startswith(WORDS)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].usage == whole.usage


def test_the_together_package_embeds(theirs: together.Together) -> None:
    got = theirs.embeddings.create(model="intfloat/multilingual-e5-large-instruct", input=["one", "two"])
    assert [len(row.embedding) for row in got.data] == [1024, 1024]
    assert "usage" not in (got.model_extra or {})


def test_the_together_package_reranks_where_a_machine_is_there(theirs: together.Together) -> None:
    documents: list[dict[str, object]] = [{"text": "Bread"}, {"text": "The capital of France"}]
    got = theirs.rerank.create(
        model=DEDICATED, query="capital of France", documents=documents, return_documents=True
    )
    assert [row.index for row in got.results] == [1, 0]
    assert json.loads(got.results[0].document.text or "") == documents[1]
    with pytest.raises(together.BadRequestError) as caught:
        theirs.rerank.create(model="other/model", query="a", documents=["a"])
    body: Any = caught.value.body
    assert body["error"]["code"] == "model_not_available"


def test_the_together_package_makes_pictures_and_their_urls_lead_to_them(theirs: together.Together) -> None:
    fields: dict[str, Any] = {"model": "black-forest-labs/FLUX.1-schnell", "prompt": "A cat", "n": 2}
    coded: Any = theirs.images.generate(**fields, width=64, height=64, response_format="base64")
    linked: Any = theirs.images.generate(**fields, width=64, height=64)
    assert [row.type for row in coded.data] == ["b64_json"] * 2
    got = httpx.get(linked.data[0].url)
    assert (got.status_code, got.headers["content-type"]) == (200, "image/png")
    assert got.content.startswith(b"\x89PNG")


def test_the_together_package_transcribes_and_translates(theirs: together.Together, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(recording(6.0))
    short: Any = theirs.audio.transcriptions.create(file=path, model="openai/whisper-large-v3")
    long: Any = theirs.audio.transcriptions.create(
        file=path,
        model="openai/whisper-large-v3",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        diarize=True,
    )
    other: Any = theirs.audio.translations.create(file=path, model="openai/whisper-large-v3")
    assert short.text == long.text == other.text
    assert (long.duration, long.segments[-1].end, long.words[-1].end) == (6.0, 6.0, 6.0)
    assert long.speaker_segments[0].speaker_id == "SPEAKER_00"


def test_the_together_package_speaks_and_streams(theirs: together.Together) -> None:
    fields: dict[str, Any] = {"model": "hexgrad/Kokoro-82M", "input": "Hello to you", "voice": "af_alloy"}
    whole = theirs.audio.speech.create(**fields, response_format="mp3").read()
    chunks: list[Any] = list(theirs.audio.speech.create(**fields, stream=True))
    assert seconds_of(whole) == pytest.approx(13 / 15, rel=0.01)
    assert {chunk.object for chunk in chunks} == {"audio.tts.chunk"}
    assert theirs.audio.voices.list().data[0].model == "hexgrad/Kokoro-82M"


def test_the_together_package_uploads_runs_a_batch_and_reads_it(
    theirs: together.Together, tmp_path: Path
) -> None:
    file = theirs.files.upload(requests_file(tmp_path, SERVERLESS), purpose="batch-api", check=False)
    assert (file.filename, file.file_type) == ("requests.jsonl", "jsonl")
    assert theirs.files.retrieve(file.id).bytes == file.bytes
    created = theirs.batches.create(input_file_id=file.id, endpoint=CHAT).job
    assert created is not None
    assert created.status == "VALIDATING"
    while (job := theirs.batches.retrieve(created.id or "")).status in ("VALIDATING", "IN_PROGRESS"):
        pass
    assert (job.status, job.progress, job.error_file_id) == ("COMPLETED", 100.0, None)
    rows = [json.loads(line) for line in theirs.files.content(job.output_file_id or "").read().splitlines()]
    assert [row["custom_id"] for row in rows] == ["row-0", "row-1", "row-2"]
    assert WORDS in rows[0]["response"]["body"]["choices"][0]["message"]["content"]
    assert [each.id for each in theirs.batches.list()] == [created.id]
    second = theirs.batches.create(input_file_id=file.id, endpoint=CHAT).job
    assert second is not None
    assert theirs.batches.cancel(second.id or "").status == "CANCELLED"
    assert theirs.files.delete(file.id).deleted is True
    assert file.id not in [each.id for each in theirs.files.list().data]


def test_the_together_package_makes_a_video(theirs: together.Together) -> None:
    job = theirs.videos.create(model="kwaivgI/kling-2.1-master", prompt="A cat")
    assert job.status == "in_progress"
    while job.status == "in_progress":
        job = theirs.videos.retrieve(job.id)
    assert job.outputs is not None
    assert httpx.get(job.outputs.video_url).headers["content-type"] == "image/png"


@pytest.mark.parametrize("where", ["engine", "modal"])
def test_the_openai_package_completes_embeds_and_makes_pictures(
    where: str, request: pytest.FixtureRequest
) -> None:
    client: openai.OpenAI = request.getfixturevalue(where)
    whole = client.completions.create(model="llm", prompt="Why?", max_tokens=40)
    options: Any = {"include_usage": True}
    chunks = list(
        client.completions.create(
            model="llm", prompt="Why?", max_tokens=40, stream=True, stream_options=options
        )
    )
    assert "".join(c.text for chunk in chunks for c in chunk.choices) == whole.choices[0].text
    assert (chunks[-1].usage and chunks[-1].usage.total_tokens) == (whole.usage and whole.usage.total_tokens)
    coded = client.embeddings.create(model="llm", input=["one", "two"], dimensions=8)
    plain = client.embeddings.create(model="llm", input=["one", "two"], dimensions=8, encoding_format="float")
    for row, same in zip(coded.data, plain.data, strict=True):
        assert row.embedding == pytest.approx(same.embedding, abs=1e-6)
    picture: Any = client.images.generate(model="llm", prompt="A cat", response_format="url")
    linked = httpx.get(picture.data[0].url)
    assert linked.content.startswith(b"\x89PNG")


@pytest.mark.parametrize("where", ["engine", "modal"])
def test_the_openai_package_hears_and_speaks(where: str, request: pytest.FixtureRequest) -> None:
    client: openai.OpenAI = request.getfixturevalue(where)
    sound = ("talk.wav", recording(6.0))
    short = client.audio.transcriptions.create(file=sound, model="llm")
    long = client.audio.transcriptions.create(
        file=sound, model="llm", response_format="verbose_json", timestamp_granularities=["word"]
    )
    text = client.audio.transcriptions.create(file=sound, model="llm", response_format="text")
    with pytest.warns(DeprecationWarning):  # the package's own
        other = client.audio.translations.create(file=sound, model="llm")
    assert short.text == long.text == text.strip() == other.text
    assert (long.duration, long.words and long.words[-1].end) == (6.0, 6.0)
    with client.audio.speech.with_streaming_response.create(
        model="llm", input="Hello to you", voice="alloy", response_format="wav"
    ) as spoken:
        data = b"".join(spoken.iter_bytes())
    assert spoken.headers["content-type"] == "audio/wav"
    assert seconds_of(data) == pytest.approx(13 / 15, rel=0.01)


def test_the_openai_package_keeps_files_and_runs_batches(engine: openai.OpenAI, tmp_path: Path) -> None:
    file = engine.files.create(file=requests_file(tmp_path, "llm"), purpose="batch")
    assert engine.files.retrieve(file.id) == file
    assert [each.id for each in engine.files.list()] == [file.id]
    batch = engine.batches.create(completion_window="24h", endpoint=CHAT, input_file_id=file.id)
    while (job := engine.batches.retrieve(batch.id)).status in ("validating", "in_progress"):
        pass
    assert (job.status, job.error_file_id) == ("completed", None)
    assert job.request_counts is not None
    assert job.request_counts.completed == 3
    rows = [json.loads(line) for line in engine.files.content(job.output_file_id or "").text.splitlines()]
    assert WORDS in rows[0]["response"]["body"]["choices"][0]["message"]["content"]
    second = engine.batches.create(completion_window="24h", endpoint=CHAT, input_file_id=file.id)
    assert engine.batches.cancel(second.id).status == "cancelling"
    assert [each.id for each in engine.batches.list()] == [second.id, batch.id]
    assert engine.files.delete(file.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        engine.files.retrieve(file.id)


def test_the_openai_package_uploads_to_together_in_one_request(
    server: SimulatorServer, tmp_path: Path
) -> None:
    purpose: Any = "batch-api"
    with openai.OpenAI() as client:
        file = client.files.create(file=requests_file(tmp_path, SERVERLESS), purpose=purpose)
        assert client.files.content(file.id).text.count("custom_id") == 3


def test_the_state_shows_what_is_not_paid_by_tokens(server: SimulatorServer, engine: openai.OpenAI) -> None:
    with together.Together() as client:
        client.images.generate(model="flux", prompt="A cat", width=1000, height=1000)
    state = httpx.get(f"http://127.0.0.1:{server.port}/simulator/state").json()
    assert state["invoice"]["units"] == [
        {"model": "flux", "unit": "megapixels", "steps": 4, "requests": 1, "quantity": 1.0}
    ]
