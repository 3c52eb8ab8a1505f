"""What is recorded of messages, where the standard variable asks for it: redacted, then cut to a size."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from pydantic_core import to_json

from hybrid_infer.telemetry.messages import Message, input_messages, is_object, output_messages
from hybrid_infer.telemetry.names import CAPTURE_CONTENT

log = logging.getLogger("hybrid_infer")

Redact: TypeAlias = Callable[[list[Message]], "list[Message] | None"]
"""Takes messages in the shape of the semantic conventions, may change them, and returns what may be recorded;
None for nothing. They are copies: what is sent stays as it is."""

CUT = "…[cut]"
"""Where a text was cut short."""
_SHORTEST = 16
_WHOLE = ("type", "role", "id", "modality", "mime_type", "finish_reason")
"""What a message says of its form; it is short, and worth nothing in part."""

_ON_SPANS = ("SPAN_ONLY", "SPAN_AND_EVENT")
_ELSEWHERE = ("", "NO_CONTENT", "EVENT_ONLY")


def wants_content(environ: Mapping[str, str]) -> bool:
    """Whether the standard variable asks for messages on spans.

    Events are not emitted: EVENT_ONLY records nothing, SPAN_AND_EVENT is SPAN_ONLY. A value that is not of
    the standard's, ``true`` among them, records nothing and is logged, as in OpenTelemetry's own packages.
    """
    value = environ.get(CAPTURE_CONTENT, "").strip().upper()
    if value not in _ON_SPANS and value not in _ELSEWHERE:
        log.warning(
            "%s must be NO_CONTENT, SPAN_ONLY, EVENT_ONLY or SPAN_AND_EVENT: no content is recorded",
            CAPTURE_CONTENT,
        )
    if value == "EVENT_ONLY":
        log.debug("%s=EVENT_ONLY: this package emits no events, so no content is recorded", CAPTURE_CONTENT)
    return value in _ON_SPANS


class Content:
    """Turns messages into the text of an attribute.

    Args:
        redact: see `Redact`. Where it raises, nothing is recorded.
        max_bytes: of one attribute, as JSON in UTF-8.
    """

    def __init__(self, *, redact: Redact | None = None, max_bytes: int = 65_536) -> None:
        self._redact = redact
        self._max_bytes = max_bytes

    def input(self, messages: object) -> str | None:
        """The text of `gen_ai.input.messages`."""
        return self._text(messages, input_messages)

    def output(self, completion: object) -> str | None:
        """The text of `gen_ai.output.messages`."""
        return self._text(completion, output_messages)

    def _text(self, given: object, read: Callable[[object], list[Message]]) -> str | None:
        try:
            messages = read(given)
            if self._redact is not None:
                redacted = self._redact(messages)
                if redacted is None:
                    return None
                messages = redacted
            return limited(messages, self._max_bytes)
        except Exception as error:
            # Its text may quote what must not be seen.
            log.debug("content was not recorded: %s", type(error).__name__)
            return None


def limited(messages: list[Message], max_bytes: int) -> str | None:
    """The messages as JSON of at most `max_bytes` bytes; None where not even one of them fits.

    First what is not text is left out, then long texts are cut, then the oldest messages are left out. What
    is missing is said where it was.
    """
    data = to_json(messages)
    if len(data) <= max_bytes:
        return data.decode()
    messages = [_without_blobs(message) for message in messages]
    longest = max_bytes
    while len(data := to_json(_cut(messages, longest))) > max_bytes and longest > _SHORTEST:
        longest //= 2
    kept = cast("list[Message]", _cut(messages, longest))
    for first in range(len(kept)):
        if first:
            data = to_json([_after_gap(kept[first], first), *kept[first + 1 :]])
        if len(data) <= max_bytes:
            return data.decode()
    return None


def _without_blobs(message: Message) -> Message:
    parts: list[Any] = message.get("parts") or []
    return {**message, "parts": [_described(part) for part in parts]}


def _described(part: Any) -> Any:
    if not is_object(part) or part.get("type") != "blob":
        return part
    size = len(str(part.get("content") or ""))
    return {"type": "text", "content": f"[{part.get('mime_type')}, {size} characters, left out]"}


def _after_gap(message: Message, missing: int) -> Message:
    note = {"type": "text", "content": f"[{missing} earlier message{'' if missing == 1 else 's'} left out]"}
    return {**message, "parts": [note, *(message.get("parts") or [])]}


def _cut(value: Any, longest: int) -> Any:
    """A copy whose texts have at most `longest` characters, and the mark."""
    if isinstance(value, str):
        return value if len(value) <= longest else value[:longest] + CUT
    if isinstance(value, list):
        return [_cut(entry, longest) for entry in cast("list[object]", value)]
    if is_object(value):
        return {key: entry if key in _WHOLE else _cut(entry, longest) for key, entry in value.items()}
    return value
