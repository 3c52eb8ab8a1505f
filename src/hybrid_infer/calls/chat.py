"""Chat completions in the shape of the `openai` and `together` packages, whole and in chunks.

The models are lenient, because real answers are not strict: fields may be missing or null, and fields
nobody has heard of are kept (in ``model_extra``, and as attributes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypedDict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

if TYPE_CHECKING:
    from hybrid_infer.calls.hybrid import Hybrid


class _NullAs:
    """Reads null as the field's empty value: servers send null where others leave the field out."""

    def __init__(self, empty: Callable[[], Any]) -> None:
        self._empty = empty

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda value: self._empty() if value is None else value,
            core_schema.nullable_schema(handler(source)),
        )


def _standard_reason(reason: str) -> str | None:
    """Together's ``"eos"`` is everybody else's ``"stop"``; an empty reason is none."""
    return "stop" if reason == "eos" else reason or None


Index = Annotated[int, _NullAs(int)]
Text = Annotated[str, _NullAs(str)]
FinishReason = Annotated[str, AfterValidator(_standard_reason)] | None
"""An open string: ``stop``, ``length``, ``tool_calls``, ``error``, and what comes next."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True, protected_namespaces=())


class FunctionCall(_Wire):
    """The function a tool call names; `arguments` is JSON as text, as the model wrote it."""

    name: Text = ""
    arguments: Text = ""


class ToolCall(_Wire):
    """One call of a tool that the model asks for."""

    id: str | None = None
    type: str | None = "function"
    index: int | None = None
    function: Annotated[FunctionCall, _NullAs(FunctionCall)] = Field(default_factory=FunctionCall)


class ChatMessage(_Wire):
    """The message of an answer. `reasoning` and `reasoning_content` are two names for the same thing."""

    role: Annotated[str, _NullAs(lambda: "assistant")] = "assistant"
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(_Wire):
    """One of the `n` answers."""

    index: Index = 0
    message: ChatMessage
    finish_reason: FinishReason = None
    logprobs: Any = None
    seed: int | None = None
    """Up to 2**64, past what int64 holds."""


class PromptTokensDetails(_Wire):
    cached_tokens: int | None = None


class CompletionTokensDetails(_Wire):
    reasoning_tokens: int | None = None


class CompletionUsage(_Wire):
    """Tokens as the provider counts them. Cached tokens come here or in the details, or nowhere."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


class ChatCompletion(_Wire):
    """A complete answer.

    `hybrid` tells what the call took (mode, attempts, cost, latency). It is not part of the answer:
    ``model_dump()``, ``==`` and ``repr()`` leave it out.
    """

    id: str | None = None
    object: Annotated[str, _NullAs(lambda: "chat.completion")] = "chat.completion"
    created: int | None = None
    model: str | None = None
    choices: list[Choice]
    usage: CompletionUsage | None = None
    system_fingerprint: str | None = None

    @property
    def hybrid(self) -> Hybrid:
        """What is known of the call.

        Raises:
            AttributeError: the completion was not returned by a client.
        """
        private = self.__pydantic_private__
        if private is None:
            raise AttributeError("this completion was not returned by a client, so it has no `hybrid`")
        hybrid: Hybrid = private["hybrid"]
        return hybrid

    @hybrid.setter
    def hybrid(self, value: Hybrid) -> None:
        private = self.__pydantic_private__
        if private is not None and private["hybrid"] != value:
            raise AttributeError("`hybrid` is set once, by the client")
        # Where pydantic keeps private attributes, so that it is copied and pickled like one. Declared as one
        # it would be made ready in Python for every answer that is read, at the price of reading it.
        object.__setattr__(self, "__pydantic_private__", {"hybrid": value})

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, ChatCompletion):
            return NotImplemented
        return self.__dict__ == other.__dict__ and (self.model_extra or {}) == (other.model_extra or {})


class DeltaFunctionCall(_Wire):
    """A piece of a function call: the name in the first, then arguments to append."""

    name: str | None = None
    arguments: str | None = None


class DeltaToolCall(_Wire):
    """A piece of the tool call at `index`."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: DeltaFunctionCall | None = None


class Delta(_Wire):
    """What a chunk adds to the message."""

    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[DeltaToolCall] | None = None


class ChunkChoice(_Wire):
    """What a chunk adds to the choice at `index`."""

    index: Index = 0
    delta: Annotated[Delta, _NullAs(Delta)] = Field(default_factory=Delta)
    finish_reason: FinishReason = None
    logprobs: Any = None
    seed: int | None = None


class ChatCompletionChunk(_Wire):
    """One event of a streamed answer. `choices` is empty in chunks that carry only usage.

    `reset` is True for `ChatStreamReset` alone.
    """

    reset: ClassVar[bool] = False

    id: str | None = None
    object: Annotated[str, _NullAs(lambda: "chat.completion.chunk")] = "chat.completion.chunk"
    created: int | None = None
    model: str | None = None
    choices: Annotated[list[ChunkChoice], _NullAs(list)] = Field(default_factory=list[ChunkChoice])
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
    response_format: Mapping[str, Any] | None
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
