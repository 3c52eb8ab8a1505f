"""Methods of `Client` that answer with texts, vectors or an order of texts; chat has its own file."""

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
from hybrid_infer.resources.base import Resource
from hybrid_infer.streams import Stream

CompletionStream = Stream[CompletionChunk, Completion]


class Completions(Resource):
    """`client.completions`"""

    @overload
    def create(
        self,
        *,
        prompt: str | Sequence[Any],
        model: str | None = None,
        stream: Literal[False] | None = False,
        **options: Unpack[CompletionArguments],
    ) -> Completion: ...
    @overload
    def create(
        self,
        *,
        prompt: str | Sequence[Any],
        model: str | None = None,
        stream: Literal[True],
        **options: Unpack[CompletionArguments],
    ) -> CompletionStream: ...
    @overload
    def create(
        self,
        *,
        prompt: str | Sequence[Any],
        model: str | None = None,
        stream: bool | None,
        **options: Unpack[CompletionArguments],
    ) -> Completion | CompletionStream: ...

    def create(
        self,
        *,
        prompt: str | Sequence[Any],
        model: str | None = None,
        stream: bool | None = False,
        **options: Unpack[CompletionArguments],
    ) -> Completion | CompletionStream:
        """The text that follows a prompt, whole or as a stream; raises as `chat.completions.create`.

        Args:
            prompt: a text, or several texts or tokens where the server takes them.
        """
        call = completion_call(self._defaults, prompt, model, stream, options)
        if stream:
            return self._stream(call)
        completion: Completion = self._answer(call)
        return completion


class Embeddings(Resource):
    """`client.embeddings`"""

    def create(
        self, *, input: str | Sequence[Any], model: str | None = None, **options: Unpack[EmbeddingArguments]
    ) -> EmbeddingList:
        """A vector for each input; raises as `chat.completions.create`."""
        vectors: EmbeddingList = self._answer(embedding_call(self._defaults, input, model, options))
        return vectors


class Rerank(Resource):
    """`client.rerank`"""

    def create(
        self,
        *,
        query: str,
        documents: Iterable[Any],
        model: str | None = None,
        **options: Unpack[RerankArguments],
    ) -> Reranking:
        """Documents by how relevant they are to a query; raises as `chat.completions.create`.

        Args:
            documents: texts, or objects whose fields are ranked by.
        """
        ranking: Reranking = self._answer(rerank_call(self._defaults, query, documents, model, options))
        return ranking
