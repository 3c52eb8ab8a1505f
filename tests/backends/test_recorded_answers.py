"""Recorded answers of Together give the right text, usage and tool calls, whole and in any pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire_samples import answer, chat, chat_decoder, cut, read_all, recording, together
from hybrid_infer.calls.chat import ChatCompletion
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.reply import Facts
from hybrid_infer.errors import APIResponseError

COMPLETE = [
    "chat-2024-06",
    "chat-2025-02-slow-eos",
    "chat-2026-08",
    "chat-tools-2025-02",
    "chat-tools-2026-08",
]
STREAMS = ["chat-stream-2025-02-eos", "chat-stream-2026-08", "chat-stream-2026-opencode"]

TEXT = {
    "chat-2024-06": " Why don't we ever hear secrets at a OpenTelemetry convention? Because it's an ex-spy "
    "place! (I'll show myself out)",
    "chat-2025-02-slow-eos": "Sure, here's a light-hearted joke for you:\n\nWhy did the developer decide to "
    "use OpenTelemetry?\n\nBecause he wanted to trace the root of all his performance issues, and he heard "
    "OpenTelemetry could help him log it all without losing his sanity!",
    "chat-2026-08": "The sky appears blue because when sunlight enters Earth's atmosphere, it is scattered "
    "in all directions by the tiny molecules of gases such as nitrogen and oxygen, with shorter, blue "
    "wavelengths being scattered more than longer, red wavelengths.",
    "chat-tools-2025-02": None,
    "chat-tools-2026-08": None,
    "chat-stream-2026-08": "1, 2, 3, 4, 5.",
    "chat-stream-2026-opencode": "Hello!",
}
TEXT["chat-stream-2025-02-eos"] = TEXT["chat-2025-02-slow-eos"]

USAGE = {
    "chat-2024-06": Usage(input_tokens=18, output_tokens=35),
    "chat-2025-02-slow-eos": Usage(input_tokens=37, output_tokens=53),
    "chat-2026-08": Usage(input_tokens=46, output_tokens=45, cached_tokens=0),
    "chat-tools-2025-02": Usage(input_tokens=333, output_tokens=17),
    "chat-tools-2026-08": Usage(input_tokens=198, output_tokens=24, cached_tokens=0),
    "chat-stream-2025-02-eos": Usage(input_tokens=37, output_tokens=53),
    "chat-stream-2026-08": Usage(input_tokens=41, output_tokens=15, cached_tokens=0),
    "chat-stream-2026-opencode": Usage(input_tokens=45, output_tokens=3, cached_tokens=0),
}

TOOLS = {
    "chat-tools-2025-02": (
        "get_current_weather",
        {"location": "Boston, MA"},
        "call_wlwkk9sjx8mylt3rf4ik09of",
    ),
    "chat-tools-2026-08": ("get_current_weather", {"city": "Paris"}, "call_3xdm9hr8hghhxh9xjmclmt8s"),
}

SEEDS = {
    "chat-2025-02-slow-eos": 15259210161316577000,
    "chat-stream-2025-02-eos": 15092511270073158000,
    "chat-stream-2026-opencode": 15924764223251450000,
}


def check(name: str, completion: ChatCompletion, facts: Facts) -> None:
    first = json.loads(
        recording(name)["body"].partition("data: ")[2].partition("\n")[0] or recording(name)["body"]
    )
    (choice,) = completion.choices
    assert (choice.message.content, choice.message.role, choice.index) == (TEXT[name], "assistant", 0)
    assert choice.finish_reason == ("tool_calls" if name in TOOLS else "stop")
    assert facts.finish_reasons == (choice.finish_reason,)
    assert facts.usage == USAGE[name]
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == USAGE[name].input_tokens
    assert completion.usage.total_tokens == USAGE[name].total_tokens
    assert (completion.id, completion.created, completion.model) == (
        first["id"],
        first["created"],
        first["model"],
    )
    assert completion.object == "chat.completion"
    assert (facts.id, facts.model) == (first["id"], first["model"])
    if name in TOOLS:
        (call,) = choice.message.tool_calls or []
        assert (call.function.name, json.loads(call.function.arguments), call.id) == TOOLS[name]
    if name in SEEDS:
        assert choice.seed == SEEDS[name]


def check_stream(name: str, pieces: list[bytes]) -> int:
    decoder = chat_decoder()
    chunks = read_all(decoder, pieces)
    decoder.finish()
    final = decoder.final()
    assert final is not None
    check(name, final, decoder.facts)
    assert decoder.done
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT[name]
    return len(chunks)


@pytest.mark.parametrize("name", COMPLETE)
def test_complete_answer(name: str) -> None:
    recorded = recording(name)
    raw = answer(recorded["body"], **recorded["headers"])
    completion, facts = together().decode(chat(), raw)
    check(name, completion, facts)
    assert facts.raw is raw
    assert facts.first_token is None


@pytest.mark.parametrize(("name", "chunks"), [(STREAMS[0], 53), (STREAMS[1], 15), (STREAMS[2], 3)])
def test_stream_fed_whole_and_byte_by_byte(name: str, chunks: int) -> None:
    body = recording(name)["body"].encode()
    assert check_stream(name, [body]) == chunks
    assert check_stream(name, [body[i : i + 1] for i in range(len(body))]) == chunks


@pytest.mark.parametrize("name", STREAMS)
@given(st.data())
def test_stream_cut_anywhere(name: str, data: st.DataObject) -> None:
    check_stream(name, data.draw(cut(recording(name)["body"].encode())))


def test_unknown_fields_are_kept() -> None:
    recorded = recording("chat-2026-08")
    completion, _ = together().decode(chat(), answer(recorded["body"]))
    sent: Any = json.loads(recorded["body"])
    assert completion.model_extra == {"prompt": []}
    dumped = completion.model_dump(exclude_unset=True)
    assert dumped == sent


def test_a_text_completion_is_not_taken_for_a_chat_completion() -> None:
    """Its choices carry their text outside a message, so nothing of it may be lost in silence."""
    with pytest.raises(APIResponseError, match="not a chat completion"):
        together().decode(chat(), answer(recording("completion-2024-06")["body"]))
