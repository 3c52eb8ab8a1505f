"""From the bytes of a streamed answer to chunks: what all streams of choices share, and chat's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from pydantic import ValidationError
from pydantic_core import from_json

from hybrid_infer.backends.base import is_object
from hybrid_infer.backends.chat_answer import FAILED, ErrorOf, estimated_usage, says_error, usage_of
from hybrid_infer.backends.chat_parts import PartialChoice
from hybrid_infer.backends.provider_errors import Redact, shortened
from hybrid_infer.backends.sse import SseEvent, SseSplitter
from hybrid_infer.calls.call import Call
from hybrid_infer.calls.chat import ChatCompletion, ChatCompletionChunk
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.reply import Facts, RawResponse
from hybrid_infer.calls.wire import CompletionUsage
from hybrid_infer.errors import APIError, APIStatusError, StreamError

_DONE = b"[DONE]"
_SHOWN = 120
_HEAD = 1_000
"""Bytes kept of a stream until its first chunk, to say what came instead of one."""


class Part(Protocol):
    """One choice of an answer as far as it came."""

    finish_reason: str | None

    def add(self, choice: Any, /) -> None: ...
    def whole(self, index: int) -> Any: ...
    def length(self) -> int: ...


class ChoicesDecoder(ABC):
    """Reads one streamed answer: bytes in with `feed`, the events it gives to `read`, at the end `finish`.

    Keeps the text and the usage, not the chunks. Usage may stand on any chunk or on none (Together puts it on
    the finish chunk or on a last one without choices, recorded 2025 to 2026); the last one counts.

    Attributes:
        done: the end mark ``[DONE]`` has come.
        facts: what is known of the answer so far.
    """

    chunk: ClassVar[type[Any]]
    """What an event is read as."""

    answer: ClassVar[type[Any]]
    """What the whole is."""

    marks: ClassVar[Sequence[bytes]]
    """What only a chunk holds."""

    def __init__(self, call: Call, error_of: ErrorOf, redact: Redact) -> None:
        self.done = False
        self.facts = Facts()
        self._validate = self.chunk.__pydantic_validator__.validate_json  # without what pydantic does before
        self._call = call
        self._error_of = error_of
        self._redact = redact
        self._splitter = SseSplitter()
        self._choices: dict[int, Part] = {}
        self._usage: CompletionUsage | None = None
        self._created: int | None = None
        self._fingerprint: str | None = None
        self._head = b""
        self._skipped: str | None = None

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that these bytes complete."""
        if not self._choices and len(self._head) < _HEAD:
            self._head += data[:_HEAD]
        return self._splitter.feed(data)

    def flush(self) -> list[SseEvent]:
        """The event that the end of the body completes."""
        return self._splitter.flush()

    def read(self, event: SseEvent) -> Any | None:
        """The chunk of an event; None for the end mark and for what only keeps the connection alive.

        Raises:
            APIStatusError: the event is an error whose code or type tells its class; `partial` is set.
            StreamError: it is another error, or cannot be read; `partial` is set.
        """
        name, data = event
        if self.done or data == _DONE:
            self.done = True
            return None
        try:
            chunk = self._validate(data)
        except ValidationError:
            chunk = None
        if chunk is None or name == "error":
            return self._read_other(event)
        extra = chunk.__pydantic_extra__  # `model_extra`, without a call
        if extra and extra.get("error"):
            return self._read_other(event)
        if not chunk.choices and chunk.usage is None and "choices" not in chunk.model_fields_set:
            return self._read_other(event)
        self._add(chunk)
        return chunk

    @abstractmethod
    def carries_content(self, chunk: Any) -> bool:
        """Whether the chunk holds something that the model wrote."""

    @abstractmethod
    def new_part(self) -> Part:
        """A choice of which nothing has come yet."""

    @abstractmethod
    def estimate(self, characters: int) -> Usage:
        """Usage of an answer of so many characters that states none."""

    def finish(self) -> None:
        """Called at the end of the body. Estimates the usage if none came.

        Raises:
            StreamError: nothing came, or the answer was cut short: there is no end mark, and a choice lacks
                its finish reason.
        """
        self._settle_usage()
        if not self._choices:
            head = " ".join(self._redact(self._head.decode("utf-8", "replace")).split())
            what = f"; it was {shortened(head, _SHOWN)!r}" if head else ""
            raise self._broken(f"the stream ended before any part of an answer came{what}")
        ends = [choice.finish_reason for choice in self._choices.values()]
        if FAILED in ends:
            raise self._broken('the provider broke the answer off: its finish reason is "error"')
        if self._skipped is not None and None in ends:
            raise self._broken(f"no finish reason came, and an event could not be read: {self._skipped!r}")
        if not self.done and None in ends:
            raise self._broken("the stream was cut short: no finish reason and no [DONE] came")

    def partial(self) -> Any | None:
        """The answer as far as it came; None if nothing did."""
        if not self._choices:
            return None
        return self.answer(
            id=self.facts.id,
            created=self._created,
            model=self.facts.model,
            choices=[choice.whole(index) for index, choice in sorted(self._choices.items())],
            usage=self._usage,
            system_fingerprint=self._fingerprint,
        )

    def final(self) -> Any | None:
        """The whole answer, once `finish` has passed; before that as `partial`."""
        return self.partial()

    def _add(self, chunk: Any) -> None:
        self._created = self._created or chunk.created
        self._fingerprint = self._fingerprint or chunk.system_fingerprint
        facts = self.facts
        facts.id = facts.id or chunk.id
        facts.model = facts.model or chunk.model
        if chunk.usage is not None and (usage := usage_of(chunk.usage)) is not None:
            facts.usage = usage
            self._usage = chunk.usage
        for choice in chunk.choices:
            partial = self._choices.get(choice.index)
            if partial is None:
                partial = self._choices[choice.index] = self.new_part()
            partial.add(choice)
            if choice.finish_reason is not None:
                ends = (self._choices[index].finish_reason for index in sorted(self._choices))
                facts.finish_reasons = tuple(reason for reason in ends if reason is not None)

    def _read_other(self, event: SseEvent) -> Any | None:
        """An event that is not a chunk as it should be: an error, a sign of life, or broken."""
        name, data = event[0], event[1].strip()
        if data == _DONE:
            self.done = True
            return None
        if name == "error" or says_error(data):
            raise self._reported(data)
        if not data:
            return None
        try:
            # Bytes that are no UTF-8 are replaced, as the standard of server-sent events has it.
            payload = from_json(data.decode("utf-8", "replace"))
            if is_object(payload) and "choices" not in payload:
                return None
            chunk = self.chunk.model_validate(payload)
        except ValueError:
            chunk = None
        if chunk is None:
            self._skip(data)
            return None
        self._add(chunk)
        return chunk

    def _skip(self, data: bytes) -> None:
        """Pass over one event that cannot be read, unless it is what is left of a chunk, or not the first.

        A chunk that was damaged is known by its fields: leaving it out would leave out what the model wrote.
        """
        shown = shortened(self._redact(data.decode("utf-8", "replace")), _SHOWN)
        own = self.facts.id is not None and self.facts.id.encode() in data
        if self._skipped is not None or own or any(name in data for name in self.marks):
            raise self._broken(f"the stream holds an event that is not a chunk: {shown!r}")
        self._skipped = shown
        self._call.tally.warnings.append(
            f"1 event of the stream could not be read and held no content; it was skipped: {shown!r}"
        )

    def _reported(self, data: bytes) -> APIError:
        """The error that an event reports: of the class its code tells, or a StreamError."""
        error: APIError = self._error_of(RawResponse(status=200, headers=(), body=data))
        if type(error) is APIStatusError:
            message = f"the provider ended the stream with an error: {error.message}"
            error = StreamError(message, code=error.code, body=error.body)
        self._settle_usage()
        error.request_id = error.request_id or self.facts.id
        error.partial = self.partial()
        if self._choices:
            error.billed = None  # part of an answer was made
        return error

    def _broken(self, message: str) -> StreamError:
        self._settle_usage()
        return StreamError(
            message,
            request_id=self.facts.id,
            partial=self.partial(),
            hint="what had come is in error.partial" if self._choices else None,
        )

    def _settle_usage(self) -> None:
        if self.facts.usage is None:
            length = sum(choice.length() for choice in self._choices.values())
            self.facts.usage = self.estimate(length)


class ChatDecoder(ChoicesDecoder):
    """Reads a chat completion."""

    chunk = ChatCompletionChunk
    answer = ChatCompletion
    marks = (b'"choices"', b'"delta"', b'"content"', b'"tool_calls"', b'"chat.completion')

    def carries_content(self, chunk: ChatCompletionChunk) -> bool:
        """Whether the chunk holds text, reasoning or a tool call."""
        for choice in chunk.choices:
            delta = choice.delta
            if delta.content or delta.reasoning or delta.reasoning_content:
                return True
            if delta.refusal or delta.tool_calls:
                return True
        return False

    def new_part(self) -> PartialChoice:
        return PartialChoice()

    def estimate(self, characters: int) -> Usage:
        return estimated_usage(self._call, characters)
