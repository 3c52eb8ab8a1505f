"""The value that an answer is read into, and what is said where there is none."""

from __future__ import annotations

import json
import pickle
import sys
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import RootModel
from pydantic_core import to_json

from calls.wanted import Minutes, Mood, Party, Person, Place, Task, shape_of
from hybrid_infer import AnswerFormatError, InvalidCallError
from hybrid_infer.calls.chat import ChatCompletion
from hybrid_infer.calls.structured import Shape, parsed_answer, wire_format


def refused(shape: Shape, text: str | None, **known: Any) -> AnswerFormatError:
    with pytest.raises(AnswerFormatError) as caught:
        shape.parse(text, **known)
    return caught.value


TASKS = st.builds(Task, what=st.text(), owner=st.none() | st.text(), due=st.none() | st.dates())
MINUTES = st.builds(
    Minutes,
    title=st.text(),
    tasks=st.lists(TASKS, max_size=3),
    first=TASKS,
    mood=st.sampled_from(Mood),
    scores=st.dictionaries(st.text(), st.integers(-(2**70), 2**70), max_size=3),
)


@given(
    MINUTES,
    st.sampled_from(["{}", " {}\n", "```json\n{}\n```", "```\n{}```", "<think>so {{}}\n</think>\n{}"]),
)
def test_what_a_value_is_written_as_is_read_back_as_its_equal(value: Minutes, around: str) -> None:
    text = around.format(to_json(value).decode())
    assert shape_of(Minutes).parse(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Person, '{"name": "Ada", "age": 3, "kind": "host"}', Person(name="Ada", age=3, kind="host")),
        (Person, '{"name": "Ada", "age": 3}', Person(name="Ada", age=3)),
        (Task, '{"what": "go", "owner": null, "due": "2026-01-02"}', Task("go", None, date(2026, 1, 2))),
        (Place, '{"city": "Lima", "country": "Peru"}', {"city": "Lima", "country": "Peru"}),
        (RootModel[list[int]], "[1, 2]", RootModel[list[int]]([1, 2])),
    ],
)
def test_an_answer_becomes_what_was_asked_for(kind: Any, text: str, value: Any) -> None:
    parsed = shape_of(kind).parse(text)
    assert parsed == value and type(parsed) is type(value)


def test_json_of_the_providers_own_formats_is_read() -> None:
    assert shape_of({"type": "json_object"}).parse('{"a": [1.5, null]}') == {"a": [1.5, None]}
    own = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}
    assert shape_of(own).parse("[1]") == [1]
    assert refused(shape_of(own), "{}").reasons[0]
    assert wire_format({"type": "text"})[1] is None
    assert wire_format({"type": "regex", "pattern": "a+"})[1] is None


def test_types_and_required_properties_at_the_root_are_checked_without_jsonschema(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    shape = shape_of({"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string"}}})
    assert shape.parse('{"a": 1, "b": 2}') == {"a": 1, "b": 2}  # deeper, it is not
    assert refused(shape, '{"a": 1}').reasons == ("b: Field required",)
    assert refused(shape, "[]").reasons == ("Input should be object",)
    fits: list[tuple[Any, str]] = [
        ("null", "null"), ("boolean", "true"), ("integer", "3"), ("integer", "3.0"), ("number", "3"),
        ("number", "3.5"), ("string", '""'), ("array", "[]"), (["null", "string"], "null"),
    ]  # fmt: skip
    for kind, text in fits:
        assert shape_of({"type": kind}).parse(text) == json.loads(text)
    for kind, text in [("integer", "3.5"), ("integer", "true"), ("object", "null"), (["null"], '"a"')]:
        assert refused(shape_of({"type": kind}), text).reasons


def test_a_schema_is_checked_to_its_depth_with_jsonschema() -> None:
    pytest.importorskip("jsonschema")
    shape = shape_of(
        {
            "type": "object",
            "properties": {"tasks": {"type": "array", "items": {"$ref": "#/$defs/t"}}},
            "$defs": {"t": {"type": "object", "required": ["due"]}},
        }
    )
    assert shape.parse('{"tasks": [{"due": 1}]}') == {"tasks": [{"due": 1}]}
    assert refused(shape, '{"tasks": [{"due": 1}, {}]}').reasons == (
        "tasks[1]: 'due' is a required property",
    )
    with pytest.raises(InvalidCallError, match="not a JSON schema: 3 is not of type"):
        wire_format({"type": "object", "properties": {"a": 3}})
    own = {"type": "json_schema", "json_schema": {"schema": {"$ref": "https://example.com/schema"}}}
    assert refused(shape_of(own), "{}").reasons[0].startswith("the schema cannot be checked: ")


def test_an_answer_that_does_not_fit_tells_its_text_and_every_reason() -> None:
    text = '{"host": {"name": 1, "age": -1}, "guests": [{"name": "a"}]}'
    error = refused(shape_of(Party), text)
    assert error.text == text
    assert error.reasons == (
        "host.name: Input should be a valid string",
        "host.age: Input should be greater than or equal to 0",
        "guests[0].age: Field required",
    )
    assert str(error).startswith("the answer does not fit Party: host.name: Input should be a valid string; ")
    assert "ask again" in str(error)
    assert (error.retryable, error.billed, error.completion) == (True, True, None)
    many = refused(shape_of(RootModel[list[int]]), '["a", "b", "c", "d", "e", "f", "g"]')
    assert len(many.reasons) == 7 and " and 2 more" in str(many)


