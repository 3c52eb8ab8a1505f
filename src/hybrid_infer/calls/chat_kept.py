"""Which chat completions may be kept, and given again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from hybrid_infer.calls.cached import Kept
from hybrid_infer.calls.chat import ChatCompletion, ChatCompletionChunk

WHOLE = ("stop", "tool_calls", "function_call")
"""Finish reasons of answers that were not cut short. What nobody has heard of is not kept."""

_LOST_IN_STREAMS = ("logprobs", "top_logprobs", "echo", "audio")
"""Options whose part of the answer the chunks of a stream are not put together again from."""


def kept_chat(events: Callable[[ChatCompletion], Sequence[ChatCompletionChunk]]) -> Kept:
    """How chat completions are kept.

    Args:
        events: a completion as the chunks of a stream.
    """
    return Kept(
        repeats=repeats,
        whole=whole,
        same_in_stream=same_in_stream,
        read=ChatCompletion.__pydantic_validator__.validate_json,  # `model_validate_json`, and nothing around
        events=events,
    )


def repeats(body: Mapping[str, Any]) -> bool:
    """Whether the request is meant to be answered the same each time: temperature 0 or a seed.

    Not where the provider looks something up meanwhile: the web, or another tool of its own.
    """
    temperature = body.get("temperature")
    fixed = type(temperature) in (int, float) and temperature == 0
    if not fixed and body.get("seed") is None:
        return False
    if body.get("web_search_options"):
        return False
    tools: object = body.get("tools")
    return not isinstance(tools, list | tuple) or all(map(_is_function, cast("Sequence[object]", tools)))


def whole(completion: ChatCompletion) -> bool:
    """Whether every choice came to its own end."""
    choices = completion.choices
    return bool(choices) and all(choice.finish_reason in WHOLE for choice in choices)


def same_in_stream(body: Mapping[str, Any]) -> bool:
    """Whether the chunks of a stream add up to all that a complete answer would hold."""
    return not any(body.get(option) for option in _LOST_IN_STREAMS)


def _is_function(tool: object) -> bool:
    """A tool that the caller runs, in whatever form it was written."""
    if isinstance(tool, Mapping):
        return cast("Mapping[str, object]", tool).get("type") == "function"
    return getattr(tool, "type", None) == "function"
