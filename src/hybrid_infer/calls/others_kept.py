"""Which answers besides chat's may be kept, and given again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hybrid_infer.calls.cached import Kept
from hybrid_infer.calls.chat_kept import WHOLE
from hybrid_infer.calls.operations import Operation


def others_kept(read: Callable[[Operation, bytes], Any]) -> Mapping[Operation, Kept]:
    """How they are kept: vectors and rankings always, texts and pictures where the request fixes them.

    Args:
        read: an answer of an operation from its JSON.
    """

    def kept(
        operation: Operation,
        repeats: Callable[[Mapping[str, Any]], bool],
        whole: Callable[[Any], bool] = _always,
    ) -> Kept:
        def read_one(data: bytes) -> Any:
            return read(operation, data)

        return Kept(repeats=repeats, whole=whole, same_in_stream=_never, read=read_one, events=_no_events)

    return {
        "completions": kept("completions", _fixed, _ended),
        "embeddings": kept("embeddings", _always),
        "rerank": kept("rerank", _always),
        "images": kept("images", _drawn_again),
    }


def _always(_: Any) -> bool:
    return True


def _never(_: Mapping[str, Any]) -> bool:
    return False


def _no_events(_: Any) -> Sequence[Any]:
    return ()


def _fixed(body: Mapping[str, Any]) -> bool:
    """Temperature 0 or a seed."""
    temperature = body.get("temperature")
    return (type(temperature) in (int, float) and temperature == 0) or body.get("seed") is not None


def _ended(completion: Any) -> bool:
    choices = completion.choices
    return bool(choices) and all(choice.finish_reason in WHOLE for choice in choices)


def _drawn_again(body: Mapping[str, Any]) -> bool:
    """A seed draws the same picture. One that lies behind an address may be gone tomorrow."""
    return body.get("seed") is not None and body.get("response_format") in ("b64_json", "base64")
