"""Text completions in the shape of the `openai` and `together` packages, whole and in chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict

from pydantic import Field

from hybrid_infer.calls.wire import Answer, CompletionUsage, FinishReason, Index, NullAs, Text, Wire


class CompletionChoice(Wire):
    """One of the `n` answers, or what a chunk adds to it."""

    index: Index = 0
    text: Text = ""
    finish_reason: FinishReason = None
    logprobs: Any = None
    seed: int | None = None


class Completion(Answer):
    """A complete answer."""

    id: str | None = None
    object: Annotated[str, NullAs(lambda: "text_completion")] = "text_completion"
    created: int | None = None
    model: str | None = None
    choices: list[CompletionChoice]
    usage: CompletionUsage | None = None
    system_fingerprint: str | None = None


class CompletionChunk(Wire):
    """One event of a streamed answer. `choices` is empty in chunks that carry only usage.

    Together's chunks hold the text under ``choices[].text``, as everybody's do, and the finish reason there
    or beside the choices (recorded and typed differently, 2026-10): both are read.
    """

    id: str | None = None
    object: Annotated[str, NullAs(lambda: "text_completion")] = "text_completion"
    created: int | None = None
    model: str | None = None
    choices: Annotated[list[CompletionChoice], NullAs(list)] = Field(default_factory=list[CompletionChoice])
    usage: CompletionUsage | None = None
    system_fingerprint: str | None = None


class CompletionOptions(TypedDict, total=False):
    """The options of a completion that Together (3.1.1) and OpenAI (3.54) know by name."""

    suffix: str | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    n: int | None
    best_of: int | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    repetition_penalty: float | None
    logit_bias: Mapping[str, float] | None
    logprobs: int | None
    echo: bool | None
    safety_model: str | None
    stream_options: Mapping[str, Any] | None
    user: str | None
