"""What providers really send, from the client's side: the right result, or one clear error of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from both import Making
from fakes import DONE, USAGE, Answer, ScriptedTransport, completion, delta, hello, refused, said, streamed
from hybrid_infer.errors import (
    APIError,
    APIResponseError,
    APIStatusError,
    InvalidCallError,
    RedirectError,
    StreamError,
)
from hybrid_infer.transport.base import TransportError

KEY: dict[str, Any] = {"api_key": "k", "model": "m", "max_retries": 0}


async def test_a_json_answer_to_a_stream_request_becomes_a_stream(make: Making) -> None:
    stream = await make(transport=ScriptedTransport([said()]), **KEY).stream()
    assert await stream.text() == "It scatters."
    assert (await stream.final()).usage.prompt_tokens == 10  # type: ignore[union-attr]
    assert stream.hybrid.warnings


async def test_html_with_status_200_is_one_clear_error(make: Making) -> None:
    page = Answer(200, (b"<html><title>Log in</title></html>",), (("content-type", "text/html"),))
    for ask in ("create", "stream"):
        with pytest.raises(APIResponseError, match="text/html") as caught:
            await getattr(make(transport=ScriptedTransport([page]), **KEY), ask)()
        assert "Log in" in (caught.value.body or "")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"choices": 7}', b"null", b"\xff\xfe"])
async def test_a_body_that_is_no_answer_is_one_clear_error(make: Making, body: bytes) -> None:
    answer = Answer(200, (body,), (("content-type", "application/json"),))
    with pytest.raises(APIResponseError):
        await make(transport=ScriptedTransport([answer]), **KEY).create()


async def test_an_error_inside_a_success_is_an_error(make: Making) -> None:
    answer = said({"error": {"message": "engine died", "type": "server_error"}})
    with pytest.raises(APIStatusError, match="engine died"):
        await make(transport=ScriptedTransport([answer]), **KEY).create()


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ((delta("Hel"),), "cut short"),
        ((delta("Hel"), TransportError("connection reset", sent=True)), "connection reset"),
        ((delta("Hel"), b"data: {broken\n\n", DONE), "broken"),
        ((delta("Hel"), b'data: {"error": {"message": "engine died"}}\n\n'), "engine died"),
        ((delta("Hel"), b'event: error\ndata: {"message": "engine died"}\n\n'), "engine died"),
    ],
    ids=["no end", "reset", "broken event", "error event", "named error event"],
)
async def test_a_stream_that_ends_badly_keeps_what_came(
    make: Making, pieces: tuple[bytes | TransportError, ...], why: str
) -> None:
    transport = ScriptedTransport([streamed(*pieces)])
    stream = await make(transport=transport, **KEY).stream()
    with pytest.raises(APIError, match=why) as caught:
        await stream.text()
    assert caught.value.partial.choices[0].message.content == "Hel"
    assert caught.value.hybrid.attempts == 1
    assert transport.open == 0
    with pytest.raises(StreamError):
        await stream.final()


async def test_a_stream_of_nothing_is_an_error_before_it_is_handed_over(make: Making) -> None:
    with pytest.raises(StreamError):
        await make(transport=ScriptedTransport([streamed()]), **KEY).stream()


async def test_finish_reason_without_done_is_a_good_end(make: Making) -> None:
    transport = ScriptedTransport([streamed(delta("Hi"), delta(finish="stop"))])
    stream = await make(transport=transport, **KEY).stream()
    assert (await stream.final()).choices[0].finish_reason == "stop"


async def test_usage_in_a_chunk_without_choices(make: Making) -> None:
    trailing = {**json.loads(delta("x")[6:]), "choices": [], "usage": USAGE}
    pieces = (delta("Hi"), delta(finish="stop"), b"data: " + json.dumps(trailing).encode() + b"\n\n", DONE)
    stream = await make(transport=ScriptedTransport([streamed(*pieces)]), **KEY).stream()
    assert await stream.text() == "Hi"
    usage = stream.hybrid.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (10, 2, False)


async def test_usage_that_is_nowhere_is_an_estimate_and_says_so(make: Making) -> None:
    transport = ScriptedTransport([streamed(delta("Hi there"), delta(finish="stop"), DONE)])
    stream = await make(transport=transport, **KEY).stream()
    final = await stream.final()
    assert final.usage is None
    assert final.hybrid.usage is not None
    assert final.hybrid.usage.estimated
    assert (final.hybrid.usage.output_tokens or 0) > 0


async def test_a_model_that_only_streams_is_put_together(make: Making) -> None:
    transport = ScriptedTransport([refused(400, "streaming_required"), hello(), hello()])
    api = make(transport=transport, **KEY)
    first, second = await api.create(), await api.create()
    assert first.choices[0].message.content == second.choices[0].message.content == "Hello"
    assert first.usage is not None
    assert first.usage.total_tokens == 12
    assert (first.hybrid.attempts, second.hybrid.attempts) == (2, 1), "the refusal is remembered"
    assert first.hybrid.time_to_first_token is None
    assert transport.open == 0


async def test_a_redirect_within_the_origin_is_followed_as_modal_means_it(make: Making) -> None:
    again = Answer(303, (), (("location", "/v1/chat/completions?__modal_function_call_id=fc-1"),))
    transport = ScriptedTransport([again, again, said()])
    api = make(
        transport=transport,
        mode="modal",
        modal_url="https://acme--llm.modal.run",
        modal_api_key="k",
        model="m",
    )
    reply = await api.create()
    assert reply.hybrid.attempts == 1
    follow = transport.sent[2].request
    assert (follow.method, follow.body) == ("GET", b"")
    assert follow.path.endswith("fc-1")
    assert ("authorization", "Bearer k") in follow.headers


@pytest.mark.parametrize(
    "location", ["https://evil.example/", "//evil.example/x", "http://api-inference.together.ai/"]
)
async def test_credentials_never_follow_a_redirect_to_another_origin(make: Making, location: str) -> None:
    transport = ScriptedTransport([Answer(307, (), (("location", location),)), said()])
    with pytest.raises(RedirectError) as caught:
        await make(transport=transport, **KEY).create()
    assert len(transport.sent) == 1
    assert not caught.value.retryable


async def test_unknown_fields_are_kept_and_hybrid_is_not_dumped(make: Making) -> None:
    body = completion(service_tier="fast")
    body["choices"][0]["message"]["annotations"] = [1]
    reply = await make(transport=ScriptedTransport([said(body)]), **KEY).create()
    dumped = reply.model_dump()
    assert dumped["service_tier"] == "fast"
    assert dumped["choices"][0]["message"]["annotations"] == [1]
    assert "hybrid" not in dumped
    assert reply.hybrid.raw is not None
    assert json.loads(reply.hybrid.raw.body) == body


async def test_unknown_options_pass_through_by_name(make: Making) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, **KEY)
    await api.create(
        temperature=0.5, brand_new=[1], extra_body={"x": {"y": 1}}, extra_headers={"X-Trace": "7"}
    )
    sent = transport.sent[0]
    assert sent.json["temperature"] == 0.5
    assert sent.json["brand_new"] == [1]
    assert sent.json["x"] == {"y": 1}
    assert ("x-trace", "7") in sent.request.headers


async def test_a_session_is_sent_in_each_modes_own_words(make: Making) -> None:
    transport = ScriptedTransport([said()])
    api = make(
        transport=transport, modal_url="https://a--b.modal.direct", base_url="http://localhost:1", **KEY
    )
    await api.create(session="s-1")
    assert transport.sent[-1].json["prompt_cache_key"] == "s-1"
    await api.create(session="s-1", mode="modal")
    assert ("modal-routing-affinity-key", "s-1") in transport.sent[-1].request.headers
    assert "prompt_cache_key" not in transport.sent[-1].json


async def test_a_model_in_the_extra_body_would_be_priced_as_another_one(make: Making) -> None:
    transport = ScriptedTransport([said()])
    with pytest.raises(InvalidCallError, match="model="):
        await make(transport=transport, **KEY).create(extra_body={"model": "other"})
    assert transport.sent == []


async def test_extra_headers_of_a_call_add_to_those_of_the_client(make: Making) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, **KEY)
    api.client = api.client.with_options(extra_headers={"x-a": "1"}, extra_body={"a": 1})
    await api.create(extra_headers={"x-b": "2"}, extra_body={"b": 2})
    assert {("x-a", "1"), ("x-b", "2")} <= set(transport.sent[0].request.headers)
    assert (transport.sent[0].json["a"], transport.sent[0].json["b"]) == (1, 2)


@pytest.mark.parametrize("wrong", [{"stream": "yes"}, {"extra_query": {"a": "b"}}])
async def test_what_cannot_be_meant_is_refused_by_its_name(make: Making, wrong: dict[str, Any]) -> None:
    transport = ScriptedTransport([said()])
    with pytest.raises(InvalidCallError, match=next(iter(wrong))):
        await make(transport=transport, **KEY).create(**wrong)
    assert transport.sent == []


async def test_no_stream_may_be_said_as_none(make: Making) -> None:
    reply = await make(transport=ScriptedTransport([said()]), **KEY).create(stream=None)
    assert reply.choices[0].message.content == "It scatters."


async def test_the_id_of_a_request_is_the_one_of_its_headers(make: Making) -> None:
    transport = ScriptedTransport([said(headers=(("x-together-traceid", "T-1"),))])
    reply = await make(transport=transport, **KEY).create()
    assert reply.hybrid.request_id == "T-1"


async def test_an_origin_written_differently_is_the_same(make: Making) -> None:
    there = Answer(307, (), (("location", "https://API-inference.together.ai:443/v1/chat/completions?x=1"),))
    transport = ScriptedTransport([there, said()])
    await make(transport=transport, **KEY).create()
    assert transport.sent[1].request.path == "/v1/chat/completions?x=1"
