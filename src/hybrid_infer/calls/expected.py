"""What a request is going to use, as far as it says so itself. Pure; all of it is an estimate."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, cast

from hybrid_infer.calls.call import Call
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.operations import OPERATIONS

CHARACTERS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English text (help article "What are tokens and how to count them", 2026-10)."""

USUAL_SIDE = 1024
"""Width and height of an image whose request says nothing of its size (Together docs, images, 2026-10)."""

_TEXTS = ("messages", "prompt", "input", "query", "documents")
_SIZE = re.compile(r"(\d+)x(\d+)")


def expected_usage(call: Call, usual_answer: float) -> Usage:
    """Tokens and pixels that a call may use.

    Args:
        usual_answer: tokens of an answer whose request sets no limit.
    """
    answer = answer_tokens(call, usual_answer)
    if call.operation != "images":
        return Usage(input_tokens=prompt_tokens(call.body), output_tokens=answer, estimated=True)
    pixels, _ = pixels_of(call.body)
    count = call.body.get("n")
    steps = call.body.get("steps")
    return Usage(
        input_tokens=0,
        output_tokens=0,
        pixels=pixels * (count if isinstance(count, int) else 1),
        steps=steps if isinstance(steps, int) else None,
        estimated=True,
    )


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """Tokens of all that a request gives the model to read."""
    return -(-sum(characters(body.get(name)) for name in _TEXTS) // CHARACTERS_PER_TOKEN)


def answer_tokens(call: Call, usual: float) -> int:
    """The most tokens that the answer may have, or as many as are usual; 0 where no text is made."""
    if OPERATIONS[call.operation].traced not in ("chat", "text_completion"):
        return 0
    limit = call.body.get("max_completion_tokens") or call.body.get("max_tokens")
    return limit if isinstance(limit, int) else math.ceil(usual)


def pixels_of(body: Mapping[str, Any]) -> tuple[int, bool]:
    """Pixels of one image, and whether the request says so."""
    size = _SIZE.fullmatch(str(body.get("size")))
    if size is not None:
        return int(size[1]) * int(size[2]), True
    width: object = body.get("width")
    height: object = body.get("height")
    if isinstance(width, int) and isinstance(height, int):
        return width * height, True
    return USUAL_SIDE**2, False


def characters(value: object) -> int:
    """Characters of all texts, however deep they stand; a token, where one is given as a number, has four."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        fields = cast("dict[object, object]", value)
        if "role" in fields or "type" in fields:  # a message, or a part of one: a picture is no text
            return characters(fields.get("content")) + characters(fields.get("text"))
        return sum(map(characters, fields.values()))
    if isinstance(value, list | tuple):
        return sum(map(characters, cast("list[object]", value)))
    return CHARACTERS_PER_TOKEN if type(value) is int else 0
