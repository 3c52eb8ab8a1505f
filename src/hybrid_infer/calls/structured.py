"""Answers in a format of the caller: from `response_format` to what is sent, and back to a value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from dataclasses import fields as fields_of
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import is_typeddict

from hybrid_infer.calls.schemas import endless, references, sendable, takes_strict
from hybrid_infer.errors import AnswerFormatError, InvalidCallError

if TYPE_CHECKING:
    from hybrid_infer.calls.chat import ChatCompletion

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_KEYWORDS = ("properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const")
_MOST_REASONS = 5
"""As many are written into the message; the error holds all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the text of an answer is read into.

    Attributes:
        kind: the class whose instance it becomes (for a TypedDict a dict); None for plain JSON.
        required: an answer that does not fit is an error of the call. False for the provider's own formats,
            whose answers are handed over whatever they are, as its package does.
        schema: the JSON schema that plain JSON has to fit; an empty one takes any.
    """

    kind: Any = None
    required: bool = True
    schema: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def parse(
        self, text: str | None, *, finish_reason: str | None = None, completion: ChatCompletion | None = None
    ) -> Any:
        """The value in the answer. Thoughts (``<think>``) before it and a fence around it are taken off.

        Plain JSON is checked against its schema with the `jsonschema` package (extra ``schemas``). Without
        it, only the type and the required properties at the root are.

        Args:
            text: the content of the message.
            finish_reason, completion: of the answer, for the error.

        Raises:
            AnswerFormatError: it is no JSON, or does not fit; with all reasons.
        """
        said = text or ""
        content = _unwrapped(said)
        try:
            plain: Any = from_json(content, allow_inf_nan=False)
        except (ValueError, TypeError) as error:  # TypeError for half of a surrogate pair
            what = _not_json(said, content, str(error), finish_reason)
            raise _unfit(what, said, (), finish_reason, completion) from None
        if self.kind is None:
            reasons = _misfits(plain, self.schema)
            value = plain
        else:
            try:
                return _adapter(self.kind).validate_json(content)
            except ValidationError as error:
                found = error.errors(include_url=False, include_context=False, include_input=False)
                reasons = tuple(_reason(entry["loc"], entry["msg"]) for entry in found)
                value = None
        if reasons:
            named = self.kind.__name__ if self.kind is not None else "the schema"
            raise _unfit(f"the answer does not fit {named}", said, reasons, finish_reason, completion)
        return value


def wire_format(response_format: Any) -> tuple[Mapping[str, Any], Shape | None]:
    """What is sent for `response_format`, and what the answer is read into; None where it stays text.

    - A class (pydantic model, dataclass, TypedDict): its schema (see `calls.schemas`). All fields are
      required, those with a default too: a field that may be empty is one that allows None.
    - A JSON schema: sent as it is. Its name is its title.
    - The provider's own ``{"type": "json_schema" | "json_object" | …}``: passed untouched.

    ``strict: true`` goes with a schema that keeps its rules, since providers may refuse another for it.

    Raises:
        InvalidCallError: no schema can be made of it, or it is none.
    """
    if isinstance(response_format, Mapping):
        return _of_mapping(cast("Mapping[str, Any]", response_format))
    if _is_described(response_format):
        return _of_class(response_format)
    given = cast("object", response_format)
    hint = f"; give the class {type(given).__name__}" if isinstance(given, BaseModel) else ""
    raise InvalidCallError(
        f"response_format={given!r:.100}: must be a class (a pydantic model, dataclass or TypedDict), a JSON "
        f"schema, or the provider's own dict{hint}"
    )


def parsed_answer(completion: ChatCompletion, shape: Shape, *, choice: int = 0) -> Any:
    """The value in one of the answers; None where the model calls tools instead.

    Raises:
        AnswerFormatError: there is none: it was cut off or refused, is empty, is no JSON, or does not fit.
            Its `completion` is the whole answer.
    """
    if choice >= len(completion.choices):
        raise _unfit("the answer has no choices", "", (), None, completion)
    chosen = completion.choices[choice]
    message, finish = chosen.message, chosen.finish_reason
    if not message.content:
        if message.refusal:
            raise AnswerFormatError(
                f"the model refused: {message.refusal}",
                text=message.refusal,
                reasons=("the model refused",),
                partial=completion,
                retryable=False,
                hint="put the request differently, or ask another model",
            )
        if message.tool_calls:
            return None
    return shape.parse(message.content, finish_reason=finish, completion=completion)


def _of_mapping(given: Mapping[str, Any]) -> tuple[Mapping[str, Any], Shape | None]:
    kind = given.get("type")
    if isinstance(kind, str) and kind not in _TYPES:
        if kind == "json_schema":
            return given, Shape(schema=_within(_within(given, "json_schema"), "schema"), required=False)
        if kind == "json_object":
            return given, Shape(schema=_within(given, "schema"), required=False)
        return given, None
    if not isinstance(kind, str | list) and not any(key in given for key in _KEYWORDS):
        keys = ", ".join(str(key) for key in given) or "nothing"
        raise InvalidCallError(
            f"response_format: neither a JSON schema nor the provider's own format, which have a type; it "
            f"holds {keys}"
        )
    _check_schema(given)
    title = given.get("title")
    wire = {"name": _name(title if isinstance(title, str) else ""), "schema": dict(given)}
    return _wire(wire), Shape(schema=given)


def _within(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = given.get(key)
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _is_described(kind: Any) -> bool:
    """Whether it is a class that says which fields it has."""
    return isinstance(kind, type) and (
        issubclass(kind, BaseModel) or is_dataclass(cast("Any", kind)) or is_typeddict(cast("Any", kind))
    )


@lru_cache(maxsize=256)
def _of_class(kind: Any) -> tuple[Mapping[str, Any], Shape]:
    try:
        schema = sendable(_adapter(kind).json_schema())
    except (PydanticUserError, NameError) as error:
        name = _unsendable_field(kind, (kind,))
        reason = str(error).partition("\n")[0]
        raise InvalidCallError(
            f"response_format={kind.__name__}: no JSON schema can be made of "
            f"{f'its field {name!r}' if name else 'it'}: {reason}"
        ) from error
    unending = endless(schema)
    if unending:
        raise InvalidCallError(
            f"response_format={kind.__name__}: no finite answer fits it, since each {' and '.join(unending)} "
            f"holds another; let the field be None (`| None`), or a list"
        )
    return _wire({"name": _name(kind.__name__), "schema": schema}), Shape(kind=kind)


@lru_cache(maxsize=256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _wire(named: dict[str, Any]) -> Mapping[str, Any]:
    strict = {"strict": True} if takes_strict(named["schema"]) else {}
    return {"type": "json_schema", "json_schema": {**named, **strict}}


def _name(text: str) -> str:
    """Letters, digits, underscores and dashes, 64 at most (types of the `together` package 3.1.1)."""
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", text).strip("_")[:64] or "answer"


def _unsendable_field(kind: Any, within: tuple[Any, ...]) -> str | None:
    """The path of the first field that has no schema; None where it cannot be told."""
    for name, hint in _hints(kind).items():
        try:
            TypeAdapter(hint).json_schema()
        except (PydanticUserError, NameError):
            for inner in (hint, *get_args(hint)):
                if inner not in within:
                    deeper = _unsendable_field(inner, (*within, inner))
                    if deeper is not None:
                        return f"{name}.{deeper}"
            return name
    return None


def _hints(kind: Any) -> dict[str, Any]:
    if not _is_described(kind):
        return {}
    if issubclass(kind, BaseModel):
        return {name: known.annotation for name, known in kind.model_fields.items()}
    try:
        hints = get_type_hints(kind, include_extras=True)
    except NameError:
        return {}
    return {f.name: hints[f.name] for f in fields_of(kind)} if is_dataclass(kind) else hints


def _check_schema(schema: Mapping[str, Any]) -> None:
    for kind in _types(schema):
        if kind not in _TYPES:
            raise InvalidCallError(
                f"response_format: not a JSON schema: type {kind!r} is none of {', '.join(_TYPES)}"
            )
    for reference in references(schema):
        if not reference.startswith("#"):  # nothing is fetched for a check, and providers do not either
            raise InvalidCallError(
                f"response_format: the schema refers to {reference!r}; put what it means into $defs"
            )
    try:
        validator = _validator(schema)
        if validator is not None:
            validator.check_schema(schema)
    except Exception as error:
        raise InvalidCallError(f"response_format: not a JSON schema: {_first_line(error)}") from error


def _validator(schema: Mapping[str, Any]) -> Any:
    """A validator of the `jsonschema` package that fetches nothing; None where it is not installed."""
    try:
        jsonschema, referencing = import_module("jsonschema"), import_module("referencing")
    except ImportError:
        return None
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return kind(schema, registry=referencing.Registry())


def _misfits(value: Any, schema: Mapping[str, Any]) -> tuple[str, ...]:
    if not schema:
        return ()
    try:
        validator = _validator(schema)
        if validator is not None:
            return tuple(
                _reason(found.absolute_path, found.message) for found in validator.iter_errors(value)
            )
    except Exception as error:  # a schema that is none, which the provider did not mind
        return (f"the schema cannot be checked: {_first_line(error)}",)
    return _misfits_at_root(value, schema)


def _misfits_at_root(value: Any, schema: Mapping[str, Any]) -> tuple[str, ...]:
    kinds = _types(schema)
    if kinds and not any(_is(value, kind) for kind in kinds):
        return (f"Input should be {' or '.join(str(kind) for kind in kinds)}",)
    if not isinstance(value, dict) or not isinstance(schema.get("required"), list):
        return ()
    names = [name for name in schema["required"] if isinstance(name, str)]
    return tuple(f"{name}: Field required" for name in names if name not in value)


def _types(schema: Mapping[str, Any]) -> list[object]:
    given = schema.get("type")
    if given is None:
        return []
    return cast("list[object]", given) if isinstance(given, list) else [given]


def _is(value: object, kind: object) -> bool:
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    if isinstance(value, float):
        return kind == "number" or (kind == "integer" and value.is_integer())
    if isinstance(value, int):
        return kind in ("number", "integer")
    return kind == ("string" if isinstance(value, str) else "array" if isinstance(value, list) else "object")


def _unwrapped(text: str) -> str:
    """The JSON in the text, where it is not all of it: after a thought, in a fence."""
    content = text.strip()
    if content.startswith(("{", "[")):
        return content
    # Templates of some models open the thought in the prompt, so that only its end is in the answer.
    _, ended, rest = content.partition("</think>")
    if ended and not content.startswith("```") and not _reads(content):
        content = rest.strip()
    _, fence, fenced = content.partition("```")
    if not fence or _reads(content):
        return content
    inside, closed, _ = fenced.rpartition("```")
    return re.sub(r"\A *(json)?\b", "", inside if closed else fenced, flags=re.IGNORECASE).strip()


def _reads(text: str) -> bool:
    try:
        from_json(text)
    except (ValueError, TypeError):
        return False
    return True


def _not_json(text: str, content: str, reason: str, finish_reason: str | None) -> str:
    if finish_reason == "length":
        return "the answer was cut off before its end"
    if text.lstrip().startswith("<think>") and "</think>" not in text:
        return "the answer is a thought without an end"
    if not content:
        return "the answer is empty"
    return f"the answer is not JSON: {reason}"


def _unfit(
    what: str,
    text: str,
    reasons: tuple[str, ...],
    finish_reason: str | None,
    completion: ChatCompletion | None,
) -> AnswerFormatError:
    if finish_reason == "length":
        hint = "raise max_tokens, or ask for less"
    elif finish_reason == "content_filter":
        hint = "the provider filtered the answer: put the request differently"
    elif reasons:
        hint = "ask again, or describe the fields to the model: the text is in error.text"
    else:
        hint = "ask again, and tell the model to answer in JSON only: the text is in error.text"
    listed = "; ".join(reasons[:_MOST_REASONS])
    more = f" and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
    return AnswerFormatError(
        f"{what}: {listed}{more}" if reasons else what,
        text=text,
        reasons=reasons or (what,),
        partial=completion,
        hint=hint,
    )


def _reason(path: Iterable[str | int], message: str) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return f"{place}: {message}" if place else message


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
