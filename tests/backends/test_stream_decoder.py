"""What servers do on a stream becomes the right answer, or one clear error with what had come."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire_samples import (
    answer,
    chat,
    chat_decoder,
    chunk,
    compatible,
    cut,
    modal,
    read_all,
    sse,
    streamed,
    together,
)
from hybrid_infer.calls.chat import ChatCompletion, ChatCompletionChunk
from hybrid_infer.calls.money import Usage
from hybrid_infer.errors import (
    APIError,
    BadRequestError,
    InternalServerError,
    OverloadedError,
    RateLimitError,
    StreamError,
)

USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
COUNTED = Usage(input_tokens=9, output_tokens=2)


def broken(body: bytes, kind: type[APIError] = StreamError) -> Any:
    """The error that a stream ends in, with the answer as far as it came."""
    decoder = chat_decoder()
    with pytest.raises(APIError) as caught:
        read_all(decoder, [body])
        decoder.finish()
    assert type(caught.value) is kind
    return caught.value


def test_usage_on_the_finish_chunk() -> None:
    decoder, final = streamed(sse(chunk("Hi"), chunk("", "stop", usage=USAGE)))
    assert decoder.facts.usage == COUNTED
    assert final.usage is not None
    assert final.usage.total_tokens == 11


def test_usage_on_a_last_chunk_without_choices() -> None:
    trailing: dict[str, Any] = {"id": "c1", "choices": [], "usage": USAGE, "created": None, "model": None}
    decoder, final = streamed(sse(chunk("Hi"), chunk("", "stop"), trailing))
    assert decoder.facts.usage == COUNTED
    assert (final.created, final.model, final.choices[0].message.content) == (7, "m", "Hi")


def test_the_last_usage_counts_and_null_is_none() -> None:
    early = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    decoder, _ = streamed(
        sse(chunk("H", usage=early), chunk("i", usage=USAGE), chunk("", "stop", usage=None))
    )
    assert decoder.facts.usage == COUNTED


def test_usage_nowhere_is_estimated_from_the_texts_and_stays_none_in_the_answer() -> None:
    messages = [
        {"role": "system", "content": "Be brief"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hello!"}, {"type": "image_url", "image_url": {}}],
        },
    ]
    stream = sse(chunk("four"), chunk(reasoning="think"), chunk(None, "stop"))
    decoder, final = streamed(stream, call=chat(True, messages))
    assert decoder.facts.usage == Usage(input_tokens=4, output_tokens=3, estimated=True)
    assert final.usage is None


@pytest.mark.parametrize("empty", [{}, {"prompt_tokens": None, "completion_tokens": None}])
def test_usage_without_numbers_is_no_usage(empty: dict[str, Any]) -> None:
    decoder, final = streamed(sse(chunk("four", "stop", usage=empty)))
    assert decoder.facts.usage == Usage(input_tokens=2, output_tokens=1, estimated=True)
    assert final.usage is None


@pytest.mark.parametrize(
    "details",
    [
        {"cached_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 1}},
        {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 1}},
    ],
)
def test_cached_and_reasoning_tokens_in_both_places(details: dict[str, Any]) -> None:
    decoder, _ = streamed(sse(chunk("Hi", "stop", usage={**USAGE, **details})))
    assert decoder.facts.usage == Usage(input_tokens=9, output_tokens=2, cached_tokens=4, reasoning_tokens=1)


def test_chunks_without_choices_are_passed_on() -> None:
    decoder = chat_decoder(compatible())
    chunks = read_all(decoder, [sse({"id": "c1", "choices": []}, chunk("Hi", "stop"))])
    decoder.finish()
    assert [len(part.choices) for part in chunks] == [0, 1]


def test_tool_calls_are_put_together_by_index_and_a_repeated_finish_reason_is_fine() -> None:
    def tool(index: int, arguments: str, **first: str) -> dict[str, Any]:
        name = {"name": first.pop("name")} if first else {}
        return {"index": index, **first, "function": {**name, "arguments": arguments}}

    decoder, final = streamed(
        sse(
            chunk(None, tool_calls=[tool(0, "", id="call_a", type="function", name="weather")]),
            chunk(None, tool_calls=[tool(0, '{"city":')]),
            chunk(None, tool_calls=[tool(1, '{"x"', id="call_b", type="function", name="time")]),
            chunk(None, tool_calls=[tool(0, '"Paris"}'), tool(1, ":1}")]),
            chunk("", "tool_calls"),
            chunk("", "tool_calls"),
        )
    )
    (choice,) = final.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert decoder.facts.finish_reasons == ("tool_calls",)
    calls = [
        (call.index, call.id, call.function.name, call.function.arguments)
        for call in choice.message.tool_calls or []
    ]
    assert calls == [(0, "call_a", "weather", '{"city":"Paris"}'), (1, "call_b", "time", '{"x":1}')]


def test_tool_calls_without_an_index() -> None:
    _, final = streamed(
        sse(
            chunk(None, tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "1"}}]),
            chunk(None, tool_calls=[{"function": {"arguments": "2"}}]),
            chunk(None, tool_calls=[{"id": "b", "function": {"name": "g", "arguments": "3"}}]),
            chunk(None, "tool_calls"),
        )
    )
    assert [c.function.arguments for c in final.choices[0].message.tool_calls or []] == ["12", "3"]


def test_several_choices_come_mixed() -> None:
    decoder, final = streamed(
        sse(chunk("A", index=1), chunk("B"), chunk("a", "length", index=1), chunk("b"), chunk("", "eos"))
    )
    assert [(c.index, c.message.content, c.finish_reason) for c in final.choices] == [
        (0, "Bb", "stop"),
        (1, "Aa", "length"),
    ]
    assert decoder.facts.finish_reasons == ("stop", "length")


def test_reasoning_under_both_names() -> None:
    _, final = streamed(
        sse(chunk(reasoning="a", reasoning_content="x"), chunk(reasoning="b"), chunk("c", "stop"))
    )
    message = final.choices[0].message
    assert (message.reasoning, message.reasoning_content, message.content) == ("ab", "x", "c")


@pytest.mark.parametrize(
    ("sent", "carries"),
    [
        (chunk("x"), True),
        (chunk(reasoning="x"), True),
        (chunk(reasoning_content="x"), True),
        (chunk(tool_calls=[{"index": 0, "function": {"name": "f"}}]), True),
        (chunk(""), False),
        (chunk(None), False),
        (chunk("", "stop", usage=USAGE), False),
        ({"choices": []}, False),
    ],
)
def test_content_is_text_reasoning_or_a_tool_call(sent: dict[str, Any], carries: bool) -> None:
    assert chat_decoder().carries_content(ChatCompletionChunk.model_validate(sent)) is carries


@pytest.mark.parametrize(
    "sign_of_life",
    [": ping\n\n", "data:\n\n", "data: \n\n", 'event: ping\ndata: {"type": "ping"}\n\n', "event: x\n\n"],
)
def test_signs_of_life_are_no_chunks(sign_of_life: str) -> None:
    decoder = chat_decoder()
    chunks = read_all(decoder, [sse(sign_of_life, chunk("Hi"), sign_of_life, chunk("!", "stop"))])
    assert [part.choices[0].delta.content for part in chunks] == ["Hi", "!"]


def test_nothing_counts_after_the_end_mark() -> None:
    _, final = streamed(sse(chunk("Hi", "stop")) + sse(chunk("more"), "data: {broken\n\n"))
    assert final.choices[0].message.content == "Hi"


@pytest.mark.parametrize("mark", ["data:[DONE]\n\n", "data:  [DONE] \n\n", "data: [DONE]"])
def test_the_end_mark_however_it_is_spaced(mark: str) -> None:
    decoder, _ = streamed(sse(chunk("Hi"), mark, done=False))
    assert decoder.done


def test_a_refusal_is_kept() -> None:
    _, final = streamed(sse(chunk(refusal="I "), chunk(refusal="won't"), chunk(None, "stop")))
    assert final.choices[0].message.refusal == "I won't"


def test_end_mark_without_finish_reason_is_a_proper_end() -> None:
    _, final = streamed(sse(chunk("Hi")))
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == ("Hi", None)


def test_finish_reason_without_end_mark_is_a_proper_end() -> None:
    decoder, final = streamed(sse(chunk("Hi", "stop"), done=False))
    assert final.choices[0].message.content == "Hi"
    assert not decoder.done


def test_the_last_event_may_lack_its_blank_line() -> None:
    _, final = streamed(sse(chunk("Hi"), chunk("!", "stop"), done=False).rstrip(b"\n"))
    assert final.choices[0].message.content == "Hi!"


def test_a_stream_without_either_was_cut_short() -> None:
    error = broken(sse(chunk("Hel"), chunk("lo"), done=False))
    assert "cut short" in str(error)
    assert error.partial.choices[0].message.content == "Hello"
    assert (error.retryable, error.billed, error.request_id) == (True, None, "c1")


def test_one_finished_choice_of_two_is_cut_short() -> None:
    error = broken(sse(chunk("A", "stop"), chunk("B", index=1), done=False))
    assert [choice.finish_reason for choice in error.partial.choices] == ["stop", None]


def test_a_cut_stream_has_an_estimate_of_what_it_used() -> None:
    decoder = chat_decoder()
    read_all(decoder, [sse(chunk("12345678"), done=False)])
    with pytest.raises(StreamError):
        decoder.finish()
    assert decoder.facts.usage == Usage(input_tokens=2, output_tokens=2, estimated=True)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", "before any part"),
        (b"data: [DONE]\n\n", "DONE"),
        (b"<html>Sign in</html>", "Sign in"),
        (b": ping\n\n", "ping"),
    ],
)
def test_a_stream_with_nothing_in_it_is_no_empty_answer(body: bytes, shown: str) -> None:
    error = broken(body)
    assert shown in str(error)
    assert error.partial is None


@pytest.mark.parametrize("data", ["[1]", '"text"', "{not json", "<html>"])
def test_one_event_of_noise_is_skipped(data: str) -> None:
    _, final = streamed(sse(chunk("Hel"), f"data: {data}\n\n", chunk("lo", "stop")))
    assert final.choices[0].message.content == "Hello"


@pytest.mark.parametrize("data", ["[1]", "{not json"])
def test_noise_where_the_end_is_missing_may_have_been_the_answer(data: str) -> None:
    error = broken(sse(chunk("Hel"), f"data: {data}\n\n") + b"data: [DONE]\n\n")
    assert data[:8] in error.message


@pytest.mark.parametrize("data", ['{"id": "c1", "choi', '{"choices": [{"delta": {"content": {}}}]}'])
def test_a_broken_event_ends_the_stream_with_what_had_come(data: str) -> None:
    error = broken(sse(chunk("Hel"), f"data: {data}\n\n", chunk("lo", "stop")))
    assert data[:8] in error.message
    assert error.partial.choices[0].message.content == "Hel"
    assert error.__cause__ is None
    assert error.__context__ is None


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    """As the standard of server-sent events has it."""
    _, final = streamed(sse(chunk("caf@", "stop")).replace(b"@", b"\xc3"))
    assert final.choices[0].message.content == "caf\ufffd"


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ('data: {"error": {"message": "too many", "type": "model_rate_limit"}}\n\n', RateLimitError),
        ('data: {"error": {"message": "bad", "code": 400, "type": "BadRequestError"}}\n\n', BadRequestError),
        (
            'data: {"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}\n\n',
            BadRequestError,
        ),
        ('data: {"error": {"message": "late", "type": "server_error"}}\n\n', InternalServerError),
        ('data: {"error": {"message": "full", "code": "503"}}\n\n', OverloadedError),
        ('event: error\ndata: {"message": "full", "type": "overloaded_error"}\n\n', OverloadedError),
        ('data: {"error": {"message": "what"}}\n\n', StreamError),
        ('data: {"error": "what"}\n\n', StreamError),
        ("event: error\ndata: it broke\n\n", StreamError),
        ('event: error\ndata: {"message": "what"}\n\n', StreamError),
    ],
)
def test_an_error_event_inside_a_success(event: str, kind: type[APIError]) -> None:
    error = broken(sse(chunk("Hel"), event), kind)
    said = event.partition('message": "')[2].partition('"')[0]
    assert said in error.message
    assert error.partial.choices[0].message.content == "Hel"
    assert error.billed is None


def test_an_error_beside_choices_is_an_error() -> None:
    """OpenRouter sends its errors so, with an empty delta (its docs, streaming errors, 2026)."""
    event = {**chunk("", "error"), "error": {"code": "server_error", "message": "provider gone"}}
    error = broken(sse(chunk("Hel"), event), InternalServerError)
    assert "provider gone" in str(error)


def test_an_error_before_any_content_is_billed_as_its_class_says() -> None:
    error = broken(
        sse('data: {"error": {"message": "slow down", "type": "model_rate_limit"}}\n\n'), RateLimitError
    )
    assert (error.billed, error.retryable, error.partial) == (False, True, None)


def test_the_partial_answer_is_there_at_any_moment() -> None:
    decoder = chat_decoder(modal())
    assert decoder.partial() is None
    read_all(decoder, [sse(chunk("Hel"), done=False)])
    assert decoder.partial() == decoder.final()
    read_all(decoder, [sse(chunk("lo", "stop"))])
    partial = decoder.partial()
    assert partial is not None
    assert partial.choices[0].message.content == "Hello"


def test_a_json_answer_to_a_stream_request_becomes_two_chunks() -> None:
    tool_calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": "Hi", "reasoning": "hm", "tool_calls": tool_calls}
    body = {
        "id": "c1",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "eos"}],
        "usage": USAGE,
    }
    completion, _ = together().decode(chat(stream=True), answer(body))
    content, end = together().chunks(completion)
    delta = content.choices[0].delta
    assert (delta.content, delta.reasoning, delta.role) == ("Hi", "hm", "assistant")
    assert [(call.index, call.id) for call in delta.tool_calls or []] == [(0, "a")]
    assert content.choices[0].finish_reason is None
    assert (end.choices[0].finish_reason, end.usage) == ("stop", completion.usage)
    _, again = streamed(
        sse(*(json.loads(part.model_dump_json(exclude_none=True)) for part in (content, end)))
    )
    assert again.choices[0].message.content == "Hi"
    assert again.usage == completion.usage


WORDS = st.text(max_size=6)


@given(st.lists(WORDS), st.lists(WORDS), st.data())
def test_any_texts_come_back_whole_however_the_bytes_are_cut(
    content: list[str], reasoning: list[str], data: st.DataObject
) -> None:
    body = sse(*(chunk(reasoning=text) for text in reasoning), *map(chunk, content), chunk("", "stop"))
    decoder = chat_decoder(compatible())
    read_all(decoder, data.draw(cut(body)))
    decoder.finish()
    final = decoder.final()
    assert isinstance(final, ChatCompletion)
    assert final.choices[0].message.content == "".join(content)
    assert (final.choices[0].message.reasoning or "") == "".join(reasoning)
