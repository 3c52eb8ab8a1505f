"""What the models of all answers stand on.

They are lenient, because real answers are not strict: fields may be missing or null, and fields nobody has
heard of are kept (in ``model_extra``, and as attributes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from hybrid_infer.calls.hybrid import Hybrid, Later


class NullAs:
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


Index = Annotated[int, NullAs(int)]
Text = Annotated[str, NullAs(str)]
FinishReason = Annotated[str, AfterValidator(_standard_reason)] | None
"""An open string: ``stop``, ``length``, ``tool_calls``, ``error``, and what comes next."""


class Wire(BaseModel):
    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True, protected_namespaces=())


class PromptTokensDetails(Wire):
    cached_tokens: int | None = None


class CompletionTokensDetails(Wire):
    reasoning_tokens: int | None = None


class CompletionUsage(Wire):
    """Tokens as the provider counts them. Cached tokens come here or in the details, or nowhere."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


class Answer(Wire):
    """A complete answer.

    `hybrid` tells what the call took (mode, attempts, cost, latency). It is not part of the answer:
    ``model_dump()``, ``==`` and ``repr()`` leave it out.
    """

    @property
    def hybrid(self) -> Hybrid:
        """What is known of the call.

        Raises:
            AttributeError: the answer was not returned by a client.
        """
        private = self.__pydantic_private__
        if private is None:
            raise AttributeError(
                f"this {type(self).__name__} was not returned by a client, so it has no `hybrid`"
            )
        hybrid: Hybrid | Later = private["hybrid"]
        if isinstance(hybrid, Later):
            private["hybrid"] = hybrid = hybrid.now()
        return hybrid

    def learn(self, hybrid: Hybrid | Later) -> None:
        """Said by the client: what `hybrid` is to tell."""
        # Where pydantic keeps private attributes, so that it is copied and pickled like one. Declared as one
        # it would be made ready in Python for every answer that is read, at the price of reading it.
        object.__setattr__(self, "__pydantic_private__", {"hybrid": hybrid})

    def __eq__(self, other: Any) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self.__dict__ == other.__dict__ and (self.model_extra or {}) == (other.model_extra or {})
