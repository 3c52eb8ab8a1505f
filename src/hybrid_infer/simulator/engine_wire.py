"""How an OpenAI-compatible engine such as vLLM writes, in Modal's containers and elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from hybrid_infer.simulator.answers import Choice
from hybrid_infer.simulator.ask import CONTEXT, Ask
from hybrid_infer.simulator.exchange import Headers, Response, Work
from hybrid_infer.simulator.together_wire import DONE, FINGERPRINT, Stamp, event, interleaved, output_tokens

JSON: Headers = (("content-type", "application/json"), ("x-simulated", "hybrid-infer"))
EVENTS: Headers = (("content-type", "text/event-stream; charset=utf-8"), ("x-simulated", "hybrid-infer"))
TEXT: Headers = (("content-type", "text/plain; charset=utf-8"), ("x-simulated", "hybrid-infer"))


def answered(ask: Ask, model: str, choices: Sequence[Choice], work: Work | None, stamp: Stamp) -> Response:
    """An answer, streamed or not. Streams tell their usage only where ``stream_options`` asks for it."""
    if ask.stream:
        return Response(
            status=200, headers=EVENTS, pieces=tuple(_stream(ask, model, choices, stamp)), work=work
        )
    body = to_json(_complete(ask, model, choices, stamp))
    return Response(status=200, headers=JSON, pieces=((output_tokens(choices), body),), work=work)


def error(status: int, kind: str, message: str, *, param: str | None = None) -> Response:
    """An error object of the engine; its code is the status."""
    problem = {"message": message, "type": kind, "param": param, "code": status}
    return Response(status=status, headers=JSON, pieces=((0, to_json({"error": problem})),))


def not_found() -> Response:
    """A path the engine does not know."""
    return Response(status=404, headers=JSON, pieces=((0, b'{"detail":"Not Found"}'),))


def text(status: int, message: str) -> Response:
    """A line of Modal's proxy, before any engine."""
    return Response(status=status, headers=TEXT, pieces=((0, message.encode()),))


def healthy() -> Response:
    """``GET /health``: an empty success."""
    return Response(status=200, headers=JSON, pieces=((0, b""),))


def models(name: str, created: int) -> Response:
    """``GET /v1/models``."""
    row = {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "simulated",
        "max_model_len": CONTEXT,
    }
    body = to_json({"object": "list", "data": [row]})
    return Response(status=200, headers=JSON, pieces=((0, body),))


def _usage(ask: Ask, choices: Sequence[Choice]) -> dict[str, Any]:
    made = output_tokens(choices)
    return {
        "prompt_tokens": ask.input_tokens,
        "total_tokens": ask.input_tokens + made,
        "completion_tokens": made,
        "prompt_tokens_details": None,
    }


def _call_id(stamp: Stamp, index: int) -> str:
    return f"chatcmpl-tool-{stamp.seed:016x}{index:02x}"


def _head(model: str, stamp: Stamp, kind: str) -> dict[str, Any]:
    return {"id": stamp.id, "object": kind, "created": stamp.created, "model": model}


def _complete(ask: Ask, model: str, choices: Sequence[Choice], stamp: Stamp) -> dict[str, Any]:
    return {
        **_head(model, stamp, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": _message(choice, _call_id(stamp, index)),
                "logprobs": None,
                "finish_reason": choice.finish,
                "stop_reason": None,
            }
            for index, choice in enumerate(choices)
        ],
        "usage": _usage(ask, choices),
        "system_fingerprint": FINGERPRINT,
        "prompt_logprobs": None,
    }


def _message(choice: Choice, call_id: str) -> dict[str, Any]:
    if choice.tool is None:
        return {"role": "assistant", "content": choice.text, "reasoning_content": None, "tool_calls": []}
    call = {"id": call_id, "type": "function", "function": {"name": choice.tool, "arguments": choice.text}}
    return {"role": "assistant", "content": None, "reasoning_content": None, "tool_calls": [call]}


def _stream(ask: Ask, model: str, choices: Sequence[Choice], stamp: Stamp) -> list[tuple[int, bytes]]:
    """The role first, then a chunk for every token, a finish for every choice, and the usage if asked for."""
    total = output_tokens(choices)
    pieces: list[tuple[int, bytes]] = []
    head = {**_head(model, stamp, "chat.completion.chunk"), "system_fingerprint": FINGERPRINT}

    def send(needs: int, index: int, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        pieces.append((needs, event({**head, "choices": [choice]})))

    for index, choice in enumerate(choices):
        send(1, index, {"role": "assistant", "content": ""})
        if choice.tool is not None:
            function = {"name": choice.tool, "arguments": ""}
            call = {"index": 0, "id": _call_id(stamp, index), "type": "function", "function": function}
            send(1, index, {"tool_calls": [call]})
    for needs, (index, token) in enumerate(interleaved(choices), start=1):
        if choices[index].tool is None:
            send(needs, index, {"content": token})
        else:
            send(needs, index, {"tool_calls": [{"index": 0, "function": {"arguments": token}}]})
    for index, choice in enumerate(choices):
        send(total, index, {}, choice.finish)
    if ask.include_usage:
        pieces.append((total, event({**head, "choices": [], "usage": _usage(ask, choices)})))
    pieces.append((total, DONE))
    return pieces
