"""Every operation in every mode, in both colours: it answers, or says which modes would."""

from __future__ import annotations

import io
import wave
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import pytest

from both import Api, Making, settled
from hybrid_infer import MODES, FunctionCrashedError, UnsupportedOperationError
from hybrid_infer.calls.call import Mode
from hybrid_infer.calls.operations import OPERATIONS, Operation

ASK = b'{"model": "Qwen/Qwen3.5-9B", "messages": [{"role": "user", "content": "Hi"}]}'
LINE = b'{"custom_id": "1", "body": %b}\n' % ASK


def sound(seconds: float = 1.0) -> bytes:
    """Silence, as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(8000)
        written.writeframes(b"\0\0" * int(8000 * seconds))
    return file.getvalue()


async def chat(api: Api) -> Any:
    answer = await api.create()
    assert answer.choices[0].message.content
    return answer


async def completions(api: Api) -> Any:
    answer = await settled(api.client.completions.create(prompt="Once upon a time", max_tokens=8))
    assert answer.choices[0].text
    assert answer.hybrid.usage.output_tokens == 8
    return answer


async def embeddings(api: Api) -> Any:
    answer = await settled(
        api.client.embeddings.create(input=["the blue sky", "the blue sky at noon", "soup"])
    )
    one, near, far = (row.embedding for row in answer.data)
    assert similarity(one, near) > similarity(one, far)
    return answer


def similarity(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def rerank(api: Api) -> Any:
    documents = ["soup of the day", "why the sky is blue"]
    answer = await settled(api.client.rerank.create(query="blue sky", documents=documents))
    assert answer.results[0].index == 1
    return answer


async def images(api: Api) -> Any:
    answer = await settled(
        api.client.images.generate(prompt="a cat", size="64x64", n=2, response_format="b64_json")
    )
    assert [image.content[:4] for image in answer.data] == [b"\x89PNG"] * 2
    assert answer.hybrid.usage.pixels == 2 * 64 * 64
    return answer


async def transcriptions(api: Api) -> Any:
    answer = await settled(
        api.client.audio.transcriptions.create(file=("talk.wav", sound(2.0)), response_format="verbose_json")
    )
    assert answer.text
    assert answer.duration == 2.0
    assert answer.hybrid.usage.audio_seconds == 2.0
    return answer


async def translations(api: Api) -> Any:
    answer = await settled(api.client.audio.translations.create(file=("talk.wav", sound())))
    assert answer.text
    return answer


async def speech(api: Api) -> Any:
    answer = await settled(api.client.audio.speech.create(input="Good morning.", voice="tara"))
    assert answer.content[:4] == b"RIFF"
    return answer


async def models_list(api: Api) -> Any:
    answer = await settled(api.client.models.list())
    assert answer.data[0].id
    return answer


async def stored(api: Api) -> Any:
    return await settled(api.client.files.create(file=("jobs.jsonl", LINE), purpose="batch"))


async def files_create(api: Api) -> Any:
    answer = await stored(api)
    assert (answer.filename, answer.bytes) == ("jobs.jsonl", len(LINE))
    return answer


async def files_retrieve(api: Api) -> Any:
    answer = await settled(api.client.files.retrieve((await stored(api)).id))
    assert answer.filename == "jobs.jsonl"
    return answer


async def files_list(api: Api) -> Any:
    kept = await stored(api)
    answer = await settled(api.client.files.list())
    assert [file.id for file in answer.data] == [kept.id]
    return answer


async def files_content(api: Api) -> Any:
    answer = await settled(api.client.files.content((await stored(api)).id))
    assert answer.content == LINE
    return answer


async def files_delete(api: Api) -> Any:
    answer = await settled(api.client.files.delete((await stored(api)).id))
    assert answer.deleted
    return answer


async def begun(api: Api) -> Any:
    return await settled(api.client.batches.create(input_file_id=(await stored(api)).id))


async def batches_create(api: Api) -> Any:
    answer = await begun(api)
    assert answer.status == "validating"
    return answer


async def batches_retrieve(api: Api) -> Any:
    job = await begun(api)
    await api.runtime.sleep(86_000)
    answer = await settled(api.client.batches.retrieve(job.id))
    assert answer.status == "completed"
    assert b"assistant" in (await settled(api.client.files.content(answer.output_file_id))).content
    return answer


async def batches_list(api: Api) -> Any:
    job = await begun(api)
    answer = await settled(api.client.batches.list())
    assert [one.id for one in answer.data] == [job.id]
    return answer


async def batches_cancel(api: Api) -> Any:
    answer = await settled(api.client.batches.cancel((await begun(api)).id))
    assert answer.status in ("cancelling", "cancelled")
    return answer


async def videos_create(api: Api) -> Any:
    answer = await settled(api.client.videos.create(prompt="waves"))
    assert answer.underway
    return answer


async def videos_retrieve(api: Api) -> Any:
    made = await settled(api.client.videos.create(prompt="waves"))
    answer = await settled(api.client.videos.wait(made.id, every=20, timeout=3600))
    assert answer.status == "completed"
    assert answer.outputs.video_url
    return answer


async def request(api: Api) -> Any:
    body = {"model": "Qwen/Qwen3.5-9B", "messages": [{"role": "user", "content": "Hi"}]}
    answer = await settled(api.client.post("/v1/chat/completions", body))
    assert answer.status_code == 200
    assert answer.json()["choices"]
    assert (await settled(api.client.get("/v1/models"))).json()
    return answer


async def functions_call(api: Api) -> Any:
    answer = await settled(api.client.functions.call("detector/detect", b"picture"))
    assert answer.value["simulated"]
    return answer


async def functions_spawn(api: Api) -> Any:
    handle = await settled(api.client.functions.spawn("detector/detect", b"picture"))
    assert handle.id.startswith("fc-")
    return handle


async def functions_get(api: Api) -> Any:
    handle = await functions_spawn(api)
    answer = await settled(handle.get())
    assert answer.value["simulated"]
    return answer


async def functions_cancel(api: Api) -> Any:
    handle = await settled(api.client.functions.spawn("faults/slow", 60))
    await settled(handle.cancel())
    with pytest.raises(FunctionCrashedError):
        await settled(handle.get())
    return handle


CASES: dict[str, Callable[[Api], Awaitable[Any]]] = {
    name: globals()[name.replace(".", "_")] for name in get_args(Operation)
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", list(CASES))
async def test_a_mode_does_it_or_says_which_mode_would(
    operation: Operation, mode: Mode, make: Making
) -> None:
    api = make(simulate=True, mode=mode)
    able = OPERATIONS[operation].modes
    if mode in able:
        answer = await CASES[operation](api)
        assert answer.hybrid.mode == mode
        assert answer.hybrid.attempts == 1 + answer.hybrid.cold_start
        return
    with pytest.raises(UnsupportedOperationError) as caught:
        await refused(api, operation)
    said = str(caught.value)
    assert f"not offered in mode {mode}" in said
    assert all(other in said for other in able)


async def refused(api: Api, operation: Operation) -> None:
    """Ask for it directly: what leads there in the cases may be refused as well."""
    client, name = api.client, OPERATIONS[operation].called
    asked: dict[str, Callable[[], Any]] = {
        "rerank.create": lambda: client.rerank.create(query="q", documents=["d"]),
        "files.create": lambda: client.files.create(file=LINE, purpose="batch"),
        "files.list": client.files.list,
        "batches.create": lambda: client.batches.create(input_file_id="file-1"),
        "batches.list": client.batches.list,
        "videos.create": lambda: client.videos.create(prompt="waves"),
        "functions.call": lambda: client.functions.call("detector/detect"),
        "functions.spawn": lambda: client.functions.spawn("detector/detect"),
        "functions.spawned": lambda: client.functions.spawned("detector/detect", "fc-1").get(),
    }
    if name in asked:
        await settled(asked[name]())
    else:
        resource, _, method = name.rpartition(".")
        await settled(getattr(getattr(client, resource), method)("id-1"))
