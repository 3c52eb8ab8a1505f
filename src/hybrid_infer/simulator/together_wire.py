"""How Together writes: answers as recorded in August 2026, errors as published in 2025 and 2026."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from hybrid_infer.simulator.answers import Choice
from hybrid_infer.simulator.ask import Ask
from hybrid_infer.simulator.exchange import Headers, Response, Work

JSON: Headers = (("content-type", "application/json; charset=utf-8"), ("x-simulated", "hybrid-infer"))
EVENTS: Headers = (
    ("content-type", "text/event-stream;charset=utf-8"),
    ("cache-control", "no-cache, no-transform"),
    ("x-simulated", "hybrid-infer"),
)
FINGERPRINT = "simulated"
DONE = b"data: [DONE]\n\n"
_FINISH_TOKEN = 128009


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What an answer carries besides its content. `created`: seconds since 1970; `seed` may exceed int64."""

    id: str
    created: int
    seed: int


def event(data: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + to_json(data) + b"\n\n"


def output_tokens(choices: Sequence[Choice]) -> int:
    """Tokens of all choices together."""
    return sum(len(choice.tokens) for choice in choices)


def interleaved(choices: Sequence[Choice]) -> list[tuple[int, str]]:
    """The tokens of all choices in the order they are made: one of each in turn."""
    longest = max(len(choice.tokens) for choice in choices)
    return [
        (index, choice.tokens[at])
        for at in range(longest)
        for index, choice in enumerate(choices)
        if at < len(choice.tokens)
    ]


def answered(
    ask: Ask, model: str, choices: Sequence[Choice], work: Work | None, stamp: Stamp, headers: Headers
) -> Response:
    """An answer, streamed or not."""
    if ask.stream:
        pieces = _stream(ask, model, choices, stamp)
        return Response(status=200, headers=(*EVENTS, *headers), pieces=tuple(pieces), work=work)
    body = to_json(_complete(ask, model, choices, stamp), indent=2)
    return Response(
        status=200, headers=(*JSON, *headers), pieces=((output_tokens(choices), body),), work=work
    )


def error(
    status: int, message: str, *, id: str, code: str | None = None, kind: str | None = None,
    param: str | None = None, headers: Headers = (),
) -> Response:  # fmt: skip
    """An error; `kind` is its ``type``."""
    problem = {"message": message, "type": kind or "invalid_request_error", "param": param, "code": code}
    body = to_json({"id": id, "error": problem}, indent=2)
    return Response(status=status, headers=(*JSON, *headers), pieces=((0, body),))


def models(names: Sequence[str], created: int) -> Response:
    """``GET /v1/models``: a bare array."""
    rows = [{"id": name, "object": "model", "created": created, "type": "chat"} for name in names]
    return Response(status=200, headers=JSON, pieces=((0, to_json(rows, indent=2)),))


def _usage(ask: Ask, choices: Sequence[Choice]) -> dict[str, int]:
    made = output_tokens(choices)
    return {
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": made,
        "total_tokens": ask.input_tokens + made,
        "cached_tokens": 0,
    }


def _call_id(stamp: Stamp, index: int) -> str:
    return f"call_{(stamp.seed + index) & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def _complete(ask: Ask, model: str, choices: Sequence[Choice], stamp: Stamp) -> dict[str, Any]:
    return {
        "id": stamp.id,
        "object": "chat.completion",
        "created": stamp.created,
        "model": model,
        "prompt": [],
        "choices": [
            {
                "finish_reason": choice.finish,
                "seed": stamp.seed,
                "index": index,
                "logprobs": None,
                "message": _message(choice, _call_id(stamp, index)),
            }
            for index, choice in enumerate(choices)
        ],
        "usage": _usage(ask, choices),
        "system_fingerprint": FINGERPRINT,
    }


def _message(choice: Choice, call_id: str) -> dict[str, Any]:
    if choice.tool is None:
        return {"role": "assistant", "content": choice.text, "tool_calls": []}
    function = {"arguments": choice.text, "name": choice.tool}
    call = {"index": 0, "id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _stream(ask: Ask, model: str, choices: Sequence[Choice], stamp: Stamp) -> list[tuple[int, bytes]]:
    """A chunk for every token; a finish chunk for every choice, the last with the usage."""
    total = output_tokens(choices)
    pieces: list[tuple[int, bytes]] = []
    named: set[int] = set()

    def send(
        needs: int, index: int, delta: dict[str, Any], finish: str | None = None, usage: Any = None
    ) -> None:
        choice = {
            "index": index,
            "text": delta.get("content") or "",
            "logprobs": None,
            "finish_reason": finish,
            "seed": stamp.seed if finish else None,
            "delta": delta,
        }
        chunk = {
            "id": stamp.id,
            "object": "chat.completion.chunk",
            "created": stamp.created,
            "choices": [choice],
            "model": model,
            "usage": usage,
            "system_fingerprint": FINGERPRINT,
        }
        pieces.append((needs, event(chunk)))

    for needs, (index, token) in enumerate(interleaved(choices), start=1):
        choice = choices[index]
        if choice.tool is None:
            send(needs, index, {"token_id": None, "role": "assistant", "content": token})
            continue
        call: dict[str, Any] = {"index": 0, "function": {"arguments": token}}
        if index not in named:
            named.add(index)
            function = {"name": choice.tool, "arguments": token}
            call = {"index": 0, "id": _call_id(stamp, index), "type": "function", "function": function}
        send(needs, index, {"token_id": None, "role": "assistant", "content": None, "tool_calls": [call]})
    for index, choice in enumerate(choices):
        last = index == len(choices) - 1
        if choice.tool is not None:  # recorded: the finish reason of a tool call comes twice
            send(total, index, {"token_id": None, "role": "assistant", "content": ""}, choice.finish)
        send(
            total, index, {"token_id": _FINISH_TOKEN, "role": "assistant", "content": ""}, choice.finish,
            _usage(ask, choices) if last else None,
        )  # fmt: skip
    pieces.append((total, DONE))
    return pieces
