"""Messages in spans: only where asked for, in the shape of the conventions, redacted, limited in size."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from both import Making
from fakes import DONE, ScriptedTransport, completion, delta, hello, refused, said, streamed
from hybrid_infer.errors import BadRequestError, ConfigurationError
from hybrid_infer.telemetry import names
from hybrid_infer.telemetry.content import CUT, limited, wants_content
from hybrid_infer.telemetry.messages import input_messages, output_messages
from telemetry.recorded import KEY, Recorded

ASK = [{"role": "user", "content": "canary-prompt"}]
ROLES = {"user", "assistant", "system", "developer", "tool"}
FIELDS: dict[str, set[str]] = {
    "text": {"content"},
    "reasoning": {"content"},
    "tool_call": {"name"},
    "tool_call_response": {"response"},
    "blob": {"modality", "content"},
    "uri": {"modality", "uri"},
    "file": {"modality", "file_id"},
}
"""What the JSON schemas of the conventions require of each type of part (2026-08)."""


def check(messages: Any, *, output: bool = False) -> None:
    """Whether messages are as the schemas want them. Types they do not know may have any fields."""
    assert isinstance(messages, list)
    for message in messages:
        assert message["role"] in ROLES
        assert isinstance(message["parts"], list)
        assert isinstance(message.get("finish_reason", "stop" if not output else None), str)
        for part in message["parts"]:
            assert FIELDS.get(part["type"], set()) <= set(part)
            if part["type"] in ("text", "reasoning"):
                assert isinstance(part["content"], str)


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.CAPTURE_CONTENT, "SPAN_ONLY")


async def test_content_is_off_unless_asked_for(make: Making, recorded: Recorded) -> None:
    api = make(transport=ScriptedTransport([said()]), tracer_provider=recorded.provider, **KEY)
    await api.create(messages=ASK)
    assert "canary-prompt" not in recorded.call.to_json()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", False),
        ("no_content", False),
        ("EVENT_ONLY", False),
        ("SPAN_ONLY", True),
        ("span_and_event", True),
        ("true", False),
    ],
)
def test_the_standard_variable_decides(value: str, wanted: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert wants_content({names.CAPTURE_CONTENT: value}) is wanted
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert bool(warned) is (value == "true"), "what is not of the standard is said in the log"


@pytest.mark.usefixtures("on")
async def test_what_was_asked_and_answered_is_in_the_span(make: Making, recorded: Recorded) -> None:
    api = make(transport=ScriptedTransport([said()]), tracer_provider=recorded.provider, **KEY)
    await api.create(messages=ASK)
    asked = json.loads(recorded.said[names.INPUT_MESSAGES])
    answered = json.loads(recorded.said[names.OUTPUT_MESSAGES])
    assert asked == [{"role": "user", "parts": [{"type": "text", "content": "canary-prompt"}]}]
    assert answered == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "It scatters."}],
            "finish_reason": "stop",
        }
    ]


@pytest.mark.usefixtures("on")
async def test_a_stream_has_its_whole_answer_in_the_span(make: Making, recorded: Recorded) -> None:
    api = make(transport=ScriptedTransport([hello()]), tracer_provider=recorded.provider, **KEY)
    await (await api.stream()).text()
    (message,) = json.loads(recorded.said[names.OUTPUT_MESSAGES])
    assert message["parts"] == [{"type": "text", "content": "Hello"}]


@pytest.mark.usefixtures("on")
async def test_a_stream_that_was_given_up_has_what_had_come(make: Making, recorded: Recorded) -> None:
    script = [streamed(delta("Hel"), 0.5, delta("lo"), DONE)]
    stream = await make(
        transport=ScriptedTransport(script), tracer_provider=recorded.provider, **KEY
    ).stream()
    await stream.__anext__()
    await stream.close()
    (message,) = json.loads(recorded.said[names.OUTPUT_MESSAGES])
    assert message["parts"] == [{"type": "text", "content": "Hel"}]
    assert message["finish_reason"] == "error"


@pytest.mark.usefixtures("on")
async def test_no_attempt_has_content(make: Making, recorded: Recorded) -> None:
    api = make(transport=ScriptedTransport([refused(500), said()]), tracer_provider=recorded.provider, **KEY)
    await api.create(messages=ASK)
    assert len(recorded.attempts) == 2
    assert not any("canary-prompt" in attempt.to_json() for attempt in recorded.attempts)


@pytest.mark.usefixtures("on")
async def test_a_failed_call_has_what_was_asked(make: Making, recorded: Recorded) -> None:
    api = make(transport=ScriptedTransport([refused(400)]), tracer_provider=recorded.provider, **KEY)
    with pytest.raises(BadRequestError):
        await api.create(messages=ASK)
    assert "canary-prompt" in recorded.said[names.INPUT_MESSAGES]
    assert names.OUTPUT_MESSAGES not in recorded.said


@pytest.mark.usefixtures("on")
async def test_the_hook_decides_what_is_recorded_and_not_what_is_sent(
    make: Making, recorded: Recorded
) -> None:
    def redact(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for message in messages:
            for part in message["parts"]:
                part["content"] = part["content"].replace("canary", "…")
        return messages

    transport = ScriptedTransport([said(completion("a canary sings"))])
    api = make(transport=transport, tracer_provider=recorded.provider, redact=redact, **KEY)
    reply = await api.create(messages=ASK)
    assert "canary" not in recorded.call.to_json()
    assert "…-prompt" in recorded.said[names.INPUT_MESSAGES]
    assert "a … sings" in recorded.said[names.OUTPUT_MESSAGES]
    assert transport.sent[0].json["messages"] == ASK
    assert reply.choices[0].message.content == "a canary sings"


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize("broken", [True, False])
async def test_a_hook_that_fails_or_gives_nothing_drops_the_content_and_not_the_call(
    make: Making, recorded: Recorded, caplog: pytest.LogCaptureFixture, broken: bool
) -> None:
    caplog.set_level("DEBUG")

    def redact(messages: list[dict[str, Any]]) -> None:
        if broken:
            raise ValueError(f"cannot redact {messages}")

    api = make(transport=ScriptedTransport([said()]), tracer_provider=recorded.provider, redact=redact, **KEY)
    await api.create(messages=ASK)
    assert not {names.INPUT_MESSAGES, names.OUTPUT_MESSAGES} & set(recorded.said)
    assert recorded.said[names.USAGE_INPUT_TOKENS] == 10
    assert ("content was not recorded: ValueError" in caplog.text) is broken
    assert "canary-prompt" not in caplog.text


@pytest.mark.usefixtures("on")
async def test_the_hook_never_runs_while_a_stream_is_being_collected(
    make: Making, recorded: Recorded
) -> None:
    seen: list[str] = []

    def redact(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        seen.append(messages[0]["role"])
        return messages

    script = [streamed(*[delta("x"), 0.5] * 10), said()]
    api = make(transport=ScriptedTransport(script), tracer_provider=recorded.provider, redact=redact, **KEY)
    stream = await api.stream()
    del stream
    assert seen == ["user"]
    await api.close()
    assert seen == ["user", "assistant"]


@pytest.mark.usefixtures("on")
async def test_long_content_is_cut_to_the_size_in_the_settings(make: Making, recorded: Recorded) -> None:
    api = make(
        transport=ScriptedTransport([said()]),
        tracer_provider=recorded.provider,
        trace_content_max_bytes=1000,
        **KEY,
    )
    await api.create(messages=[{"role": "user", "content": "ä" * 100_000}])
    text = recorded.said[names.INPUT_MESSAGES]
    assert 500 < len(text.encode()) <= 1000
    check(json.loads(text))
    assert CUT in text


def test_a_limit_too_small_for_a_message_is_refused(make: Making) -> None:
    with pytest.raises(ConfigurationError, match="trace_content_max_bytes"):
        make(transport=ScriptedTransport([said()]), trace_content_max_bytes=10, **KEY)


TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "name": "ada",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "of_tomorrow", "payload": 1},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "reasoning": "Hm.",
        "tool_calls": [
            {"id": "c-1", "type": "function", "function": {"name": "look", "arguments": '{"at": "cat"}'}},
            {"id": "c-2", "type": "function", "function": {"name": "look", "arguments": '{"at": '}},
        ],
    },
    {"role": "tool", "tool_call_id": "c-1", "content": "a cat"},
]


def test_every_part_of_a_conversation_has_the_form_of_the_conventions() -> None:
    messages = input_messages(TALK)
    check(messages)
    system, user, assistant, tool = messages
    assert system["parts"] == [{"type": "text", "content": "Be brief."}]
    assert user["name"] == "ada"
    assert user["parts"] == [
        {"type": "text", "content": "What is this?"},
        {"type": "uri", "modality": "image", "uri": "https://example.org/cat.png"},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AAAA"},
        {"type": "blob", "modality": "audio", "mime_type": "audio/mp3", "content": "BBBB"},
        {"type": "file", "modality": "document", "file_id": "file-1"},
        {"type": "of_tomorrow", "payload": 1},
    ]
    assert assistant["parts"] == [
        {"type": "reasoning", "content": "Hm."},
        {"type": "tool_call", "id": "c-1", "name": "look", "arguments": {"at": "cat"}},
        {"type": "tool_call", "id": "c-2", "name": "look", "arguments": '{"at": '},
    ]
    assert tool["parts"] == [{"type": "tool_call_response", "id": "c-1", "response": "a cat"}]


def test_an_answer_has_a_message_for_each_choice_and_says_how_it_ended() -> None:
    call = {"id": "c", "function": {"name": "look", "arguments": "{}"}}
    choices = [
        {"message": {"role": "assistant", "content": "a"}, "finish_reason": "length"},
        {"message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "tool_calls"},
        {"message": {"role": "assistant", "refusal": "no"}, "finish_reason": None},
    ]
    messages = output_messages({"choices": choices})
    check(messages, output=True)
    assert [message["finish_reason"] for message in messages] == ["length", "tool_call", "error"]
    assert messages[2]["parts"] == [{"type": "refusal", "content": "no"}]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
ODD = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "tool", "system"]),
        "content": JSON | st.lists(JSON, max_size=3),
        "tool_calls": st.lists(JSON, max_size=2) | st.none(),
        "reasoning": st.text(max_size=9) | st.none(),
    },
)


@given(st.lists(ODD, max_size=4))
def test_odd_messages_are_told_as_well_as_they_can_be(messages: list[Any]) -> None:
    check(input_messages(messages))


PARTS = st.one_of(
    st.builds(lambda text: {"type": "text", "content": text}, st.text(max_size=3000)),
    st.builds(
        lambda data: {"type": "blob", "modality": "image", "mime_type": "image/png", "content": data},
        st.text("AB", max_size=3000),
    ),
    st.builds(
        lambda value: {"type": "tool_call", "name": "f", "arguments": value},
        st.dictionaries(st.text(max_size=5), st.text(max_size=900), max_size=3),
    ),
)
MESSAGES = st.lists(
    st.builds(
        lambda parts: {"role": "user", "parts": parts},
        st.lists(PARTS, max_size=4),
    ),
    max_size=6,
)


@given(MESSAGES, st.integers(256, 4096))
def test_whatever_is_cut_is_still_json_of_messages_within_the_limit(messages: list[Any], most: int) -> None:
    text = limited(messages, most)
    assert text is None or len(text.encode()) <= most
    whole = json.dumps(messages, ensure_ascii=False, separators=(",", ":"))
    if len(whole.encode()) <= most:
        assert text is not None and json.loads(text) == messages
    elif text is not None:
        kept = json.loads(text)
        check(kept)
        assert kept[-1]["role"] == "user" and len(kept) <= len(messages)
        assert any(mark in text for mark in (CUT, "left out"))


def test_what_is_no_text_is_left_out_before_text_is_cut() -> None:
    blob = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "A" * 5000}
    text = {"type": "text", "content": "what is this?"}
    (message,) = json.loads(limited([{"role": "user", "parts": [blob, text]}], 1000) or "")
    assert message["parts"] == [{"type": "text", "content": "[image/png, 5000 characters, left out]"}, text]


def test_where_cutting_is_not_enough_the_newest_messages_stay() -> None:
    talk = [{"role": "user", "parts": [{"type": "text", "content": f"message {n}"}]} for n in range(100)]
    kept = json.loads(limited(talk, 1000) or "")
    assert kept[-1] == talk[-1]
    missing = 100 - len(kept)
    assert kept[0]["parts"][0]["content"] == f"[{missing} earlier messages left out]"
