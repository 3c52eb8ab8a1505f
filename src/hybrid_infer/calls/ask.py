"""From the keyword arguments of a client method to a Call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypedDict, cast, get_args

from hybrid_infer.calls.cached import CacheMode, CachePolicy
from hybrid_infer.calls.call import CHOICES, Call, ModeChoice, OnStreamBreak, Priority
from hybrid_infer.calls.chat import ChatOptions
from hybrid_infer.calls.operations import Operation
from hybrid_infer.calls.timeouts import NONE_GIVEN, PARTS, Timeouts
from hybrid_infer.errors import InvalidCallError


class OtherOptions(TypedDict, total=False):
    """What every call takes, the purpose apart: a file has one of its own.

    timeout: seconds for the whole call, its retries, cold start and stream included; or `Timeouts`.
    deadline: an absolute, time zone aware end; the earlier of the two counts.
    mode: where this call runs, whatever the client's mode.
    tag: your own mark, such as a customer's name: the ledger keeps a hash of it, to group calls by.
    session: calls of one conversation, so that a provider can keep them on one machine.
    priority: who is served first where calls wait for a slot; ``"interactive"`` unless the purpose is batch.
    fallback: modes or models that may answer where the first cannot, in this order; ``[]`` for none.
    never_leave: nothing but the chosen mode may answer.
    on_stream_break: ``"error"`` or ``"restart"``, for a stream that breaks after its first content.
    hedge: whether a second request is sent when the first takes unusually long.
    max_retries: repeats after the first attempt; 0 for none. Another target's first try is no repeat.
    cache: ``False`` leaves the cache out; ``True`` uses it for a request whose answers differ from time to
        time, too; or `CachePolicy`. Without a cache (setting `cache`) it says nothing.
    idempotent: whether the request may be sent again though nobody knows what became of it. Left out, what
        makes something that stays (files, batches, videos, functions, `post`) is not repeated.
    extra_headers, extra_body: added to the request; what they name wins.
    """

    timeout: float | Timeouts | None
    deadline: datetime | None
    mode: ModeChoice | None
    tag: str | None
    session: str | None
    priority: Priority | None
    fallback: Sequence[str] | None
    never_leave: bool | None
    on_stream_break: OnStreamBreak | None
    hedge: bool | None
    max_retries: int | None
    cache: bool | CachePolicy | None
    idempotent: bool | None
    extra_headers: Mapping[str, str] | None
    extra_body: Mapping[str, Any] | None


class CallOptions(OtherOptions, total=False):
    """What every call takes besides the provider's own options: `OtherOptions`, and this one.

    purpose: why it is made, e.g. ``"batch"``; may decide the mode (`purposes`), and goes into traces.
    """

    purpose: str | None


class ChatArguments(ChatOptions, CallOptions, total=False):
    """Keyword arguments of `chat.completions.create` besides messages, model and stream."""


OWN: Mapping[str, Any] = {**OtherOptions.__annotations__, **CallOptions.__annotations__}
"""The names of our own options; whatever else is given belongs to the provider."""


def make_call(
    operation: Operation,
    defaults: Mapping[str, Any],
    body: dict[str, Any],
    given: Mapping[str, Any],
    *,
    model: str | None = None,
    stream: bool | None = False,
    **wire: Any,
) -> Call:
    """The Call for an operation.

    Args:
        defaults: of the client, from `with_options`.
        body: the operation's own arguments.
        given: all other keyword arguments: ours, and the provider's, which join the body by their name.
        wire: `method`, `path`, `upload` and `shape` of the Call.

    Raises:
        InvalidCallError: an option of ours has the wrong type, or looks misspelt.
    """
    if stream not in (True, False, None):
        raise InvalidCallError(f"stream={stream!r}: must be True or False")
    own: dict[str, Any] = {}
    for name, value in given.items():
        if name in OWN:
            own[name] = value
        else:
            _refuse_misspelt(name)
            body[name] = value
    if model is None and not own and not defaults:
        return Call(operation=operation, model=None, body=body, stream=bool(stream), **wire)
    options = merged(defaults, {"model": model, **own})
    named = options.pop("model", None)
    timeouts = options.pop("timeout", NONE_GIVEN)
    return Call(
        operation=operation,
        model=named,
        body=body,
        stream=bool(stream),
        timeouts=timeouts,
        **options,
        **wire,
    )


def chat_call(
    defaults: Mapping[str, Any],
    messages: Iterable[Any],
    model: str | None,
    stream: bool | None,
    given: Mapping[str, Any],
) -> Call:
    """The Call for a chat completion; raises as `make_call`, and where `response_format` has no schema."""
    body: dict[str, Any] = {"messages": _messages(messages)}
    wanted = given.get("response_format")
    if wanted is None:
        return make_call("chat", defaults, body, given, model=model, stream=stream)
    from hybrid_infer.calls.structured import wire_format

    wire, shape = wire_format(wanted)
    given = {**given, "response_format": wire}
    return make_call("chat", defaults, body, given, model=model, stream=stream, shape=shape)


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
            before = options.get(name)
            if name == "timeout":
                new = value if isinstance(value, Timeouts) else Timeouts(total=value)
                options[name] = new if before is None else new.over(before)
            elif name == "fallback":
                options[name] = tuple(value)
            elif name in ("extra_headers", "extra_body") and before is not None:
                options[name] = {**before, **value}
            else:
                options[name] = value
    return options


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _timeouts(value: Any) -> bool:
    if not isinstance(value, Timeouts):
        return _number(value)
    parts = ((part, getattr(value, part)) for part in PARTS)
    return all(
        seconds is None or _number(seconds) or (part == "cold_start" and seconds == 0)
        for part, seconds in parts
    )


def _texts(value: Any) -> bool:
    if not isinstance(value, list | tuple):
        return False
    return all(isinstance(text, str) and text for text in cast("list[object]", value))


def _headers(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    pairs = cast("Mapping[object, object]", value).items()
    return all(isinstance(name, str) and isinstance(text, str) for name, text in pairs)


def _cache(value: Any) -> bool:
    if not isinstance(value, CachePolicy):
        return isinstance(value, bool)
    times = (seconds is None or _number(seconds) for seconds in (value.ttl, value.max_age))
    return all(times) and value.mode in get_args(CacheMode)


_ALLOWED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "model": ("a model's name", lambda v: isinstance(v, str) and v != ""),
    "timeout": ("seconds above 0, or Timeouts with such seconds", _timeouts),
    "deadline": ("a datetime with a time zone", lambda v: isinstance(v, datetime) and v.tzinfo is not None),
    "mode": (f"one of {', '.join(CHOICES)}", lambda v: v in CHOICES),
    "purpose": ("a text", lambda v: isinstance(v, str)),
    "tag": ("a text", lambda v: isinstance(v, str)),
    "session": ("a text", lambda v: isinstance(v, str)),
    "priority": ("interactive or batch", lambda v: v in get_args(Priority)),
    "fallback": ("a list of modes or models", _texts),
    "never_leave": ("True or False", lambda v: isinstance(v, bool)),
    "on_stream_break": ("error or restart", lambda v: v in get_args(OnStreamBreak)),
    "hedge": ("True or False", lambda v: isinstance(v, bool)),
    "max_retries": ("a whole number, 0 or more", lambda v: type(v) is int and v >= 0),
    "cache": ("True, False or a CachePolicy with times in seconds and a mode of its own", _cache),
    "idempotent": ("True or False", lambda v: isinstance(v, bool)),
    "extra_headers": ("a mapping of texts to texts", _headers),
    "extra_body": ("a mapping", lambda v: isinstance(v, Mapping)),
}


def _messages(messages: object) -> list[Any]:
    if type(messages) is list:
        return [*messages]
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
