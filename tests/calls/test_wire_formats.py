"""What is sent for `response_format`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel, TypeAdapter

from calls.wanted import (
    Circle,
    Dog,
    Endless,
    HasOpaque,
    Holding,
    Hooked,
    Minutes,
    Node,
    Owner,
    Party,
    Person,
    Place,
    Task,
    Unnamed,
    schema_of,
    shape_of,
)
from hybrid_infer import AnswerFormatError, InvalidCallError
from hybrid_infer.calls.schemas import references, sendable
from hybrid_infer.calls.structured import wire_format


def test_a_class_is_sent_nested_named_strict_and_closed() -> None:
    assert wire_format(Party)[0] == {
        "type": "json_schema",
        "json_schema": {
            "name": "Party",
            "strict": True,
            "schema": {
                "title": "Party",
                "description": "Who comes.",
                "type": "object",
                "additionalProperties": False,
                "required": ["host", "guests"],
                "properties": {
                    "host": {**person(), "description": "who invites"},
                    "guests": {"title": "Guests", "type": "array", "items": person()},
                },
            },
        },
    }


def person() -> dict[str, Any]:
    return {
        "title": "Person",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "age", "kind"],
        "properties": {
            "name": {"title": "Name", "type": "string"},
            "age": {"title": "Age", "type": "integer", "minimum": 0, "description": "in years"},
            "kind": {"title": "Kind", "type": "string", "enum": ["guest", "host"]},
        },
    }


@pytest.mark.parametrize("kind", [Minutes, Party, Task, Place, Person, Owner])
def test_no_reference_is_left_where_nothing_refers_to_itself(kind: Any) -> None:
    schema = schema_of(kind)
    assert list(references(schema)) == [] and "$defs" not in schema


def test_a_recursive_class_keeps_only_the_references_that_it_needs() -> None:
    schema = schema_of(Node)
    assert schema["type"] == "object"
    assert set(references(schema)) == {"#/$defs/Node"} and set(schema["$defs"]) == {"Node"}
    assert wire_format(Node)[0]["json_schema"]["strict"] is True
    text = '{"label": "a", "left": null, "children": [{"label": "b", "left": null, "children": []}]}'
    assert shape_of(Node).parse(text) == Node(label="a", children=[Node(label="b")])


def test_a_tagged_union_is_sent_without_its_tag_table() -> None:
    pet = schema_of(Owner)["properties"]["pet"]
    assert [option["title"] for option in pet["anyOf"]] == ["Cat", "Dog"]
    assert pet.keys() == {"anyOf", "title"}
    assert shape_of(Owner).parse('{"pet": {"is_a": "dog", "tricks": []}}').pet == Dog(is_a="dog", tricks=[])


def test_what_strict_forbids_is_sent_without_strict() -> None:
    """A map may have any keys, so the field of it cannot be closed."""
    named = wire_format(Minutes)[0]["json_schema"]
    assert "strict" not in named
    assert named["schema"]["properties"]["scores"]["additionalProperties"] == {"type": "integer"}
    assert named["schema"]["additionalProperties"] is False


def test_properties_named_like_keywords_are_no_keywords() -> None:
    class Odd(BaseModel):
        default: int
        items: str
        properties: dict[str, str]
        oneOf: str

    schema = schema_of(Odd)
    assert list(schema["properties"]) == ["default", "items", "properties", "oneOf"]
    assert schema["required"] == list(schema["properties"])


def test_references_stay_where_replacing_them_would_double_the_schema_at_every_level() -> None:
    schema: dict[str, Any] = {"$defs": {"L0": {"type": "string"}}, "$ref": "#/$defs/L40"}
    for level in range(1, 41):
        below = {"$ref": f"#/$defs/L{level - 1}"}
        schema["$defs"][f"L{level}"] = {"type": "object", "properties": {"a": below, "b": below}}
    sent = sendable(schema)
    assert len(json.dumps(sent)) < 10_000
    assert len(sent["$defs"]) == 41 and sent["required"] == ["a", "b"]


def test_the_schema_of_a_class_is_made_once() -> None:
    assert wire_format(Party)[0] is wire_format(Party)[0]


def test_names_are_what_providers_allow() -> None:
    class Página(BaseModel):
        x: int

    assert wire_format(RootModel[list[Person]])[0]["json_schema"]["name"] == "RootModel_list_Person"
    assert wire_format(Página)[0]["json_schema"]["name"] == "P_gina"
    assert wire_format({"type": "object", "title": "¡!"})[0]["json_schema"]["name"] == "answer"
    assert len(wire_format({"type": "object", "title": "x" * 99})[0]["json_schema"]["name"]) == 64


def test_the_providers_own_formats_are_sent_as_they_are() -> None:
    for given_format in (
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_object", "schema": {"type": "object"}},
        {"type": "regex", "pattern": "a+"},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"oneOf": []}, "strict": False}},
        {"type": "json_schema"},
    ):
        assert wire_format(given_format)[0] is given_format


def test_a_bare_schema_is_sent_as_it_is_under_its_title() -> None:
    schema = {"title": "Point", "type": "object", "properties": {"x": {"type": "number", "default": 0}}}
    sent, shape = wire_format(schema)
    assert sent == {"type": "json_schema", "json_schema": {"name": "Point", "schema": schema}}
    assert shape is not None and shape.parse('{"x": 1}') == {"x": 1}
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    assert wire_format(closed)[0]["json_schema"]["strict"] is True


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (
            Hooked,
            r"response_format=Hooked: no JSON schema can be made of its field 'on_end': Cannot generate",
        ),
        (Holding, r"no JSON schema can be made of its field 'inner\.on_end'"),
        (HasOpaque, r"no JSON schema can be made of its field 'what': Unable to generate"),
        (Unnamed, r"response_format=Unnamed: no JSON schema can be made of it: .* not fully defined"),
        (Endless, r"no finite answer fits it, since each Endless holds another; let the field be None"),
        (Circle, r"no finite answer fits it, since each Circle holds another"),
        (Person(name="a", age=1), r"must be a class .*; give the class Person"),
        (int, r"<class 'int'>: must be a class \(a pydantic model, dataclass or TypedDict\), a JSON schema"),
        (list[int], r"list\[int\]: must be a class"),
        ("json", r"'json': must be a class"),
        ({}, r"neither a JSON schema nor the provider's own format, which have a type; it holds nothing"),
        ({"name": "x", "schema": {}}, r"it holds name, schema"),
        ({"type": ["object", "nul"]}, r"not a JSON schema: type 'nul' is none of object, array"),
        (
            {"$ref": "https://example.com/s"},
            r"refers to 'https://example\.com/s'; put what it means into \$defs",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_sent_is_an_error_that_names_it(kind: Any, says: str) -> None:
    with pytest.raises(InvalidCallError, match=says):
        wire_format(kind)


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["object", "#/$defs/a", "a", "https://x", "json_schema"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "items", "anyOf", "$ref", "$defs", "$schema", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(ODD, ODD)
def test_whatever_is_given_is_sent_or_refused(asked: Any, value: Any) -> None:
    try:
        sent, shape = wire_format(asked)
    except InvalidCallError as error:
        assert "response_format" in str(error)
        return
    assert sent["type"]
    try:
        if shape is not None:
            shape.parse(json.dumps(value))
    except AnswerFormatError as error:
        assert error.reasons


def test_a_schema_sent_takes_what_the_class_writes() -> None:
    """Every required field of the schema is one that the class writes."""
    written = json.loads(TypeAdapter(Minutes).dump_json(Minutes("t", [Task("a")], Task("b"))))
    schema = schema_of(Minutes)
    assert set(schema["required"]) == set(written)
    assert set(schema["properties"]["first"]["required"]) == set(written["first"])
