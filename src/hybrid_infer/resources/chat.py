"""`Client.chat`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal, Unpack, overload

from hybrid_infer.calls.ask import ChatArguments, chat_call
from hybrid_infer.calls.chat import ChatCompletion, ChatCompletionChunk
from hybrid_infer.resources.base import Resource
from hybrid_infer.streams import Stream

ChatStream = Stream[ChatCompletionChunk, ChatCompletion]


class Chat(Resource):
    """`client.chat`"""

    @cached_property
    def completions(self) -> ChatCompletions:
        return ChatCompletions(self._core, self._defaults)


class ChatCompletions(Resource):
    """`client.chat.completions`"""

    @overload
    def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: Literal[False] | None = False,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion: ...
    @overload
    def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: Literal[True],
        **options: Unpack[ChatArguments],
    ) -> ChatStream: ...
    @overload
    def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: bool | None,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion | ChatStream: ...

    def create(
        self,
        *,
        messages: Iterable[Any],
        model: str | None = None,
        stream: bool | None = False,
        **options: Unpack[ChatArguments],
    ) -> ChatCompletion | ChatStream:
        """A chat completion, whole or as a stream.

        Options that are not ours go to the provider by their name, known to this package or not.

        Args:
            messages: the conversation, e.g. ``[{"role": "user", "content": "Hello"}]``.
            model: a name of the configuration, or the provider's own.
            stream: get chunks as they arrive.

        Raises:
            InvalidCallError: the arguments are wrong; nothing was sent.
            APIError: the call went out, or tried to, and did not end well; see its `retryable`, `billed`.
        """
        call = chat_call(self._defaults, messages, model, stream, options)
        if stream:
            return self._stream(call)
        completion: ChatCompletion = self._answer(call)
        return completion
