"""Methods of `AsyncClient` that answer with texts, vectors or an order of texts; chat has its own file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Unpack, overload

from hybrid_infer.calls.completions import Completion, CompletionChunk
from hybrid_infer.calls.embeddings import EmbeddingList
from hybrid_infer.calls.requests import (
    CompletionArguments,
    EmbeddingArguments,
    RerankArguments,
    completion_call,
    embedding_call,
    rerank_call,
)
from hybrid_infer.calls.rerank import Reranking
from hybrid_infer.resources.base import AsyncResource
from hybrid_infer.streams import AsyncStream

CompletionStream = AsyncStream[CompletionChunk, Completion]


class AsyncCompletions(AsyncResource):
    """`client.completions`"""

    @overload
    async def create(
        self,
        *,
        prompt: str | Sequence[Any],
        model: str | None = None,
        stream: Literal[False] | None = False,
        **options: Unpack[CompletionArguments],
    ) -> Completion: ...
    @overload
    async def create(
        self,
        *,
        prompt: str | Sequence[Any],
        model: str | None = None,
        stream: Literal[True],
        **options: Unpack[CompletionArguments],
    ) -> CompletionStream: ...
    @overload
    async def create(
        self,
        *,
        prompt: str | Sequence[Any],
        model: str | None = None,
        stream: bool | None,
        **options: Unpack[CompletionArguments],
    ) -> Completion | CompletionStream: ...

    async def create(
        self,
        *,
        prompt: str | Sequence[Any],
        model: str | None = None,
        stream: bool | None = False,
        **options: Unpack[CompletionArguments],
    ) -> Completion | CompletionStream:
        """As `Completions.create`."""
        call = completion_call(self._defaults, prompt, model, stream, options)
        if stream:
            return await self._stream(call)
        completion: Completion = await self._answer(call)
        return completion


class AsyncEmbeddings(AsyncResource):
    """`client.embeddings`"""

    async def create(
        self, *, input: str | Sequence[Any], model: str | None = None, **options: Unpack[EmbeddingArguments]
    ) -> EmbeddingList:
        """As `Embeddings.create`."""
        vectors: EmbeddingList = await self._answer(embedding_call(self._defaults, input, model, options))
        return vectors


class AsyncRerank(AsyncResource):
    """`client.rerank`"""

    async def create(
        self,
        *,
        query: str,
        documents: Iterable[Any],
        model: str | None = None,
        **options: Unpack[RerankArguments],
    ) -> Reranking:
        """As `Rerank.create`."""
        ranking: Reranking = await self._answer(rerank_call(self._defaults, query, documents, model, options))
        return ranking
