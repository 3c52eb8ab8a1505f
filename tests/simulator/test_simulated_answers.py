from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.simulator.answers import Choice, answer
from hybrid_infer.simulator.ask import read, tokens_of

TRANSCRIPTS = sorted((Path(__file__).parent.parent.parent / "examples" / "transcripts").glob("*.txt"))
MEETING = """# Weekly, 3 minutes

[00:01] Ana: Good morning. Is everybody here?
[00:09] Bo: Yes. I'll send the budget to Ana by Friday.
[00:20] Ana: Thank you. We decided: the release moves to the first of June. Kim will test the login tomorrow.
[00:31] Kim: That works. If it rains, I'll send a boat.
[00:40] Bo: I'll check the invoices this week.
"""


def reply(text: str = "", **fields: Any) -> Choice:
    return replies(text, **fields)[0]


def replies(text: str = "", *, seed: int = 0, **fields: Any) -> tuple[Choice, ...]:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return answer(read(json.dumps(body).encode()), seed)


def test_a_question_is_quoted_and_the_answer_says_that_it_is_simulated() -> None:
    text = reply("Why is the sky blue?").text
    assert text.startswith("(simulated)")
    assert "“Why is the sky blue?”" in text


def test_action_items_name_their_owners() -> None:
    assert reply(f"List the action items.\n\n{MEETING}").text == (
        "(simulated) Action items:\n"
        "- Bo [00:09]: I'll send the budget to Ana by Friday.\n"
        "- Kim [00:20]: Kim will test the login tomorrow.\n"
        "- Bo [00:40]: I'll check the invoices this week."
    )


def test_decisions_are_the_sentences_that_decide() -> None:
    assert reply(f"{MEETING}\nList the decisions.").text == (
        "(simulated) Decisions:\n- Ana [00:20]: We decided: the release moves to the first of June."
    )


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: str(path.stem))
@pytest.mark.parametrize("task", ["Summarise this meeting.", "List the action items.", "List the decisions."])
def test_what_is_said_of_a_transcript_stands_in_it(transcript: Path, task: str) -> None:
    said = transcript.read_text()
    lines = [line for line in reply(f"{said}\n\n{task}").text.splitlines() if line.startswith("- ")]
    assert len(lines) >= 3
    assert all(line.partition(": ")[2] in said for line in lines)


def test_a_summary_of_plain_text_is_made_of_its_sentences() -> None:
    text = " ".join(
        f"Sentence number {n} speaks about rivers, valleys and mountain weather." for n in range(20)
    )
    lines = reply(f"Summarize: {text}").text.splitlines()[1:]
    assert lines
    assert all(line.removeprefix("- ").removeprefix("Summarize: ") in text for line in lines)


@given(st.text(max_size=300), st.integers(1, 30), st.integers(0, 3))
def test_answers_obey_max_tokens_and_are_the_same_each_time(text: str, limit: int, seed: int) -> None:
    cut = reply(text, seed=seed, max_tokens=limit)
    whole = reply(text, seed=seed)
    assert whole.text.startswith(cut.text)
    assert len(cut.tokens) <= limit
    assert cut.finish == ("length" if len(whole.tokens) > limit else "stop")
    assert whole == reply(text, seed=seed)
    assert len(whole.tokens) == tokens_of(whole.text)


def test_a_stop_sequence_ends_the_answer() -> None:
    cut = reply("Why?", stop=["You"])
    assert (cut.text, cut.finish) == ("(simulated) ", "stop")


def test_several_choices_differ() -> None:
    assert len({choice.text for choice in replies("Why?", n=3)}) == 3


