"""``POST /v1/completions``: the answer that chat would give to the prompt as a message. Pure.

Together's complete answers have the shape of a recorded one (2024-06), its chunks that of the recorded chunks
of chat, with the token of the `together` package's type (3.1.1). Engines: as vLLM writes them (2026).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import to_json

from hybrid_infer.simulator import engine_wire, together_wire
from hybrid_infer.simulator.answers import Choice, answer
from hybrid_infer.simulator.ask import Ask, NotAcceptedError, read, tokens_of
from hybrid_infer.simulator.operations.made import Made, Posted, missing
from hybrid_infer.simulator.shapes import is_list
from hybrid_infer.simulator.together_wire import DONE, FINGERPRINT, event, interleaved, output_tokens

ENGINE_LIMIT = 16
"""Tokens of an engine's completion where the request does not say: OpenAI's default, and vLLM's."""

_TAKEN = ("model", "n", "stop", "stream", "stream_options", "max_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Completions:
    """All choices of all prompts, and what each begins with."""

    ask: Ask
    choices: tuple[Choice, ...]
    echoes: tuple[str, ...]


def completions(posted: Posted) -> Made:
    """Complete a prompt; several only where an engine answers."""
    asked = _asked(posted)
    made = output_tokens(asked.choices)
    if asked.ask.stream:
        pieces = _together_stream(asked, posted) if posted.together else _engine_stream(asked, posted)
        return Made(
            model=posted.model,
            input_tokens=asked.ask.input_tokens,
            output_tokens=made,
            headers=together_wire.EVENTS if posted.together else engine_wire.EVENTS,
            pieces=tuple(pieces),
        )
    body = _together_body(asked, posted) if posted.together else _engine_body(asked, posted)
    whole = posted.json(body, input_tokens=asked.ask.input_tokens, output_tokens=made)
    return replace(whole, whole_text=True)


def _asked(posted: Posted) -> _Completions:
    prompts = _prompts(posted)
    echo = posted.flag("echo")
    fields = {name: posted.fields[name] for name in _TAKEN if posted.fields.get(name) is not None}
    if not posted.together:
        fields.setdefault("max_tokens", ENGINE_LIMIT)
    asks = [
        read(to_json({**fields, "messages": [{"role": "user", "content": prompt}]})) for prompt in prompts
    ]
    choices = [
        (choice, prompt)
        for ask, prompt in zip(asks, prompts, strict=True)
        for choice in answer(ask, posted.seed)
    ]
    return _Completions(
        ask=replace(asks[0], input_tokens=sum(tokens_of(prompt) for prompt in prompts)),
        choices=tuple(choice for choice, _ in choices),
        echoes=tuple(prompt if echo else "" for _, prompt in choices),
    )


def _prompts(posted: Posted) -> tuple[str, ...]:
    prompt: Any = posted.fields.get("prompt")
    if prompt is None:
        raise missing("prompt")
    if isinstance(prompt, str):
        return (prompt,)
    if posted.together or not is_list(prompt) or not prompt:
        raise NotAcceptedError('"prompt" must be a string.', param="prompt")
    if all(isinstance(each, str) for each in prompt):
        return tuple(prompt)
    rows = [prompt] if all(isinstance(each, int) for each in prompt) else prompt
    if any(not is_list(row) or not row or any(not isinstance(each, int) for each in row) for row in rows):
        raise NotAcceptedError('"prompt" must be texts or lists of tokens.', param="prompt")
    return tuple(" ".join(map(str, row)) for row in rows)


def _usage(asked: _Completions) -> dict[str, Any]:
    made, taken = output_tokens(asked.choices), asked.ask.input_tokens
    return {"prompt_tokens": taken, "completion_tokens": made, "total_tokens": taken + made}


def _together_body(asked: _Completions, posted: Posted) -> dict[str, Any]:
    stamp = posted.stamp
    return {
        "id": stamp.id,
        "object": "text.completion",
        "created": stamp.created,
        "model": posted.named,
        "prompt": [],
        "choices": [
            {
                "text": echo + choice.text,
                "finish_reason": choice.finish,
                "seed": stamp.seed,
                "logprobs": None,
                "index": index,
            }
            for index, (choice, echo) in enumerate(zip(asked.choices, asked.echoes, strict=True))
        ],
        "usage": {**_usage(asked), "cached_tokens": 0},
    }


def _together_stream(asked: _Completions, posted: Posted) -> list[tuple[int, bytes]]:
    stamp = posted.stamp
    total = output_tokens(asked.choices)
    pieces: list[tuple[int, bytes]] = []

    def send(needs: int, index: int, text: str, finish: str | None = None, usage: Any = None) -> None:
        choice = {
            "index": index,
            "text": text,
            "logprobs": None,
            "finish_reason": finish,
            "seed": stamp.seed if finish else None,
            "delta": {"token_id": None, "role": "assistant", "content": text},
        }
        chunk = {
            "id": stamp.id,
            "object": "completion.chunk",
            "created": stamp.created,
            "choices": [choice],
            "model": posted.named,
            "token": {"id": 0, "text": text, "logprob": 0.0, "special": bool(finish)},
            "usage": usage,
        }
        pieces.append((needs, event(chunk)))

    for index, echo in enumerate(asked.echoes):
        if echo:
            send(1, index, echo)
    for needs, (index, token) in enumerate(interleaved(asked.choices), start=1):
        send(needs, index, token)
    for index, choice in enumerate(asked.choices):
        last = index == len(asked.choices) - 1
        usage = {**_usage(asked), "cached_tokens": 0} if last else None
        send(total, index, "", choice.finish, usage)
    pieces.append((total, DONE))
    return pieces


def _engine_head(posted: Posted) -> dict[str, Any]:
    stamp = posted.stamp
    return {
        "id": stamp.id,
        "object": "text_completion",
        "created": stamp.created,
        "model": posted.named,
        "system_fingerprint": FINGERPRINT,
    }


def _engine_body(asked: _Completions, posted: Posted) -> dict[str, Any]:
    return {
        **_engine_head(posted),
        "choices": [
            {
                "index": index,
                "text": echo + choice.text,
                "logprobs": None,
                "finish_reason": choice.finish,
                "stop_reason": None,
            }
            for index, (choice, echo) in enumerate(zip(asked.choices, asked.echoes, strict=True))
        ],
        "usage": {**_usage(asked), "prompt_tokens_details": None},
    }


def _engine_stream(asked: _Completions, posted: Posted) -> list[tuple[int, bytes]]:
    total = output_tokens(asked.choices)
    pieces: list[tuple[int, bytes]] = []
    head = _engine_head(posted)

    def send(needs: int, index: int, text: str, finish: str | None = None) -> None:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
        pieces.append((needs, event({**head, "choices": [choice]})))

    for index, echo in enumerate(asked.echoes):
        if echo:
            send(1, index, echo)
    for needs, (index, token) in enumerate(interleaved(asked.choices), start=1):
        send(needs, index, token)
    for index, choice in enumerate(asked.choices):
        send(total, index, "", choice.finish)
    if asked.ask.include_usage:
        pieces.append((total, event({**head, "choices": [], "usage": _usage(asked)})))
    pieces.append((total, DONE))
    return pieces
