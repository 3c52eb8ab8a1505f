"""Chat completions in the shape of the `openai` and `together` packages, whole and in chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypedDict

from pydantic import Field

from hybrid_infer.calls.wire import Answer, CompletionUsage, FinishReason, Index, NullAs, Text, Wire
from hybrid_infer.errors import AnswerFormatError

if TYPE_CHECKING:
    from hybrid_infer.calls.structured import Shape


class FunctionCall(Wire):
    """The function a tool call names; `arguments` is JSON as text, as the model wrote it."""

    name: Text = ""
    arguments: Text = ""


class ToolCall(Wire):
    """One call of a tool that the model asks for."""

    id: str | None = None
    type: str | None = "function"
    index: int | None = None
    function: Annotated[FunctionCall, NullAs(FunctionCall)] = Field(default_factory=FunctionCall)


class ChatMessage(Wire):
    """The message of an answer. `reasoning` and `reasoning_content` are two names for the same thing."""

    role: Annotated[str, NullAs(lambda: "assistant")] = "assistant"
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(Wire):
    """One of the `n` answers."""

    index: Index = 0
    message: ChatMessage
    finish_reason: FinishReason = None
    logprobs: Any = None
    seed: int | None = None
    """Up to 2**64, past what int64 holds."""


class ChatCompletion(Answer):
    """A complete answer."""

    id: str | None = None
    object: Annotated[str, NullAs(lambda: "chat.completion")] = "chat.completion"
    created: int | None = None
    model: str | None = None
    choices: list[Choice]
    usage: CompletionUsage | None = None
    system_fingerprint: str | None = None

    def expect(self, shape: Shape) -> None:
        """Said by the client, after `hybrid`: what the answer is read into.

        Raises:
            AnswerFormatError: it does not fit, and the caller asked for it with a class or a schema.
        """
        private = self.__pydantic_private__
        if private is not None:
            private["shape"] = shape
            if shape.required:
                _ = self.parsed

    @property
    def parsed(self) -> Any:
        """The answer as `response_format` asked for it: an instance of the class, or JSON.

        None where the model calls tools instead.

        Raises:
            AnswerFormatError: the answer does not fit; with its text and the reasons.
            AttributeError: nothing was asked for that could be read: no `response_format`, or text.
        """
        private = self.__pydantic_private__
        if private is None or "shape" not in private:
            raise AttributeError("no response_format was asked for that an answer can be read into")
        if "parsed" not in private:
            from hybrid_infer.calls.structured import parsed_answer

            try:
                private["parsed"] = parsed_answer(self, private["shape"])
            except AnswerFormatError as error:
                error.hybrid = self.hybrid
                raise
        return private["parsed"]


class DeltaFunctionCall(Wire):
    """A piece of a function call: the name in the first, then arguments to append."""

    name: str | None = None
    arguments: str | None = None


class DeltaToolCall(Wire):
    """A piece of the tool call at `index`."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: DeltaFunctionCall | None = None


class Delta(Wire):
    """What a chunk adds to the message."""

    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[DeltaToolCall] | None = None


class ChunkChoice(Wire):
    """What a chunk adds to the choice at `index`."""

    index: Index = 0
    delta: Annotated[Delta, NullAs(Delta)] = Field(default_factory=Delta)
    finish_reason: FinishReason = None
    logprobs: Any = None
    seed: int | None = None


class ChatCompletionChunk(Wire):
    """One event of a streamed answer. `choices` is empty in chunks that carry only usage.

    `reset` is True for `ChatStreamReset` alone.
    """

    reset: ClassVar[bool] = False

    id: str | None = None
    object: Annotated[str, NullAs(lambda: "chat.completion.chunk")] = "chat.completion.chunk"
    created: int | None = None
    model: str | None = None
    choices: Annotated[list[ChunkChoice], NullAs(list)] = Field(default_factory=list[ChunkChoice])
    usage: CompletionUsage | None = None
    system_fingerprint: str | None = None


class ChatStreamReset(ChatCompletionChunk):
    """Stands between a stream that broke and the one asked for instead (`on_stream_break="restart"`).

    It has no choices. Drop what came before it: the complete answer follows.

    Attributes:
        reason: how the stream broke.
        partial: what had come, as far as it is known.
    """

    reset: ClassVar[bool] = True

    reason: str
    partial: ChatCompletion | None = None


def chat_reset(reason: str, partial: ChatCompletion | None) -> ChatStreamReset:
    """The event that tells consumers of a stream to drop what came."""
    return ChatStreamReset(reason=reason, partial=partial)


class ChatOptions(TypedDict, total=False):
    """The options of a chat request that Together (3.1.1) and OpenAI (3.54) know by name.

    Others pass through by name just the same; a type checker then asks you to put them in `extra_body`.
    """

    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    n: int | None
    max_tokens: int | None
    max_completion_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    repetition_penalty: float | None
    logit_bias: Mapping[str, float] | None
    logprobs: int | bool | None
    top_logprobs: int | None
    echo: bool | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    functions: Sequence[Mapping[str, Any]] | None
    function_call: str | Mapping[str, Any] | None
    response_format: Mapping[str, Any] | type[Any] | None
    reasoning: Mapping[str, Any] | None
    reasoning_effort: str | None
    chat_template_kwargs: Mapping[str, Any] | None
    context_length_exceeded_behavior: str | None
    safety_model: str | None
    compliance: str | None
    stream_options: Mapping[str, Any] | None
    user: str | None
    safety_identifier: str | None
    prompt_cache_key: str | None
    service_tier: str | None
    store: bool | None
    verbosity: str | None
    modalities: Sequence[str] | None
    prediction: Mapping[str, Any] | None
    audio: Mapping[str, Any] | None
    moderation: Mapping[str, Any] | None
    web_search_options: Mapping[str, Any] | None
    prompt_cache_options: Mapping[str, Any] | None
    prompt_cache_retention: str | None
    metadata: Mapping[str, str] | None
