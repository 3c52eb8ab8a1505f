"""Messages in the shape of the semantic conventions: a role and typed parts. Pure.

The shape is that of the JSON schemas of `gen_ai.input.messages` and `gen_ai.output.messages` (2026-08):
``{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}``. What the conventions have no part for
keeps its own type and fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeGuard

from pydantic_core import from_json, to_json

Json: TypeAlias = Any
Part = dict[str, Json]
Message = dict[str, Json]


def is_object(value: Json) -> TypeGuard[dict[str, Json]]:
    """Whether a piece of JSON is an object."""
    return isinstance(value, dict)


def _is_array(value: Json) -> TypeGuard[list[Json]]:
    return isinstance(value, list)


_FINISH: Mapping[str, str] = {"tool_calls": "tool_call", "function_call": "tool_call"}
_TOOL_ROLES = ("tool", "function")


def input_messages(messages: object) -> list[Message]:
    """The conversation that was sent, in messages of OpenAI's shape, as new data.

    Raises:
        ValueError, TypeError: it has no form as JSON.
    """
    plain: Json = from_json(to_json(messages, exclude_none=True))
    return [_message(one) for one in plain if is_object(one)]


def output_messages(completion: object) -> list[Message]:
    """A message for each choice of a completion, whole or as far as it came."""
    plain: Json = from_json(to_json(completion, exclude_none=True))
    found: list[Message] = []
    for choice in plain.get("choices") or ():
        message = _message(choice.get("message") or {}, role="assistant")
        reason = choice.get("finish_reason") or "error"
        message["finish_reason"] = _FINISH.get(reason, reason)
        found.append(message)
    return found


def _message(message: Message, role: str = "user") -> Message:
    role = str(message.get("role") or role)
    found: Message = {"role": role, "parts": []}
    if message.get("name"):
        found["name"] = message["name"]
    parts: list[Part] = found["parts"]
    content = message.get("content")
    if role in _TOOL_ROLES:
        response: Part = {"type": "tool_call_response", "response": content}
        if message.get("tool_call_id"):
            response["id"] = message["tool_call_id"]
        parts.append(response)
        return found
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    if reasoning:
        parts.append({"type": "reasoning", "content": reasoning})
    if isinstance(content, str):
        if content:
            parts.append({"type": "text", "content": content})
    elif _is_array(content):
        parts.extend(_part(part) for part in content)
    if message.get("refusal"):
        parts.append({"type": "refusal", "content": message["refusal"]})
    calls = message.get("tool_calls") or ()
    if message.get("function_call"):
        calls = (*calls, {"function": message["function_call"]})
    parts.extend(_tool_call(call) for call in calls)
    return found


def _tool_call(call: Json) -> Part:
    if not is_object(call):
        return {"type": "tool_call", "name": "", "arguments": call}
    function: Json = call.get("function") or {}
    found: Part = {"type": "tool_call", "name": function.get("name") or ""}
    if call.get("id"):
        found["id"] = call["id"]
    arguments: Json = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = from_json(arguments) if arguments else None
        except ValueError:
            pass  # as the model wrote it: streams that broke end in the middle
    if arguments is not None:
        found["arguments"] = arguments
    return found


def _part(part: Json) -> Part:
    if isinstance(part, str):
        return {"type": "text", "content": part}
    if not is_object(part):
        return {"type": "other", "content": part}
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "content": part.get("text") or ""}
    make = _PARTS.get(str(kind))
    found = make(part) if make is not None else None
    return found if found is not None else {**part, "type": str(kind or "other")}


def _linked(modality: str) -> Callable[[Part], Part | None]:
    """A part with an address: of something elsewhere, or a ``data:`` address that is the thing itself."""

    def read(part: Part) -> Part | None:
        held = part.get(f"{modality}_url")
        url = held.get("url") if is_object(held) else held
        return None if not isinstance(url, str) else _at(modality, url)

    return read


def _at(modality: str, url: str) -> Part:
    if not url.startswith("data:"):
        return {"type": "uri", "modality": modality, "uri": url}
    kind, _, data = url.removeprefix("data:").partition(",")
    mime = kind.partition(";")[0]
    return {"type": "blob", "modality": modality, "mime_type": mime or "text/plain", "content": data}


def _audio(part: Part) -> Part | None:
    audio = part.get("input_audio")
    if not is_object(audio):
        return None
    mime = f"audio/{audio.get('format') or 'wav'}"
    return {"type": "blob", "modality": "audio", "mime_type": mime, "content": audio.get("data") or ""}


def _file(part: Part) -> Part | None:
    file = part.get("file")
    if not is_object(file):
        return None
    if file.get("file_id"):
        return {"type": "file", "modality": "document", "file_id": file["file_id"]}
    data = file.get("file_data")
    return _at("document", data) if isinstance(data, str) else None


_PARTS: Mapping[str, Callable[[Part], Part | None]] = {
    "image_url": _linked("image"),
    "video_url": _linked("video"),
    "audio_url": _linked("audio"),
    "input_audio": _audio,
    "file": _file,
}
