"""Embeddings in the shape of the `openai` and `together` packages."""

from __future__ import annotations

from typing import Annotated, TypedDict

from hybrid_infer.calls.wire import Answer, CompletionUsage, Index, NullAs, Wire


class Embedding(Wire):
    """The vector of one input; base64 of little-endian float32 where the call asked for that."""

    index: Index = 0
    embedding: list[float] | str
    object: Annotated[str, NullAs(lambda: "embedding")] = "embedding"


class EmbeddingList(Answer):
    """One vector for each input, in their order. Together sends no usage (types and docs, 2026-10)."""

    data: list[Embedding]
    model: str | None = None
    object: Annotated[str, NullAs(lambda: "list")] = "list"
    usage: CompletionUsage | None = None


class EmbeddingOptions(TypedDict, total=False):
    """The options that OpenAI (3.54) knows by name; Together has none."""

    dimensions: int | None
    encoding_format: str | None
    user: str | None
