"""From the keyword arguments of a client method to a Call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypedDict, cast

from hybrid_infer.calls.call import MODES, Call, Mode
from hybrid_infer.calls.chat import ChatOptions
from hybrid_infer.errors import InvalidCallError


class CallOptions(TypedDict, total=False):
    """What every call takes besides the provider's own options.

    timeout: seconds for the whole call, its retries, cold start and stream included.
    deadline: an absolute, time zone aware end; the earlier of the two counts.
    mode: where this call runs, whatever the client's mode.
    purpose: why it is made, e.g. ``"batch"``; goes into traces.
    session: calls of one conversation, so that a provider can keep them on one machine.
    max_retries: repeats after the first attempt; 0 for none.
    extra_headers, extra_body: added to the request; what they name wins.
    """

    timeout: float | None
    deadline: datetime | None
    mode: Mode | None
    purpose: str | None
    session: str | None
    max_retries: int | None
    extra_headers: Mapping[str, str] | None
    extra_body: Mapping[str, Any] | None


class ChatArguments(ChatOptions, CallOptions, total=False):
    """Keyword arguments of `chat.completions.create` besides messages, model and stream."""


OWN = tuple(CallOptions.__annotations__)


def chat_call(
    defaults: Mapping[str, Any],
    messages: Iterable[Any],
    model: str | None,
    stream: bool | None,
    given: Mapping[str, Any],
) -> Call:
    """The Call for a chat completion.

    Raises:
        InvalidCallError: an option of ours has the wrong type, or looks misspelt.
    """
    if stream not in (True, False, None):
        raise InvalidCallError(f"stream={stream!r}: must be True or False")
    body: dict[str, Any] = {"messages": _messages(messages)}
    own: dict[str, Any] = {}
    for name, value in given.items():
        if name in OWN:
            own[name] = value
        else:
            _refuse_misspelt(name)
            body[name] = value
    options = merged(defaults, {"model": model, **own})
    named = options.pop("model", None)
    return Call(operation="chat", model=named, body=body, stream=bool(stream), **options)


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`defaults` and over them what was `given`; None is not given. Extra headers and fields add up.

    Raises:
        InvalidCallError: naming the option of ours, its value and what is allowed.
    """
    options = dict(defaults)
    for name, value in given.items():
        if name not in _ALLOWED:
            _refuse_misspelt(name)
            raise InvalidCallError(f'unknown option "{name}"; there are {", ".join(_ALLOWED)}')
        if value is not None:
            allowed, fits = _ALLOWED[name]
            if not fits(value):
                raise InvalidCallError(f"{name}={value!r}: must be {allowed}")
            both = name in ("extra_headers", "extra_body") and name in options
            options[name] = {**options[name], **value} if both else value
    return options


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _headers(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    pairs = cast("Mapping[object, object]", value).items()
    return all(isinstance(name, str) and isinstance(text, str) for name, text in pairs)


_ALLOWED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "model": ("a model's name", lambda v: isinstance(v, str) and v != ""),
    "timeout": ("seconds, above 0", _number),
    "deadline": ("a datetime with a time zone", lambda v: isinstance(v, datetime) and v.tzinfo is not None),
    "mode": (f"one of {', '.join(MODES)}", lambda v: v in MODES),
    "purpose": ("a text", lambda v: isinstance(v, str)),
    "session": ("a text", lambda v: isinstance(v, str)),
    "max_retries": ("a whole number, 0 or more", lambda v: type(v) is int and v >= 0),
    "extra_headers": ("a mapping of texts to texts", _headers),
    "extra_body": ("a mapping", lambda v: isinstance(v, Mapping)),
}


def _messages(messages: object) -> list[Any]:
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise InvalidCallError(
            'messages: not a list of messages; give a list such as [{"role": "user", "content": "Hello"}]'
        )
    return list(cast("Iterable[object]", messages))


@lru_cache(maxsize=256)
def _refuse_misspelt(name: str) -> None:
    """Unknown options go to the provider by their name; one that is nearly ours is a mistake."""
    if name == "extra_query":
        raise InvalidCallError("extra_query: these operations take no query; use extra_body or extra_headers")
    near = get_close_matches(name, OWN, n=1, cutoff=0.86)
    if near:
        raise InvalidCallError(
            f'unknown option "{name}"; did you mean "{near[0]}"? '
            f"(an option of the provider with this name goes into extra_body)"
        )