def function(name: str, description: str = "", **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


TOOLS = [
    function("get_weather", "The weather in a city", city={"type": "string"}, days={"type": "integer"}),
    function("send_mail", "Send an e-mail", urgent={"type": "boolean"}, to={"enum": ["ana", "bo"]}),
]


def test_the_tool_that_fits_the_question_is_called() -> None:
    weather = reply("What will the weather be in Lisbon for 3 days?", tools=TOOLS)
    assert (weather.tool, weather.finish) == ("get_weather", "tool_calls")
    assert json.loads(weather.text) == {"city": "Lisbon", "days": 3}
    mail = reply("Send a mail to Bo", tools=TOOLS)
    assert (mail.tool, json.loads(mail.text)) == ("send_mail", {"urgent": True, "to": "bo"})


def test_no_tool_is_called_where_none_fits_or_none_may_be() -> None:
    assert reply("Tell me a joke", tools=TOOLS).tool is None
    assert reply("The weather in Lisbon?", tools=TOOLS, tool_choice="none").tool is None


def test_a_tool_that_is_demanded_is_called() -> None:
    assert reply("Tell me a joke", tools=TOOLS, tool_choice="required").tool is not None
    chosen = {"type": "function", "function": {"name": "send_mail"}}
    assert reply("Tell me a joke", tools=TOOLS, tool_choice=chosen).tool == "send_mail"


def test_the_result_of_a_tool_is_answered_in_words() -> None:
    messages = [
        {"role": "user", "content": "The weather in Lisbon?"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "tool_call_id": "1", "content": "18 degrees"},
    ]
    answered = reply(messages=messages, tools=TOOLS)
    assert (answered.tool, answered.text) == (None, "(simulated) The tool answered: “18 degrees”.")


def test_a_json_object_is_one() -> None:
    assert json.loads(reply("A colour?", response_format={"type": "json_object"}).text)["simulated"] is True


def test_json_fits_its_schema_and_holds_the_action_items() -> None:
    item = {
        "type": "object",
        "properties": {
            "owner": {"type": "string"},
            "task": {"type": "string"},
            "due": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
    }
    schema = {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
            "count": {"type": "integer"},
        },
        "$defs": {"Item": item},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "items", "schema": schema}}
    found = json.loads(reply(f"Action items as JSON\n{MEETING}", response_format=wanted).text)
    assert isinstance(found["count"], int)
    assert [entry["owner"] for entry in found["items"]] == ["Bo", "Kim", "Bo"]
    assert [entry["due"] for entry in found["items"]] == ["by Friday", "tomorrow", "this week"]


SCHEMAS = st.recursive(
    st.sampled_from(
        [{"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"enum": [1, "a"]}]
    ),
    lambda inner: st.one_of(
        st.builds(lambda part: {"type": "array", "items": part, "minItems": 2}, inner),
        st.dictionaries(st.text(max_size=5), inner, max_size=3).map(
            lambda parts: {"type": "object", "properties": parts}
        ),
    ),
    max_leaves=8,
)


def fits(value: Any, schema: Any) -> bool:
    if "enum" in schema:
        return value in schema["enum"]
    if schema["type"] == "object":
        parts = schema["properties"]
        return value.keys() == parts.keys() and all(fits(value[name], parts[name]) for name in parts)
    if schema["type"] == "array":
        return len(value) >= 2 and all(fits(part, schema["items"]) for part in value)
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
    return isinstance(value, kinds[schema["type"]])  # type: ignore[arg-type]  # a mix of types and tuples


@given(SCHEMAS, st.text(max_size=40))
def test_values_fit_any_simple_schema(schema: Any, text: str) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert fits(json.loads(reply(text, response_format=wanted).text), schema)


ODD = st.sampled_from(
    [None, True, -1, 10**9, "x", "#/", "#/a/b", [], [None], {}, {"$ref": "#"}, [{"$ref": "#/"}]]
)
KEYWORDS = [
    "$ref",
    "anyOf",
    "enum",
    "items",
    "properties",
    "minItems",
    "maxItems",
    "maxLength",
    "minimum",
    "type",
]


@given(st.dictionaries(st.sampled_from(KEYWORDS), ODD))
def test_odd_schemas_do_no_harm(schema: Any) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    json.loads(reply("What?", response_format=wanted).text)


def test_parts_of_a_message_are_read_together() -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "this?"}, {"type": "image_url"}]
    assert "“What is this?”" in reply(messages=[{"role": "user", "content": parts}]).text
