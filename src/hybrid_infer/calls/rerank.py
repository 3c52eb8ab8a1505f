"""Reranking in the shape of the `together` package, which is Cohere's and vLLM's, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypedDict

from hybrid_infer.calls.wire import Answer, CompletionUsage, Index, NullAs, Wire


class RerankDocument(Wire):
    """The document as it was given; empty unless `return_documents` asked for it."""

    text: str | None = None


class RerankResult(Wire):
    """One document: its place in the request, and how relevant it is to the query."""

    index: Index
    relevance_score: float
    document: Annotated[RerankDocument, NullAs(RerankDocument)] = RerankDocument()


class Reranking(Answer):
    """The documents, the most relevant first."""

    id: str | None = None
    model: str | None = None
    object: Annotated[str, NullAs(lambda: "rerank")] = "rerank"
    results: list[RerankResult]
    usage: CompletionUsage | None = None


class RerankOptions(TypedDict, total=False):
    """The options that Together (3.1.1) knows by name."""

    top_n: int | None
    return_documents: bool | None
    rank_fields: Sequence[str] | None
