from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator.exchange import Request
from hybrid_infer.simulator.operations.embeddings import vector
from hybrid_infer.simulator.operations.rerank import relevance
from hybrid_infer.simulator.world import Provider, World
from simulator.operated import MODES, bare, form, in_mode, posted, recording
from simulator.simulated import SERVERLESS, ask, finish

RECORDINGS = Path(__file__).parent.parent / "recordings"
SERVERLESS_MODE, DEDICATED_MODE, MODAL_MODE, PLAIN_MODE = MODES
BY_MODE = pytest.mark.parametrize("mode", MODES, ids=[mode for _, mode, _ in MODES])

REQUESTS = {
    "completions": posted("/v1/completions", model="m", prompt="Hello"),
    "embeddings": posted("/v1/embeddings", model="m", input="Hello"),
    "rerank": posted("/v1/rerank", model="m", query="a", documents=["a"]),
    "images": posted("/v1/images/generations", model="m", prompt="A cat"),
    "speech": posted("/v1/audio/speech", model="m", input="Hello", voice="alloy"),
    "transcriptions": form("/v1/audio/transcriptions", recording(1.0), model="m"),
    "translations": form("/v1/audio/translations", recording(1.0), model="m"),
}
BY_REQUEST = pytest.mark.parametrize("request_", REQUESTS.values(), ids=list(REQUESTS))


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def png(data: bytes) -> tuple[int, int, bytes]:
    """Width, height and the rows of palette indices of a PNG, its checksums checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, dict[bytes, bytes]()
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + body)
        parts[kind] = body
        at += 12 + size
    width, height = struct.unpack_from(">II", parts[b"IHDR"])
    rows = zlib.decompress(parts[b"IDAT"])
    assert len(rows) == height * (width + 1)
    assert max(rows) < len(parts[b"PLTE"]) // 3
    return width, height, rows


def test_a_completion_has_the_shape_of_a_recorded_one() -> None:
    request = posted("/v1/completions", model=SERVERLESS, prompt="Tell me a joke.", max_tokens=512)
    got = in_mode(SERVERLESS_MODE, request)
    recorded: Any = json.loads(json.loads((RECORDINGS / "completion-2024-06.json").read_text())["body"])
    assert set(recorded) <= set(got.json)
    assert set(recorded["choices"][0]) <= set(got.json["choices"][0])
    assert got.json["object"] == recorded["object"] == "text.completion"
    assert set(recorded["usage"]) <= set(got.json["usage"])
    assert "Tell me a joke." in got.json["choices"][0]["text"]


@BY_MODE
def test_a_streamed_completion_says_what_the_whole_one_says(mode: tuple[Provider, Mode, str]) -> None:
    fields: dict[str, Any] = {"model": mode[2], "prompt": "Why?", "max_tokens": 40, "n": 2, "echo": True}
    whole = in_mode(mode, posted("/v1/completions", **fields)).json
    fields |= {"stream": True, "stream_options": {"include_usage": True}}
    chunks = in_mode(mode, posted("/v1/completions", **fields)).events
    for choice in whole["choices"]:
        parts = [c for chunk in chunks for c in chunk["choices"] if c["index"] == choice["index"]]
        assert "".join(part["text"] for part in parts) == choice["text"]
        assert choice["text"].startswith("Why?(simulated)")
        assert parts[-1]["finish_reason"] == choice["finish_reason"]
    assert chunks[-1]["usage"]["total_tokens"] == whole["usage"]["total_tokens"]
    together = mode[1].startswith("together")
    kind = "completion.chunk" if together else "text_completion"
    assert {chunk["object"] for chunk in chunks} == {kind}


def test_an_engine_ends_a_completion_after_16_tokens_unless_told() -> None:
    short = in_mode(PLAIN_MODE, posted("/v1/completions", prompt="Why is the sky blue at noon?" * 3)).json
    assert (short["usage"]["completion_tokens"], short["choices"][0]["finish_reason"]) == (16, "length")
    assert short["model"] == "llm"


def test_engines_complete_several_prompts_and_token_lists_and_together_does_not() -> None:
    for prompt in (["One", "Two"], [[1, 2], [3]]):
        got = in_mode(PLAIN_MODE, posted("/v1/completions", prompt=prompt, n=2))
        assert [choice["index"] for choice in got.json["choices"]] == [0, 1, 2, 3]
        assert in_mode(SERVERLESS_MODE, posted("/v1/completions", model="m", prompt=prompt)).status == 400


def test_a_completion_ends_at_a_stop_word() -> None:
    request = posted("/v1/completions", model="m", prompt="Why?", stop=["asked"])
    assert in_mode(SERVERLESS_MODE, request).json["choices"][0]["text"] == "(simulated) You "


def test_models_that_only_stream_refuse_whole_completions_and_embed_all_the_same() -> None:
    model = "Qwen/Qwen3.7-Max"
    refused = in_mode(SERVERLESS_MODE, posted("/v1/completions", model=model, prompt="Why?"))
    assert (refused.status, refused.json["error"]["code"]) == (400, "streaming_required")
    assert in_mode(SERVERLESS_MODE, posted("/v1/embeddings", model=model, input="Why?")).status == 200


@given(st.text(max_size=200))
def test_a_vector_has_length_1_whatever_the_text(text: str) -> None:
    for dimensions in (1, 7, 1024):
        assert math.isclose(cosine(vector(text, dimensions), vector(text, dimensions)), 1.0)


def test_texts_with_words_in_common_are_closer() -> None:
    cat, kitten, tax = map(vector, ("the cat sat on the mat", "the cat on a mat", "quarterly taxes are due"))
    assert cosine(cat, kitten) > 0.5 > abs(cosine(cat, tax))


def test_together_tells_no_usage_of_embeddings_and_engines_do() -> None:
    request = posted("/v1/embeddings", model=SERVERLESS, input=["one", "two words"])
    together, engine = in_mode(SERVERLESS_MODE, request).json, in_mode(PLAIN_MODE, request).json
    assert set(together) == {"object", "data", "model"}
    assert [row["index"] for row in together["data"]] == [0, 1]
    assert len(together["data"][0]["embedding"]) == 1024
    assert together["data"] == engine["data"]
    assert engine["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


def test_engines_shorten_vectors_and_send_them_as_base64() -> None:
    fields: dict[str, Any] = {"input": "one word", "dimensions": 64}
    plain = in_mode(PLAIN_MODE, posted("/v1/embeddings", **fields)).json["data"][0]["embedding"]
    packed = in_mode(PLAIN_MODE, posted("/v1/embeddings", **fields, encoding_format="base64")).json
    assert struct.unpack("<64f", base64.b64decode(packed["data"][0]["embedding"])) == pytest.approx(plain)


def test_a_serverless_text_of_more_than_514_tokens_is_refused() -> None:
    for length, status in ((4 * 514, 200), (4 * 514 + 1, 400)):
        request = posted("/v1/embeddings", model="m", input=["short", "x" * length])
        assert in_mode(SERVERLESS_MODE, request).status == status
        assert in_mode(DEDICATED_MODE, request).status == 200


def test_engines_embed_token_lists() -> None:
    got = in_mode(PLAIN_MODE, posted("/v1/embeddings", input=[[1, 2, 3], [4]])).json
    assert (len(got["data"]), got["usage"]["total_tokens"]) == (2, 4)


@given(st.text(max_size=50), st.text(max_size=50))
def test_relevance_is_from_0_to_1(query: str, text: str) -> None:
    assert 0.0 <= relevance(query, text) <= 1.0


@pytest.mark.parametrize("mode", MODES[1:], ids=[mode for _, mode, _ in MODES[1:]])
def test_rerank_puts_the_documents_that_share_words_first(mode: tuple[Provider, Mode, str]) -> None:
    documents: list[Any] = ["Bread needs flour", {"text": "The capital of France is Paris"}, "France"]
    fields: dict[str, Any] = {"model": mode[2], "query": "capital of France", "documents": documents}
    got = in_mode(mode, posted("/v1/rerank", **fields, top_n=2, return_documents=True)).json
    assert [row["index"] for row in got["results"]] == [1, 2]
    scores = [row["relevance_score"] for row in got["results"]]
    assert scores == sorted(scores, reverse=True)
    assert got["results"][1]["document"] == {"text": "France"}
    bare_results = in_mode(mode, posted("/v1/rerank", **fields)).json["results"]
    assert [row["document"] for row in bare_results] == [{}, {}, {}]
    assert ("object" in got) is (mode[0] == "together")


def test_no_serverless_model_reranks() -> None:
    got = in_mode(SERVERLESS_MODE, posted("/v1/rerank", model="a/b", query="q", documents=["d"]))
    assert (got.status, got.json["error"]["code"]) == (400, "model_not_available")
    assert got.json["error"]["message"].startswith("Unable to access non-serverless model a/b.")


@BY_MODE
def test_pictures_are_real_and_the_same_for_the_same_request(mode: tuple[Provider, Mode, str]) -> None:
    fields: dict[str, Any] = {"model": mode[2], "prompt": "A cat", "width": 96, "height": 64, "n": 2}
    fields["response_format"] = "b64_json"
    first, again = (in_mode(mode, posted("/v1/images/generations", **fields)).json for _ in range(2))
    pictures = [base64.b64decode(row["b64_json"]) for row in first["data"]]
    assert [png(data)[:2] for data in pictures] == [(96, 64)] * 2
    assert pictures[0] != pictures[1]
    assert first["data"] == again["data"]
    other = in_mode(mode, posted("/v1/images/generations", **{**fields, "seed": 5})).json
    assert other["data"] != first["data"]
    if mode[0] == "together":
        assert (first["object"], first["data"][1]["index"], first["data"][1]["type"]) == (
            "list",
            1,
            "b64_json",
        )


def test_the_size_of_openai_is_understood_by_engines() -> None:
    row = in_mode(PLAIN_MODE, posted("/v1/images/generations", prompt="A cat", size="64x32")).json["data"][0]
    assert png(base64.b64decode(row["b64_json"]))[:2] == (64, 32)
    assert in_mode(PLAIN_MODE, posted("/v1/images/generations", prompt="A cat", size="big")).status == 400


def test_without_a_host_to_name_a_url_holds_the_picture_itself() -> None:
    request = posted("/v1/images/generations", model="m", prompt="A cat", width=32, height=32)
    url = in_mode(SERVERLESS_MODE, request).json["data"][0]["url"]
    assert png(base64.b64decode(url.removeprefix("data:image/png;base64,")))[:2] == (32, 32)


def test_a_picture_is_served_where_its_url_leads_without_a_key() -> None:
    request = posted("/v1/images/generations", model="m", prompt="A cat", width=32, height=48)
    named = Request(
        method="POST",
        path=request.path,
        headers={**request.headers, "host": "example.test:1"},
        body=request.body,
    )
    url = in_mode(SERVERLESS_MODE, named).json["data"][0]["url"]
    path = url.removeprefix("http://example.test:1")
    got = ask(World(), "together", Request(method="GET", path=path, headers={}))
    assert (got.status, got.header("content-type"), png(got.body)[:2]) == (200, "image/png", (32, 48))
    huge = path.replace("32x48", "9999x9999")
    assert ask(World(), "together", bare("GET", huge)).status == 404


def test_more_steps_and_pixels_take_longer_and_cost_more() -> None:
    world = World()
    times: list[float] = []
    for steps, width in ((4, 1024), (28, 1024), (4, 2048)):
        request = posted("/v1/images/generations", model="flux", prompt="A cat", steps=steps, width=width)
        times.append(in_mode(DEDICATED_MODE, request).last)
        ask(world, "together", request, mode="together-serverless")
    assert times[0] < times[2] < times[1]
    rows = {row.steps: (row.requests, round(row.quantity, 3)) for row in world.invoice(900.0).units}
    assert rows == {4: (2, 3.146), 28: (1, 1.049)}


@BY_REQUEST
def test_nobody_answers_without_a_credential(request_: Request) -> None:
    anonymous = {name: value for name, value in request_.headers.items() if name == "content-type"}
    stranger = Request(method="POST", path=request_.path, headers=anonymous, body=request_.body)
    assert ask(World(), "together", stranger).status == 401
    assert ask(World(), "modal", stranger).status == 401


@BY_REQUEST
def test_what_is_not_running_refuses_every_operation_as_it_does_chat(request_: Request) -> None:
    stopped = ask(World(dedicated="stopped"), "together", request_, mode="together-dedicated")
    assert (stopped.status, stopped.json["error"]["code"]) == (400, "dedicated_endpoint_not_running")
    assert ask(World(), "modal", request_).status == 503


@BY_REQUEST
def test_a_request_occupies_the_machine_until_it_is_answered(request_: Request) -> None:
    world = World()
    exchange = world.receive("together", request_, 0.0, mode="together-dedicated")
    assert world.machines(0.0).endpoints[0].requests == 1
    got = finish(exchange, 0.0)
    assert got.status == 200
    assert got.last > 0.0
    assert world.machines(got.last).endpoints[0].requests == 0
    assert world.invoice(got.last).dedicated[0].busy_seconds == pytest.approx(got.last, rel=0.01)


@BY_REQUEST
@BY_MODE
def test_a_body_that_cannot_be_read_is_refused_in_the_providers_shape(
    request_: Request, mode: tuple[Provider, Mode, str]
) -> None:
    for body in (b"{", b"[]", b"{}"):
        wrong = Request(method="POST", path=request_.path, headers=request_.headers, body=body)
        got = in_mode(mode, wrong)
        assert got.status == 400
        assert ("id" in got.json) is (mode[0] == "together")
        assert got.json["error"]["message"]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/completions", {"prompt": 5}, "prompt"),
        ("/v1/completions", {"prompt": "a", "echo": "yes"}, "echo"),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": [{}]}, "input"),
        ("/v1/embeddings", {"input": ["a", ""]}, "input"),
        ("/v1/rerank", {"query": "a", "documents": "a"}, "documents"),
        ("/v1/rerank", {"documents": ["a"]}, "query"),
        ("/v1/rerank", {"query": "a", "documents": ["a"], "top_n": 0}, "top_n"),
        ("/v1/rerank", {"query": "a"}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": [5]}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": [{}], "rank_fields": [5]}, "rank_fields"),
        ("/v1/embeddings", {"input": ["a"] * 3000}, "input"),
        ("/v1/completions", {"prompt": []}, "prompt"),
        ("/v1/images/generations", {"prompt": ""}, "prompt"),
        ("/v1/images/generations", {"prompt": "a", "width": 5000}, "width"),
        ("/v1/images/generations", {"prompt": "a", "n": True}, "n"),
        ("/v1/images/generations", {"prompt": "a", "response_format": "pdf"}, "response_format"),
        ("/v1/images/generations", {"prompt": "a", "steps": "many"}, "steps"),
        ("/v1/audio/speech", {"input": "a" * 20_000, "voice": "v"}, "input"),
        ("/v1/audio/speech", {"input": 5, "voice": "v"}, "input"),
    ],
)
@pytest.mark.parametrize("mode", [DEDICATED_MODE, PLAIN_MODE], ids=["together", "engine"])
def test_a_wrong_field_is_named(
    mode: tuple[Provider, Mode, str], path: str, fields: dict[str, Any], param: str
) -> None:
    got = in_mode(mode, posted(path, model=mode[2], **fields))
    assert (got.status, got.json["error"]["param"]) == (400, param)


@BY_REQUEST
def test_together_wants_a_model(request_: Request) -> None:
    body = request_.body.replace(b'"model": "m", ', b"").replace(b'name="model"', b'name="other"')
    nameless = Request(method="POST", path=request_.path, headers=request_.headers, body=body)
    got = in_mode(SERVERLESS_MODE, nameless)
    assert (got.status, got.json["error"]["param"]) == (400, "model")


def test_the_bill_has_input_tokens_of_embeddings_and_no_output() -> None:
    world = World()
    ask(world, "together", posted("/v1/embeddings", model="e5", input="x" * 40))
    (use,) = world.invoice(10.0).serverless
    assert (use.requests, use.input_tokens, use.output_tokens) == (1, 10, 0)


def test_a_path_that_nobody_knows_is_404() -> None:
    for method, path in (("GET", "/v1/embeddings"), ("POST", "/v1/nothing"), ("POST", "/v2/nothing")):
        for mode in MODES:
            assert in_mode(mode, bare(method, path)).status == 404
