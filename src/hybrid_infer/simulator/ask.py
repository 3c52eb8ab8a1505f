"""Ask: a chat request as the simulated providers understand it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from hybrid_infer.simulator.shapes import field_of, is_list, is_object, object_or_empty

CONTEXT = 131_072
"""Tokens of prompt and answer together that every simulated model takes."""

CHARACTERS_PER_TOKEN = 4
"""About right for English. Used for prompts and answers alike, so that the counts fit each other."""

_MESSAGE_TOKENS = 4
_PICTURE_TOKENS = 256
_MOST_CHOICES = 16


class NotAcceptedError(Exception):
    """The request is wrong. `param` is the field, `code` the provider's word for it."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message; the texts of a list of parts are joined."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function the model may call; `parameters` is its JSON schema."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked.

    Attributes:
        limit: most tokens of one choice.
        tool: ``"auto"``, ``"none"``, ``"required"`` or the name of the one to call.
        schema: of the JSON that is wanted; empty for any object, None for text.
        include_usage: OpenAI's ``stream_options``.
        garbled: the model does not know it for a conversation (see `simulator.served`).
    """

    model: str | None
    messages: tuple[Message, ...]
    input_tokens: int
    stream: bool
    include_usage: bool
    choices: int
    limit: int
    stop: tuple[str, ...]
    tools: tuple[Tool, ...]
    tool: str
    schema: dict[str, Any] | None
    garbled: bool = False


def tokens_of(text: str) -> int:
    """Tokens of a text."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def cut(text: str) -> tuple[str, ...]:
    """A text as its tokens; at least one, which may be empty."""
    step = CHARACTERS_PER_TOKEN
    return tuple(text[at : at + step] for at in range(0, len(text), step)) or ("",)


def read(body: bytes) -> Ask:
    """Read a request's body.

    Raises:
        NotAcceptedError: it is not JSON, lacks messages, or a field has the wrong type or size.
    """
    try:
        wire: Any = from_json(body)
    except ValueError:
        raise NotAcceptedError("The body is not valid JSON.", code="invalid_json") from None
    fields = _object(wire, "The body is not a JSON object.", None)
    messages = tuple(_message(entry) for entry in _list(fields.get("messages"), "messages"))
    if not messages:
        raise NotAcceptedError('"messages" must hold at least one message.', param="messages")
    tools = tuple(_tool(entry) for entry in _list(fields.get("tools") or [], "tools"))
    said = sum(tokens_of(message.text) + _MESSAGE_TOKENS for message in messages)
    described = tokens_of(to_json(fields["tools"]).decode()) if tools else 0
    input_tokens = said + described + _PICTURE_TOKENS * _pictures(fields["messages"])
    served = object_or_empty(fields.get("simulated"))
    context = served.get("context") or CONTEXT
    room = context - input_tokens
    limit = _whole(fields, "max_completion_tokens") or _whole(fields, "max_tokens")
    if room < 1 or (limit is not None and limit > room):
        raise NotAcceptedError(
            f"The prompt has {input_tokens} tokens and max_tokens is {limit}; "
            f"together they must not exceed the context of {context} tokens.",
            param="max_tokens" if room >= 1 else "messages",
            code="context_length_exceeded",
        )
    choices = _whole(fields, "n") or 1
    if choices > _MOST_CHOICES:
        raise NotAcceptedError(f'"n" must not exceed {_MOST_CHOICES}.', param="n")
    return Ask(
        model=_text(fields, "model"),
        messages=messages,
        input_tokens=input_tokens,
        stream=bool(fields.get("stream")),
        include_usage=field_of(fields.get("stream_options"), "include_usage") is True,
        choices=choices,
        limit=room if limit is None else limit,
        stop=_stop(fields.get("stop")),
        tools=tools,
        tool=_chosen(fields.get("tool_choice"), tools),
        schema=_schema(fields.get("response_format")),
        garbled=served.get("template") == "wrong",
    )


def _object(value: Any, message: str, param: str | None) -> dict[str, Any]:
    if not is_object(value):
        raise NotAcceptedError(message, param=param)
    return value


def _list(value: Any, name: str) -> Sequence[Any]:
    if not is_list(value):
        raise NotAcceptedError(f'"{name}" must be a list.', param=name)
    return value


def _text(fields: dict[str, Any], name: str) -> str | None:
    value: Any = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise NotAcceptedError(f'"{name}" must be a string.', param=name)
    return value or None


def _whole(fields: dict[str, Any], name: str) -> int | None:
    value: Any = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise NotAcceptedError(f'"{name}" must be a whole number above 0.', param=name)
    return value


def _message(entry: Any) -> Message:
    fields = _object(entry, "A message must be an object.", "messages")
    role, content = fields.get("role"), fields.get("content")
    if not isinstance(role, str):
        raise NotAcceptedError("A message must have a role.", param="messages")
    if is_list(content):
        texts = [part if isinstance(part, str) else field_of(part, "text") for part in content]
        return Message(role=role, text="\n".join(text for text in texts if isinstance(text, str)))
    if content is not None and not isinstance(content, str):
        raise NotAcceptedError("A message's content must be a string or a list of parts.", param="messages")
    return Message(role=role, text=content or "")


def _pictures(messages: Sequence[Any]) -> int:
    """Parts of messages that are no text, each counted alike."""
    contents = [field_of(message, "content") for message in messages]
    parts = [part for content in contents if is_list(content) for part in content]
    return sum(is_object(part) and part.get("text") is None for part in parts)


def _tool(entry: Any) -> Tool:
    function = object_or_empty(field_of(entry, "function"))
    name, description = function.get("name"), function.get("description")
    if not isinstance(name, str) or not name:
        raise NotAcceptedError("A tool must be a function with a name.", param="tools")
    return Tool(
        name=name,
        description=description if isinstance(description, str) else "",
        parameters=object_or_empty(function.get("parameters")),
    )


def _chosen(choice: Any, tools: Sequence[Tool]) -> str:
    name = field_of(choice.get("function"), "name") if is_object(choice) else choice
    if not isinstance(name, str):
        return "auto"
    if name not in {"auto", "none", "required", *(tool.name for tool in tools)}:
        raise NotAcceptedError(
            f'"tool_choice" names {name!r}, which is not among the tools.', param="tool_choice"
        )
    return name


def _stop(value: Any) -> tuple[str, ...]:
    given = value if is_list(value) else [value]
    return tuple(text for text in given if isinstance(text, str) and text)


def _schema(wanted: Any) -> dict[str, Any] | None:
    kind = field_of(wanted, "type")
    if kind == "json_object":
        return object_or_empty(field_of(wanted, "schema"))
    if kind == "json_schema":
        return object_or_empty(field_of(field_of(wanted, "json_schema"), "schema"))
    return None
