"""Calls, backends, recorded answers and streams for the tests of the backends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from hybrid_infer.backends.base import address_of
from hybrid_infer.backends.chat_stream import ChatDecoder
from hybrid_infer.backends.compatible import CompatibleBackend
from hybrid_infer.backends.modal import ModalBackend
from hybrid_infer.backends.openai_wire import OpenAIBackend
from hybrid_infer.backends.together import CHAT_URL, OTHER_URL, TogetherBackend
from hybrid_infer.calls.call import Call, Mode, Target
from hybrid_infer.calls.chat import ChatCompletion, ChatCompletionChunk
from hybrid_infer.calls.reply import RawResponse

RECORDINGS = Path(__file__).parent.parent / "recordings"
HELLO = [{"role": "user", "content": "Hello"}]
KEY = "canary-7f3a91"


def recording(name: str) -> Any:
    return json.loads((RECORDINGS / f"{name}.json").read_text("utf-8"))


def recorded_errors() -> list[Any]:
    return [json.loads(line) for line in (RECORDINGS / "errors.jsonl").read_text("utf-8").splitlines()]


def together(key: str = KEY) -> TogetherBackend:
    return TogetherBackend(chat=address_of(CHAT_URL), other=address_of(OTHER_URL), api_key=lambda: key)


def modal(url: str = "https://acme--llm.us-east.modal.direct") -> ModalBackend:
    return ModalBackend(address=address_of(url), key=lambda: "wk-canary1", secret=lambda: "ws-canary2")


def compatible(key: str | None = KEY) -> CompatibleBackend:
    secret = None if key is None else lambda: key
    return CompatibleBackend(address=address_of("http://localhost:11434"), api_key=secret)


BACKENDS: dict[Mode, OpenAIBackend] = {
    "together-serverless": together(),
    "together-dedicated": together(),
    "modal": modal(),
    "openai-compatible": compatible(),
}


def target(mode: Mode = "together-serverless", model: str | None = "acme/model") -> Target:
    return Target(name=mode, mode=mode, provider=mode, model=model, host="host", port=443, basis="unknown")


def chat(stream: bool = False, messages: Any = HELLO, **more: Any) -> Call:
    options = {name: more.pop(name) for name in list(more) if name not in Call.__dataclass_fields__}
    return Call(operation="chat", model=None, body={"messages": messages, **options}, stream=stream, **more)


def answer(
    body: Any, status: int = 200, content_type: str = "application/json", **headers: str
) -> RawResponse:
    data = (
        body
        if isinstance(body, bytes)
        else body.encode()
        if isinstance(body, str)
        else json.dumps(body).encode()
    )
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return RawResponse(status=status, headers=(("content-type", content_type), *named), body=data)


def chunk(
    content: str | None = None, finish: str | None = None, index: int = 0, **more: Any
) -> dict[str, Any]:
    """A chunk as servers send it; `more` are further fields of the delta, or `usage`."""
    usage = {"usage": more.pop("usage")} if "usage" in more else {}
    delta = {"role": "assistant", "content": content, **more}
    choices = [{"index": index, "delta": delta, "finish_reason": finish}]
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": choices,
        **usage,
    }


def sse(*events: Any, done: bool = True) -> bytes:
    lines = [event if isinstance(event, str) else f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


def read_all(decoder: ChatDecoder, pieces: Iterable[bytes]) -> list[ChatCompletionChunk]:
    """The chunks of a stream that is fed in these pieces, up to and including its end."""
    events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.flush()
    return [chunk for event in events if (chunk := decoder.read(event)) is not None]


def chat_decoder(backend: OpenAIBackend | None = None, call: Call | None = None) -> ChatDecoder:
    """A decoder of chat."""
    decoder = (backend or together()).decoder(call or chat(stream=True))
    assert isinstance(decoder, ChatDecoder)
    return decoder


def streamed(
    body: bytes, backend: OpenAIBackend | None = None, call: Call | None = None
) -> tuple[ChatDecoder, ChatCompletion]:
    """A decoder that has read a stream to its proper end, and the answer."""
    decoder = chat_decoder(backend, call)
    read_all(decoder, [body])
    decoder.finish()
    final = decoder.final()
    assert final is not None
    return decoder, final


def cut(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """All ways to cut bytes into pieces."""
    places = st.lists(st.integers(min_value=0, max_value=len(data)), max_size=12).map(sorted)
    return places.map(lambda at: [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)])
