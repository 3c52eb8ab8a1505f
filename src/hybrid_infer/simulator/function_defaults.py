"""Functions that are deployed in a simulated Modal unless one says otherwise. Their answers are marked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, cast

from hybrid_infer.simulator.functions import Deployed

_LABELS = ("person", "car", "bicycle", "dog", "chair", "bottle", "traffic light", "backpack")
_WORDS = ("simulated", "words", "come", "one", "by", "one")


def detect(image: bytes | str, *, threshold: float = 0.5) -> dict[str, Any]:
    """Object detection, invented from the bytes of the picture or its address: same input, same boxes.

    Boxes are ``[x0, y0, x1, y1]`` as parts of width and height.
    """
    seed = hashlib.sha256(image if isinstance(image, bytes) else image.encode()).digest()
    boxes: list[dict[str, Any]] = []
    for index in range(1 + seed[0] % 4):
        label, x, y, size, score = seed[1 + 5 * index : 6 + 5 * index]
        left, top = x / 512, y / 512
        boxes.append(
            {
                "label": _LABELS[label % len(_LABELS)],
                "score": round(0.5 + score / 512, 4),
                "box": [left, top, round(left + 0.05 + size / 640, 4), round(top + 0.05 + size / 640, 4)],
            }
        )
    return {"simulated": True, "boxes": [box for box in boxes if box["score"] >= threshold]}


def stream_words(text: str | None = None) -> Iterator[str]:
    """The words of a text, or some of its own."""
    yield from (f"{word} " for word in (_WORDS if text is None else text.split()))


def embed(texts: str | Sequence[str], *, size: int = 8) -> dict[str, Any]:
    """Vectors of `size` numbers, invented from each text."""
    inputs = [texts] if isinstance(texts, str) else list(texts)
    return {"simulated": True, "vectors": [_vector(text, size) for text in inputs]}


def _vector(text: str, size: int) -> list[float]:
    seed = hashlib.shake_256(text.encode()).digest(size)
    return [round(byte / 127.5 - 1.0, 4) for byte in seed]


def chat(request: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion in OpenAI's shape."""
    messages = cast("Sequence[Mapping[str, Any]]", request["messages"])
    asked = str(messages[-1]["content"]) if messages else ""
    text = f"(simulated) You said: {asked}"
    prompt, said = sum(len(str(one["content"]).split()) for one in messages), len(text.split())
    return {
        "id": "chatcmpl-simulated",
        "object": "chat.completion",
        "created": 1793606400,
        "model": request.get("model") or "simulated",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said},
    }


def stream_chat(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The same as chunks of a stream."""
    whole = chat(request)
    text: str = whole["choices"][0]["message"]["content"]
    head = {**whole, "object": "chat.completion.chunk"}
    usage = head.pop("usage")
    for word in text.split():
        delta = {"role": "assistant", "content": f"{word} "}
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}


def echo(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """What it was given."""
    return {"args": list(args), "kwargs": kwargs}


def raises(message: str = "no such luck") -> NoReturn:
    raise ValueError(message)


def breaks(after: int = 2) -> Iterator[int]:
    """A generator that raises in the middle."""
    yield from range(after)
    raise ValueError(f"broke after {after}")


def _seconds(seconds: float = 30.0, *_: Any, **__: Any) -> float:
    return seconds


def default_functions() -> tuple[Deployed, ...]:
    """Detection, text, chat; and under ``faults/`` those that go wrong, each in the way its name says."""
    return (
        Deployed(name="detector/detect", run=detect, seconds=0.02, gpu="L4"),
        Deployed(name="detector/Detector.detect", run=detect, seconds=0.02, gpu="L4"),
        Deployed(name="text/stream_words", run=stream_words, generator=True, seconds=0.01),
        Deployed(name="text/embed", run=embed, seconds=0.01),
        Deployed(name="llm/chat", run=chat, seconds=0.05, gpu="H100"),
        Deployed(name="llm/stream_chat", run=stream_chat, generator=True, seconds=0.01, gpu="H100"),
        Deployed(name="faults/echo", run=echo),
        Deployed(name="faults/raises", run=raises),
        Deployed(name="faults/breaks", run=breaks, generator=True),
        Deployed(name="faults/slow", run=echo, seconds=_seconds, timeout=86_400.0),
        Deployed(name="faults/times_out", run=echo, ends="timeout", timeout=0.05),
        Deployed(name="faults/lost", run=echo, ends="lost"),
        Deployed(name="faults/out_of_memory", run=echo, ends="out_of_memory"),
        Deployed(name="faults/init_failed", run=echo, ends="init_failed"),
        Deployed(name="faults/permission", run=echo, refuses="permission"),
        Deployed(name="faults/exhausted", run=echo, refuses="exhausted"),
        Deployed(name="faults/unavailable", run=echo, refuses="unavailable"),
        Deployed(name="faults/invalid", run=echo, refuses="invalid"),
    )
