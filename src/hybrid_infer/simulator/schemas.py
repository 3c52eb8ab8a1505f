"""Values that fit a simple JSON schema, made from the request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hybrid_infer.simulator.shapes import field_of, is_list, is_object, object_or_empty

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"[\"“]([^\"”]{1,80})[\"”]")
_CAPITALISED = re.compile(r"(?<![.!?\n] )(?<!^)\b[A-ZÀ-Þ][\w-]+(?:\s+[A-ZÀ-Þ][\w-]+)*", re.MULTILINE)
_DEEPEST = 8
_MOST_ELEMENTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What values are made from.

    Attributes:
        question: the user's own words.
        text: for strings that no other field fits.
        rows: for arrays of objects: one element each, filled by the names of its properties.
        lines: for arrays of strings.
    """

    question: str
    text: str
    rows: Sequence[Mapping[str, str]] = ()
    lines: Sequence[str] = ()


def fill(schema: Mapping[str, Any], material: Material) -> Any:
    """A value for the schema: its types, properties, items, sizes, enum, const and references are heeded."""
    return _Filling(material, schema).value(schema, "", {}, _DEEPEST)


class _Filling:
    def __init__(self, material: Material, root: Mapping[str, Any]) -> None:
        self._material = material
        self._root = root

    def value(self, schema: Mapping[str, Any], name: str, row: Mapping[str, str], depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if is_list(choices := schema.get("enum")) and choices:
            return self._chosen(choices)
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, row, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in ("number", "integer"):
            return self._number(schema, kind)
        if kind == "boolean":
            return True
        if kind == "null":
            return None
        return self._string(schema, name, row)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema behind a reference into the same document, or the first real alternative."""
        for _ in range(_DEEPEST):
            reference = schema.get("$ref")
            options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
            if isinstance(reference, str) and reference.startswith("#/"):
                found: object = self._root
                for step in reference[2:].split("/"):
                    found = field_of(found, step)
                schema = object_or_empty(found)
            elif is_list(options):
                real = [part for part in options if is_object(part) and part.get("type") != "null"]
                schema = real[0] if real else {}
            else:
                break
        return schema

    def _object(self, schema: Mapping[str, Any], row: Mapping[str, str], depth: int) -> dict[str, Any]:
        if depth == 0:
            return {}
        parts = object_or_empty(schema.get("properties"))
        return {name: self.value(object_or_empty(part), name, row, depth - 1) for name, part in parts.items()}

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        if depth == 0:
            return []
        least, most = _size(schema, "minItems", 1), _size(schema, "maxItems", _MOST_ELEMENTS)
        element = self._resolved(object_or_empty(schema.get("items")))
        values: list[Any] = []
        if _kind(element) == "object":
            values = [self.value(element, name, row, depth - 1) for row in self._material.rows[:most]]
        elif _kind(element) == "string" and "enum" not in element:
            values = list(self._material.lines)
        while len(values) < least:
            values.append(self.value(element, name, {}, depth - 1))
        return values[:most]

    def _number(self, schema: Mapping[str, Any], kind: str) -> int | float:
        found = _NUMBER.search(self._material.question)
        value = float(found[0]) if found else 1.0
        low, high = schema.get("minimum"), schema.get("maximum")
        value = max(value, low) if isinstance(low, int | float) else value
        value = min(value, high) if isinstance(high, int | float) else value
        return int(value) if kind == "integer" else value

    def _chosen(self, choices: Sequence[Any]) -> Any:
        question = self._material.question.lower()
        return next((c for c in choices if isinstance(c, str) and c.lower() in question), choices[0])

    def _string(self, schema: Mapping[str, Any], name: str, row: Mapping[str, str]) -> str:
        words = set(re.split(r"[^a-z]+", name.lower()))
        value = next((value for key, value in row.items() if words & set(key.split("|"))), None)
        if value is None:
            value = next(iter(row.values()), None) or subject(self._material.question) or self._material.text
        longest = schema.get("maxLength")
        return value[:longest] if isinstance(longest, int) else value


def subject(question: str) -> str | None:
    """What a short question is about: something quoted, a name, or its last long word."""
    if len(question) > 400:
        return None
    quoted = _QUOTED.search(question)
    if quoted:
        return quoted[1]
    named = _CAPITALISED.search(question)
    if named:
        return named[0]
    words = re.findall(r"[\w-]{4,}", question)
    return words[-1] if words else None


def _size(schema: Mapping[str, Any], name: str, default: int) -> int:
    value = schema.get(name)
    return max(0, min(value, _MOST_ELEMENTS)) if isinstance(value, int) else default


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if is_list(kind):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else "string"
