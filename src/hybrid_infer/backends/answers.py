"""From the body of a complete answer to the value of its operation, chat apart (see `chat_answer`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import from_json

from hybrid_infer.backends.base import is_array, is_object
from hybrid_infer.backends.chat_answer import (
    ErrorOf,
    estimated,
    first_problem,
    not_an_answer,
    says_error,
    usage_of,
)
from hybrid_infer.backends.provider_errors import Redact
from hybrid_infer.calls.audio import Speech, Transcription, Translation
from hybrid_infer.calls.binary import BinaryAnswer, RawAnswer
from hybrid_infer.calls.call import Call
from hybrid_infer.calls.completions import Completion
from hybrid_infer.calls.embeddings import EmbeddingList
from hybrid_infer.calls.expected import characters, pixels_of
from hybrid_infer.calls.images import Images
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.operations import Operation
from hybrid_infer.calls.reply import Facts, RawResponse
from hybrid_infer.calls.rerank import Reranking
from hybrid_infer.calls.stored import (
    Batch,
    BatchList,
    FileContent,
    FileDeleted,
    ModelList,
    StoredFile,
    StoredFileList,
    Video,
)
from hybrid_infer.calls.wire import Answer

MODELS: Mapping[Operation, type[Answer]] = {
    "completions": Completion,
    "embeddings": EmbeddingList,
    "rerank": Reranking,
    "images": Images,
    "transcriptions": Transcription,
    "translations": Translation,
    "models.list": ModelList,
    "files.create": StoredFile,
    "files.retrieve": StoredFile,
    "files.list": StoredFileList,
    "files.delete": FileDeleted,
    "batches.create": Batch,
    "batches.retrieve": Batch,
    "batches.list": BatchList,
    "batches.cancel": Batch,
    "videos.create": Video,
    "videos.retrieve": Video,
}
"""What JSON answers are read as."""

BYTES: Mapping[Operation, type[BinaryAnswer]] = {"speech": Speech, "files.content": FileContent}
"""What comes as it is."""

Reshape: TypeAlias = Callable[[Any, Call], Any]


def read_answer(call: Call, response: RawResponse, error_of: ErrorOf, redact: Redact) -> tuple[Any, Facts]:
    """The answer in a response with a status of success, and what is known besides its content.

    Raises:
        APIStatusError: the body is an error object; the class is that of its code.
        APIResponseError: the body is HTML, empty, not JSON, or JSON of another shape.
    """
    kind = response.header("content-type") or ""
    if call.operation == "request":
        return RawAnswer(response.body, kind or None, response.status, response.headers), Facts(raw=response)
    binary = BYTES.get(call.operation)
    if binary is not None:
        if not response.body or "html" in kind or ("json" in kind and says_error(response.body)):
            raise _wrong(call, response, "it holds no bytes of that", error_of, redact)
        return binary(response.body, kind or None), Facts(raw=response)
    model = MODELS[call.operation]
    if issubclass(model, Transcription) and kind.startswith("text/") and "html" not in kind:
        # `response_format` text, srt or vtt.
        return model(text=response.text), Facts(raw=response)
    try:
        reshape = _RESHAPED.get(call.operation)
        if reshape is None:
            value = model.model_validate_json(response.body)
        else:
            value = model.model_validate(reshape(from_json(response.body), call))
    except ValidationError as problem:
        raise _wrong(call, response, first_problem(problem), error_of, redact) from None
    except ValueError:
        raise _wrong(call, response, "it is not JSON", error_of, redact) from None
    return value, _facts(call, value, response)


def estimated_completion(call: Call, length: int) -> Usage:
    """Usage of a completion that states none, from the characters of its texts."""
    return estimated(characters(call.body.get("prompt")), length)


def _wrong(call: Call, response: RawResponse, wrong: str, error_of: ErrorOf, redact: Redact) -> Exception:
    if says_error(response.body):
        return error_of(response)
    return not_an_answer(response, f"an answer to {call.operation}", wrong, redact)


def _facts(call: Call, value: Answer, response: RawResponse) -> Facts:
    facts = Facts(
        id=_text(getattr(value, "id", None)), model=_text(getattr(value, "model", None)), raw=response
    )
    if isinstance(value, Completion):
        facts.finish_reasons = tuple(choice.finish_reason for choice in value.choices if choice.finish_reason)
        length = sum(len(choice.text) for choice in value.choices)
        facts.usage = usage_of(value.usage) or estimated_completion(call, length)
    elif isinstance(value, EmbeddingList):
        facts.usage = usage_of(value.usage) or estimated(characters(call.body.get("input")), 0)
    elif isinstance(value, Reranking):
        asked = characters(call.body.get("query")) + characters(call.body.get("documents"))
        facts.usage = usage_of(value.usage) or estimated(asked, 0)
    elif isinstance(value, Images):
        facts.usage = _drawn(call, value)
    elif isinstance(value, Transcription) and value.duration is not None:
        facts.usage = Usage(audio_seconds=value.duration)
    return facts


def _drawn(call: Call, images: Images) -> Usage | None:
    """The pixels of what was made. Without a word on the size in the request it is estimated."""
    body = {**call.body, **(call.extra_body or {})}
    pixels, said = pixels_of(body)
    steps: Any = body.get("steps")
    return Usage(
        pixels=pixels * len(images.data), steps=steps if isinstance(steps, int) else None, estimated=not said
    )


def _bare_list(payload: Any, call: Call) -> Any:
    """Together answers some lists with a bare array (2026-10)."""
    return {"data": payload} if is_array(payload) else payload


def _new_job(payload: Any, call: Call) -> Any:
    """Together wraps a new job, and may warn beside it (``together`` 3.1.1, `BatchCreateResponse`)."""
    if not is_object(payload) or not is_object(payload.get("job")):
        return payload
    warning: Any = payload.get("warning")
    if isinstance(warning, str) and warning:
        call.tally.warnings.append(warning)
    return payload["job"]


_RESHAPED: Mapping[Operation, Reshape] = {
    "models.list": _bare_list,
    "files.list": _bare_list,
    "batches.list": _bare_list,
    "batches.create": _new_job,
    "batches.cancel": _new_job,
}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