@pytest.mark.parametrize(
    ("text", "finish", "says"),
    [
        (
            "Sorry, I cannot.",
            "stop",
            "the answer is not JSON: .* → ask again, and tell the model to answer in JSON",
        ),
        ("", "stop", "the answer is empty → ask again"),
        (None, None, "the answer is empty"),
        ("```json\n```", "stop", "the answer is empty"),
        ('{"name": "A', "length", "the answer was cut off before its end → raise max_tokens"),
        ("", "length", "the answer was cut off before its end → raise max_tokens"),
        ("", "content_filter", "the answer is empty → the provider filtered the answer"),
        ("<think>Let me see", "stop", "the answer is a thought without an end"),
        ('{"name": "a", "age": NaN}', "stop", "the answer is not JSON"),
        ('{"name": "\ud800", "age": 1}', "stop", "the answer is not JSON"),
        ("[" * 10_000, "stop", "the answer is not JSON: recursion limit"),
        ('{"name": "```json\\n{\\"name\\": \\"b\\", \\"age\\": 1}\\n```', "stop", "the answer is not JSON"),
    ],
)
def test_what_is_no_json_is_an_error_that_says_what_to_do(
    text: str | None, finish: str | None, says: str
) -> None:
    error = refused(shape_of(Person), text, finish_reason=finish)
    with pytest.raises(AnswerFormatError, match=says):
        raise error
    assert error.text == (text or "") and len(error.reasons) == 1


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"what": "a"}\n```',
        '```JSON {"what": "a"}```',
        'Here it is:\n```\n{"what": "a"}\n```\nAnything else?',
        '```json\n{"what": "a"}',
        '<think>Is it ```json or {"what": "b"}?</think>\n```json\n{"what": "a"}\n```',
        'The user wants JSON.\n</think>\n\n{"what": "a"}',
    ],
)
def test_fences_and_thoughts_are_taken_off(text: str) -> None:
    assert shape_of(Task).parse(text) == Task("a")


@pytest.mark.parametrize("inside", ["```json\n{}\n```", "a</think>b", "<think>", "``` and ```"])
def test_fences_and_thoughts_inside_of_a_value_belong_to_it(inside: str) -> None:
    text = json.dumps({"what": inside})
    assert shape_of(Task).parse(text) == Task(inside)
    assert shape_of(Task).parse(f"```json\n{text}\n```") == Task(inside)
    assert shape_of(Task).parse(f"<think>hm</think>{text}") == Task(inside)
    assert shape_of({"type": "string"}).parse(json.dumps(inside)) == inside


PIECES = st.sampled_from(
    ["{", "}", '"what"', ":", '"a"', "```", "json", "\n", "<think>", "</think>", "1", "[", "]"]
)


@given(st.text() | st.lists(PIECES, max_size=12).map("".join))
def test_whatever_a_model_says_is_a_value_or_one_error(text: str) -> None:
    for shape in (shape_of(Task), shape_of({"type": "object", "required": ["what"]}), Shape()):
        try:
            value = shape.parse(text)
        except AnswerFormatError as error:
            assert error.text == text and error.reasons
        else:
            assert shape.kind is None or isinstance(value, Task)


def answer(finish_reason: str = "stop", **message: Any) -> ChatCompletion:
    return ChatCompletion.model_validate({"choices": [{"message": message, "finish_reason": finish_reason}]})


def test_the_value_of_a_completion_is_read_from_the_choice_asked_for() -> None:
    two = ChatCompletion.model_validate(
        {"choices": [{"message": {"content": '{"what": "a"}'}}, {"message": {"content": '{"what": "b"}'}}]}
    )
    assert parsed_answer(two, shape_of(Task)) == Task("a")
    assert parsed_answer(two, shape_of(Task), choice=1) == Task("b")


def test_a_completion_that_calls_tools_has_no_value() -> None:
    calls = [{"id": "1", "function": {"name": "look", "arguments": "{}"}}]
    assert parsed_answer(answer("tool_calls", content=None, tool_calls=calls), shape_of(Task)) is None


@pytest.mark.parametrize(
    ("completion", "says", "retryable"),
    [
        (
            answer(content=None, refusal="I will not."),
            "the model refused: I will not. → put the request",
            False,
        ),
        (answer("length", content='{"what": '), "cut off before its end → raise max_tokens", True),
        (
            answer("length", content=None, reasoning="Let me"),
            "cut off before its end → raise max_tokens",
            True,
        ),
        (answer(content='{"who": 1}'), "does not fit Task: what: Field required", True),
        (ChatCompletion(choices=[]), "the answer has no choices", True),
    ],
)
def test_a_completion_without_a_value_is_in_the_error(
    completion: ChatCompletion, says: str, retryable: bool
) -> None:
    with pytest.raises(AnswerFormatError, match=says) as caught:
        parsed_answer(completion, shape_of(Task))
    assert caught.value.completion is completion
    assert caught.value.retryable is retryable


def test_errors_and_shapes_survive_pickling() -> None:
    error = refused(shape_of(Party), "{}", completion=answer(content="{}"))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.text, again.reasons) == (str(error), error.text, error.reasons)
    assert again.completion == error.completion
    for wanted in (Party, {"type": "object"}):
        assert pickle.loads(pickle.dumps(shape_of(wanted))) == shape_of(wanted)
