"""From the body of a complete answer to a `ChatCompletion`, and from usage on the wire to `Usage`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from hybrid_infer.backends.base import is_array, is_object
from hybrid_infer.backends.provider_errors import Redact, redacted_body, shortened
from hybrid_infer.calls.call import Call
from hybrid_infer.calls.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatMessage,
    ChunkChoice,
    Delta,
)
from hybrid_infer.calls.expected import CHARACTERS_PER_TOKEN
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.reply import Facts, RawResponse
from hybrid_infer.calls.wire import CompletionUsage
from hybrid_infer.errors import APIResponseError, APIStatusError

FAILED = "error"
"""The finish reason of engines that gave up midway (together-python, pull request 153)."""

ErrorOf = Callable[[RawResponse], APIStatusError]

_SHOWN = 120
_READ = ChatCompletion.__pydantic_validator__.validate_json
"""`ChatCompletion.model_validate_json`, without what that does before."""


def read_completion(
    call: Call, response: RawResponse, error_of: ErrorOf, redact: Redact
) -> tuple[ChatCompletion, Facts]:
    """The answer in a response with a status of success, and what is known besides its content.

    Raises:
        APIStatusError: the body is an error object; the class is that of its code.
        APIResponseError: the body is HTML, empty, not JSON, or JSON of another shape.
    """
    try:
        completion: ChatCompletion | None = _READ(response.body)
    except ValidationError as problem:
        completion, wrong = None, first_problem(problem)
    else:
        wrong = "it has no choices"
    if completion is None or not completion.choices:
        if says_error(response.body):
            raise error_of(response)
        raise not_an_answer(response, "a chat completion", wrong, redact)
    reasons = tuple([choice.finish_reason for choice in completion.choices if choice.finish_reason])
    if FAILED in reasons:
        wrong = 'the provider broke it off, its finish reason is "error"'
        raise not_an_answer(response, "a chat completion", wrong, redact)
    return completion, Facts(
        id=completion.id,
        model=completion.model,
        finish_reasons=reasons,
        usage=usage_of(completion.usage)
        or estimated_usage(call, sum(answer_length(choice.message) for choice in completion.choices)),
        raw=response,
    )


def chunks_of(completion: ChatCompletion) -> list[ChatCompletionChunk]:
    """A complete answer as a stream would give it: one chunk with all content, one that ends it."""
    head: dict[str, Any] = {"id": completion.id, "created": completion.created, "model": completion.model}
    content = [
        ChunkChoice(
            index=choice.index,
            delta=Delta.model_validate(_with_positions(choice.message.model_dump(exclude_none=True))),
            logprobs=choice.logprobs,
        )
        for choice in completion.choices
    ]
    ends = [
        ChunkChoice(index=choice.index, finish_reason=choice.finish_reason, seed=choice.seed)
        for choice in completion.choices
    ]
    return [
        ChatCompletionChunk(**head, choices=content),
        ChatCompletionChunk(**head, choices=ends, usage=completion.usage),
    ]


def usage_of(wire: CompletionUsage | None) -> Usage | None:
    """Usage as the provider counted it; None where it did not.

    Cached tokens stand in ``cached_tokens`` (Together's Llama models) or in ``prompt_tokens_details``,
    reasoning tokens in ``completion_tokens_details`` (Together, recorded 2026-08 and docs 2026-10).
    """
    if wire is None:
        return None
    total, given, made = wire.total_tokens, wire.prompt_tokens, wire.completion_tokens
    if total is not None:
        given = total - made if given is None and made is not None else given
        made = total - given if made is None and given is not None else made
    if given is None and made is None:
        return None
    cached, into, out = wire.cached_tokens, wire.prompt_tokens_details, wire.completion_tokens_details
    if cached is None and into is not None:
        cached = into.cached_tokens
    return Usage(
        input_tokens=given,
        output_tokens=made,
        cached_tokens=cached,
        reasoning_tokens=out.reasoning_tokens if out is not None else None,
    )


def estimated_usage(call: Call, characters: int) -> Usage:
    """Usage from the length of the texts, for answers that state none: 4 characters a token, rounded up.

    Args:
        characters: length of the answer, reasoning and tool calls included.
    """
    messages = call.body.get("messages")
    asked = sum(_message_length(message) for message in messages) if is_array(messages) else 0
    return estimated(asked, characters)


def estimated(asked: int, answered: int) -> Usage:
    """Usage from so many characters of request and answer."""
    return Usage(input_tokens=_tokens(asked), output_tokens=_tokens(answered), estimated=True)


def answer_length(message: ChatMessage) -> int:
    """Characters of all that the model wrote."""
    # Where both names of the reasoning come, they hold the same text.
    texts = [message.content, message.reasoning or message.reasoning_content, message.refusal]
    for call in message.tool_calls or ():
        texts += call.function.name, call.function.arguments
    return sum(len(text) for text in texts if text)


def says_error(body: bytes) -> bool:
    """Whether a JSON body is an error object of one of the known shapes."""
    try:
        payload: Any = from_json(body)
    except ValueError:
        return False
    if not is_object(payload):
        return False
    return bool(payload.get("error")) or payload.get("object") == "error" or "detail" in payload


def not_an_answer(response: RawResponse, what: str, wrong: str, redact: Redact) -> APIResponseError:
    """The error for a success that does not hold what was asked for.

    Args:
        what: was asked for, e.g. ``"a chat completion"``.
        wrong: is wrong with it, where it is neither empty nor a web page.
    """
    kind = response.header("content-type") or "no content type"
    body = redacted_body(response, redact)
    begins = shortened(" ".join(body.split()), _SHOWN)
    if not begins:
        wrong = "it is empty"
    elif begins.startswith("<"):
        wrong = "it is a web page"
    return APIResponseError(
        f"the answer with status {response.status} is not {what}: {wrong} ({redact(kind)})"
        + (f", {begins!r}" if begins else ""),
        status=response.status,
        request_id=response.request_id,
        body=body,
        hint="check that the base URL is that of an OpenAI-compatible API, and that no proxy answers for it",
    )


def first_problem(problem: ValidationError) -> str:
    """What is wrong with an answer, without its content."""
    first = problem.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return "it is not JSON"
    if first["loc"] == ("choices",) and first["type"] == "missing":
        return "it has no choices"
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"


def _with_positions(message: dict[str, Any]) -> dict[str, Any]:
    for position, call in enumerate(message.get("tool_calls", ())):
        call.setdefault("index", position)
    return message


def _message_length(message: Any) -> int:
    content: Any = _field(message, "content")
    if isinstance(content, str):
        return len(content)
    parts = content if is_array(content) else ()
    return sum(len(text) for part in parts if isinstance(text := _field(part, "text"), str))


def _field(value: Any, name: str) -> Any:
    """A field of a message or of a part of one, which may be a mapping or a model."""
    return value.get(name) if is_object(value) else getattr(value, name, None)


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)
