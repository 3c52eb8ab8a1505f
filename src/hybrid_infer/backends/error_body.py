"""What an error body says. Bodies come in many shapes, and no message may be lost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from hybrid_infer.backends.base import is_array, is_object

_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)
_LONGEST_TEXT = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """What an error body says.

    Attributes:
        codes: its code and types, the most precise first.
        number: the status that it states itself, e.g. vLLM's ``"code": 400``.
        id: the provider's id of the request.
        structured: it is an error object as inference engines write it, not a proxy's page or line.
    """

    message: str | None = None
    codes: tuple[str, ...] = ()
    number: int | None = None
    id: str | None = None
    structured: bool = False


def read_error_body(body: bytes) -> ErrorBody:
    """Read an error body of any shape: objects of OpenAI, vLLM, FastAPI and Ollama, HTML, text, nothing."""
    try:
        payload: Any = from_json(body)
    except ValueError:
        return ErrorBody(message=_text_message(body.decode("utf-8", "replace")))
    outer: Any = payload[0] if is_array(payload) and payload else payload
    if not is_object(outer):
        return ErrorBody(message=_message(outer))
    nested = [value for key in ("error", "detail") if is_object(value := outer.get(key))]
    places = [*nested, outer]
    said = [place.get(name) for place in places for name in ("code", "type", "error_type")]
    messages = (place.get(name) for place in places for name in ("message", "error", "detail", "msg"))
    return ErrorBody(
        message=next((text for value in messages if (text := _message(value))), None),
        codes=tuple(value for value in said if isinstance(value, str) and value),
        number=next((number for value in said if (number := _status(value)) is not None), None),
        id=next((value for place in places if isinstance(value := place.get("id"), str) and value), None),
        structured=bool(nested) or outer.get("object") == "error" or "detail" in outer,
    )


def _status(value: Any) -> int | None:
    """A code that is an HTTP status, as a number or as text."""
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) == 3 else value
    return number if isinstance(number, int) and 300 <= number < 600 else None


def _message(value: Any) -> str | None:
    """A message as text; FastAPI gives a list of what is wrong and where."""
    if isinstance(value, str):
        return value.strip() or None
    if not is_array(value):
        return None
    return "; ".join(line for item in value if (line := _line(item))) or None


def _line(item: Any) -> str:
    if not is_object(item):
        return item if isinstance(item, str) else ""
    place = item.get("loc")
    where = ".".join(str(step) for step in place) if is_array(place) else ""
    return ": ".join(text for text in (where, str(item.get("msg") or item.get("message") or "")) if text)


def _text_message(text: str) -> str | None:
    """The message of a body that is not JSON: a page's title, or the text itself."""
    text = text.lstrip()[:_LONGEST_TEXT]
    if text.startswith("<"):
        from html import unescape  # the table of all characters of HTML, which calls that go well do not need

        title = _TITLE.search(text)
        return f"a web page: {' '.join(unescape(title[2]).split())}" if title else "a web page"
    return " ".join(text.split()) or None
