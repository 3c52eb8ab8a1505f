"""From a class to the JSON schema that is sent for it.

What providers take, and from where that is known:

- Together documents ``{"type": "json_schema", "json_schema": {name, description?, schema, strict?}}`` (types
  of the `together` package 3.1.1), and some of its models answer 400 to a schema that is not nested like that
  (mozilla-ai/any-llm#1270, measured 2026-08-12). It answers with ``strict: true`` (BerriAI/litellm#38269).
- vLLM has the same fields, strict among them (``JsonSchemaResponseFormat``), and decodes by the schema
  whatever strict says. Its default backend reads references, also of a schema to itself
  (vllm-project/vllm#10935, mlc-ai/xgrammar#210); one that never ends breaks the answer halfway
  (vllm-project/vllm#57725).
- OpenAI's strict wants every property required, ``additionalProperties: false`` and nothing beside ``$ref``;
  the `openai` package (3.54, ``lib/_pydantic.py``) changes schemas of classes accordingly, and so do we.
- Other servers read no references (abetlen/llama-cpp-python#1048, ollama/ollama#7993), and Together says
  nothing of them. So those that lead to no recursion are replaced by what they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

Schema = dict[str, Any]

_ONE = ("items", "additionalProperties", "propertyNames", "contains", "not", "if", "then", "else")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_HERE = "#/$defs/"
_MOST_PARTS = 5000
"""Schemas with more parts than this keep their references: replaced, they double with every level."""

_LOOSE = frozenset(
    (
        *("allOf", "oneOf", "not", "if", "prefixItems", "contains", "uniqueItems"),
        *("patternProperties", "propertyNames", "dependentSchemas", "default", "discriminator"),
    )
)
_SAID = ("type", "$ref", "anyOf", "enum", "const")


def sendable(schema: Schema) -> Schema:
    """A schema of pydantic in the form that all providers read: closed, its references replaced."""
    return _inlined(_closed(schema))


def takes_strict(schema: Mapping[str, Any]) -> bool:
    """Whether the schema keeps the rules of ``strict: true``, so that no provider refuses it for that."""
    root = schema.get("type") == "object" and "anyOf" not in schema
    return root and all(_keeps_rules(part) for part in _all_parts(schema))


def endless(schema: Schema) -> tuple[str, ...]:
    """The definitions that no finite value fits, where the schema as a whole needs one; else nothing."""
    definitions: Mapping[str, Any] = schema.get("$defs") or {}
    ending: set[str] = set()
    while True:
        more = {name for name, part in definitions.items() if name not in ending and _ends(part, ending)}
        if not more:
            break
        ending |= more
    return () if _ends(schema, ending) else tuple(name for name in definitions if name not in ending)


def references(schema: Mapping[str, Any]) -> Iterator[str]:
    """Every ``$ref`` in the schema."""
    for part in _all_parts(schema):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]


def _closed(schema: Schema) -> Schema:
    new = _mapped(schema, _closed)
    new.pop("default", None)  # with every property required it says nothing
    new.pop("discriminator", None)
    if "oneOf" in new and "anyOf" not in new:
        new["anyOf"] = new.pop("oneOf")  # the variants of a tagged union exclude each other anyway
    if new.get("type") == "object" and "properties" in new:
        new.setdefault("additionalProperties", False)
        new["required"] = list(new["properties"])
    return new


def _inlined(schema: Schema) -> Schema:
    definitions: dict[str, Schema] = schema.get("$defs") or {}
    kept = {name for name in definitions if name in _reached(definitions[name], definitions)}
    if _size(schema, definitions, kept, {}) > _MOST_PARTS:
        kept = set(definitions)

    def inline(part: Schema) -> Schema:
        name = _name_of(part, definitions)
        if name is None:
            return _mapped(part, inline)
        if name in kept:
            return {"$ref": part["$ref"]}
        beside = {key: value for key, value in part.items() if key not in ("$ref", "$defs")}
        return {**inline(definitions[name]), **beside}

    root = {key: value for key, value in schema.items() if key != "$defs"}
    name = _name_of(root, definitions)
    new = inline(root) if name is None or name not in kept else _mapped(definitions[name], inline)
    if kept:
        new["$defs"] = {name: _mapped(definitions[name], inline) for name in definitions if name in kept}
    return new


def _reached(schema: Schema, definitions: Mapping[str, Schema]) -> set[str]:
    """The definitions that the schema leads to."""
    reached: set[str] = set()
    waiting = [schema]
    while waiting:
        for reference in references(waiting.pop()):
            name = reference.removeprefix(_HERE)
            if name in definitions and name not in reached:
                reached.add(name)
                waiting.append(definitions[name])
    return reached


def _size(schema: Schema, definitions: Mapping[str, Schema], kept: set[str], known: dict[str, int]) -> int:
    """How many parts the schema would have with its references replaced, except those to `kept`."""
    name = _name_of(schema, definitions)
    parts = (part for part in _parts(schema, but="$defs"))
    size = 1 + sum(_size(part, definitions, kept, known) for part in parts)
    if name is None or name in kept:
        return size
    if name not in known:
        known[name] = _size(definitions[name], definitions, kept, known)
    return size + known[name]


def _name_of(schema: Mapping[str, Any], definitions: Mapping[str, Schema]) -> str | None:
    reference = schema.get("$ref")
    name = reference.removeprefix(_HERE) if isinstance(reference, str) else None
    return name if name in definitions else None


def _ends(schema: Mapping[str, Any], ending: set[str]) -> bool:
    """Whether some finite value fits the schema, given that the definitions in `ending` have one."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return reference.removeprefix(_HERE) in ending
    if schema.get("anyOf"):
        return any(_ends(option, ending) for option in schema["anyOf"])
    properties: Mapping[str, Any] = schema.get("properties") or {}
    needed = [properties[name] for name in schema.get("required") or () if name in properties]
    if schema.get("minItems") and isinstance(schema.get("items"), dict):
        needed.append(schema["items"])
    needed += [*(schema.get("prefixItems") or ()), *(schema.get("allOf") or ())]
    return all(_ends(part, ending) for part in needed)


