"""An answer as a store holds it: a line of what is known besides its content, and its JSON."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

from pydantic_core import from_json, to_json

from hybrid_infer.calls.call import MODES, Mode, Target
from hybrid_infer.calls.copies import json_of
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.reply import Facts

Unpacked: TypeAlias = tuple[Mode, str, Facts, bytes]
"""Mode and target that answered then, what is known besides the content, and the answer's JSON."""


def packed(value: Any, facts: Facts, target: Target) -> bytes:
    """The value to store for an answer, a pydantic model."""
    usage = facts.usage
    told = (
        None
        if usage is None
        else [
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
            usage.estimated,
        ]
    )
    head = [target.mode, target.name, facts.id, facts.model, facts.finish_reasons, told]
    return b"%b\n%b" % (to_json(head), json_of(value))


def unpacked(value: bytes) -> Unpacked:
    """What a stored value holds.

    Raises:
        ValueError: it is none.
    """
    head, _, answer = value.partition(b"\n")
    mode, target, id, model, reasons, usage = _told(head)
    return mode, target, Facts(id=id, model=model, finish_reasons=reasons, usage=usage), answer


@lru_cache(1024)
def _told(head: bytes) -> tuple[Mode, str, str | None, str | None, tuple[str, ...], Usage | None]:
    """What stands in the first line. Remembered, since what is asked for again is often asked for soon."""
    try:
        mode, target, id, model, reasons, told = from_json(head)
        usage = None
        if told is not None:
            given, made, cached, reasoning, estimated = told
            usage = Usage(
                input_tokens=given,
                output_tokens=made,
                cached_tokens=cached,
                reasoning_tokens=reasoning,
                estimated=estimated,
            )
        reasons = tuple(reasons)
    except TypeError as error:
        raise ValueError("not a stored answer") from error
    if mode not in MODES:
        raise ValueError("not a stored answer")
    return mode, target, id, model, reasons, usage
