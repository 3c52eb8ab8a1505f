"""`AsyncClient.chat`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal, Unpack, overload

from hybrid_infer.calls.ask import ChatArguments, chat_call
from hybrid_infer.calls.chat import ChatCompletion, ChatCompletionChunk
from hybrid_infer.resources.base import AsyncResource
from hybrid_infer.streams import AsyncStream

ChatStream = AsyncStream[ChatCompletionChunk, ChatCompletion]


class AsyncChat(AsyncResource):
    """`client.chat`"""

    @cached_property
    def completions(self) -> AsyncChatCompletions:
        return AsyncChatCompletions(self._core, self._defaults)


class AsyncChatCompletions(AsyncResource):
    """`client.chat.completions`"""

    @overload
    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: Literal[False] | None = False,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion: ...
    @overload
    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: Literal[True],
        **options: Unpack[ChatArguments],
    ) -> ChatStream: ...
    @overload
    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: bool | None,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion | ChatStream: ...

    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: bool | None = False,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion | ChatStream:
        """As `ChatCompletions.create`."""
        call = chat_call(self._defaults, messages, model, stream, options)
        if stream:
            return await self._stream(call)
        completion: ChatCompletion = await self._answer(call)
        return completion