def _keeps_rules(schema: Mapping[str, Any]) -> bool:
    if not _LOOSE.isdisjoint(schema) or not any(key in schema for key in _SAID):
        return False
    if "$ref" in schema and len(schema) > 1:
        return False
    if schema.get("type") != "object":
        return True
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    named = all(name in required for name in cast("Schema", properties))
    return schema.get("additionalProperties") is False and named


def _parts(schema: Mapping[str, Any], but: str = "") -> Iterator[Schema]:
    """The schemas directly beneath. A property may be named like a keyword, so each place is looked up."""
    for key in _ONE:
        if isinstance(schema.get(key), dict):
            yield schema[key]
    for key in _SEVERAL:
        if isinstance(schema.get(key), list):
            yield from (cast("Schema", part) for part in schema[key] if isinstance(part, dict))
    for key in _NAMED:
        if key != but and isinstance(schema.get(key), dict):
            yield from (cast("Schema", part) for part in schema[key].values() if isinstance(part, dict))


def _all_parts(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        yield part
        waiting.extend(_parts(part))


def _mapped(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """A copy of the schema in which `change` was made to each schema directly beneath."""

    def changed(part: Any) -> Any:
        return change(cast("Schema", part)) if isinstance(part, dict) else part

    new = dict(schema)
    for key in _ONE:
        if isinstance(new.get(key), dict):
            new[key] = changed(new[key])
    for key in _SEVERAL:
        if isinstance(new.get(key), list):
            new[key] = [changed(part) for part in new[key]]
    for key in _NAMED:
        if isinstance(new.get(key), dict):
            new[key] = {name: changed(part) for name, part in new[key].items()}
    return new
