"""Calls that share an answer, and answers that take long enough for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from both import Api, EitherStream
from fakes import DONE, USAGE, delta, said, streamed

MODEL = "Qwen/Qwen3.5-9B"  # 0.17 and 0.25 USD per million tokens
KEY: dict[str, Any] = {"api_key": "secret-key", "model": MODEL, "cache": "memory"}
FIXED: dict[str, Any] = {"temperature": 0}
SLOW = said(after=1.0)


def slow_stream(*, gap: float = 1.0, after: float = 0.0) -> Any:
    """A stream that says "one two three", `gap` seconds between words."""
    return streamed(
        delta("one "),
        gap,
        delta("two "),
        gap,
        delta("three"),
        delta(finish="stop", usage=USAGE),
        DONE,
        after=after,
    )


def asking(api: Api, **options: Any) -> Callable[[], Any]:
    async def body() -> Any:
        return await api.create(**{**FIXED, **options})

    return body


def streaming(api: Api, *, after: float = 0.0, **options: Any) -> Callable[[], Any]:
    """Begins `after` seconds and reads a stream to its end; the stream and its text."""

    async def body() -> tuple[EitherStream, str]:
        if after:
            await api.runtime.sleep(after)
        stream = await api.stream(**{**FIXED, **options})
        return stream, await stream.text()

    return body
