"""Fakes of what stands outside the package: a transport that answers from a script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hybrid_infer.runtime.base import Runtime
from hybrid_infer.transport.base import Headers, TransportError, TransportTimeout, WireRequest

Piece = bytes | float | TransportError
"""A part of a body: bytes, seconds to wait, or the way the connection breaks."""


@dataclass
class Answer:
    """One scripted response. `after` seconds pass before its head."""

    status: int = 200
    pieces: Sequence[Piece] = ()
    headers: Headers = (("content-type", "application/json"),)
    after: float = 0.0


def completion(text: str = "It scatters.", **changes: Any) -> dict[str, Any]:
    """A chat completion as Together sent it in 2026-08."""
    return {
        "id": "ov-1",
        "object": "chat.completion",
        "created": 1786077872,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cached_tokens": 0},
        **changes,
    }


def said(body: Any = None, *, status: int = 200, after: float = 0.0, headers: Headers = ()) -> Answer:
    """A JSON answer."""
    raw = json.dumps(completion() if body is None else body).encode()
    return Answer(status, (raw,), (("content-type", "application/json"), *headers), after)


def refused(status: int, code: str | None = None, message: str = "no", **kw: Any) -> Answer:
    """An error answer in OpenAI's shape."""
    return said({"error": {"message": message, "type": None, "code": code}}, status=status, **kw)


def delta(text: str | None = None, *, finish: str | None = None, usage: Any = None, index: int = 0) -> bytes:
    """One chunk as an event."""
    content = {} if text is None else {"content": text}
    chunk = {
        "id": "ov-1",
        "object": "chat.completion.chunk",
        "created": 1786077872,
        "model": "m",
        "choices": [{"index": index, "delta": {"role": "assistant", **content}, "finish_reason": finish}],
        "usage": usage,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


def streamed(*pieces: Any, after: float = 0.0) -> Answer:
    return Answer(200, pieces, (("content-type", "text/event-stream"),), after)


def hello() -> Answer:
    """A stream that says "Hello" and ends well."""
    return streamed(delta("Hel"), delta("lo"), delta(finish="stop", usage=USAGE), DONE)


@dataclass
class Sent:
    request: WireRequest
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.request.content())


@dataclass
class ScriptedTransport:
    """Answers request n with entry n of the script; the last entry repeats.

    An entry is an Answer, an error, or a function of the request that returns one of them.
    """

    script: list[Any]
    name: str = "scripted"
    sent: list[Sent] = field(default_factory=list[Sent])
    open: int = 0
    closed: bool = False
    runtime: Runtime = field(init=False)

    async def send(self, request: WireRequest, *, until: float) -> ScriptedResponse:
        self.sent.append(Sent(request, self.runtime.now()))
        entry = self.script[min(len(self.sent), len(self.script)) - 1]
        answer = entry(request) if callable(entry) and not isinstance(entry, Answer) else entry
        if isinstance(answer, TransportError):
            raise answer
        await wait(self.runtime, answer.after, until)
        self.open += 1
        return ScriptedResponse(self, answer)

    async def aclose(self) -> None:
        self.closed = True


class ScriptedResponse:
    def __init__(self, transport: ScriptedTransport, answer: Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._transport = transport
        self._pieces = list(answer.pieces)
        self._closed = False

    async def read(self, until: float) -> bytes:
        while self._pieces:
            piece = self._pieces.pop(0)
            if isinstance(piece, bytes):
                return piece
            if isinstance(piece, TransportError):
                raise piece
            await wait(self._transport.runtime, piece, until)
        return b""

    async def aclose(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        if not self._closed:
            self._closed = True
            self._transport.open -= 1


async def wait(runtime: Runtime, seconds: float, until: float) -> None:
    left = until - runtime.now()
    await runtime.sleep(min(seconds, left))
    if seconds > left:
        raise TransportTimeout("time is over", sent=True)
