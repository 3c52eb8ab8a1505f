"""Streamed answers of the other operations that have them; chat's are in `chat_stream`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from hybrid_infer.backends.answers import estimated_completion
from hybrid_infer.backends.chat_answer import ErrorOf, says_error
from hybrid_infer.backends.chat_stream import ChoicesDecoder
from hybrid_infer.backends.provider_errors import Redact
from hybrid_infer.backends.sse import SseSplitter
from hybrid_infer.calls.audio import Speech, SpeechChunk
from hybrid_infer.calls.binary import BinaryAnswer
from hybrid_infer.calls.call import Call
from hybrid_infer.calls.completions import Completion, CompletionChoice, CompletionChunk
from hybrid_infer.calls.decoder import Decoder
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.reply import Facts, RawResponse
from hybrid_infer.errors import StreamError

_DONE = b"[DONE]"


def decoder_for(call: Call, error_of: ErrorOf, redact: Redact) -> Decoder:
    """A decoder for one stream of the call's operation."""
    if call.operation == "completions":
        return CompletionDecoder(call, error_of, redact)
    return SpeechDecoder(error_of)


def chunks_of_other(answer: Any) -> Sequence[Any]:
    """A complete answer as its stream would give it."""
    if isinstance(answer, BinaryAnswer):
        return [SpeechChunk(b64=b64encode(answer.content).decode())]
    return [CompletionChunk.model_validate({**answer.model_dump(), "object": "text_completion"})]


class PartialText:
    """One choice of a completion, put together from its chunks."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._texts: list[str] = []
        self._seed: int | None = None

    def add(self, choice: CompletionChoice, /) -> None:
        self._texts.append(choice.text)
        self.finish_reason = choice.finish_reason or self.finish_reason
        self._seed = self._seed if choice.seed is None else choice.seed

    def whole(self, index: int) -> CompletionChoice:
        return CompletionChoice(
            index=index, text="".join(self._texts), finish_reason=self.finish_reason, seed=self._seed
        )

    def length(self) -> int:
        return sum(map(len, self._texts))


class CompletionDecoder(ChoicesDecoder):
    """Reads a text completion. Together may put the finish reason beside the choices (`CompletionChunk`)."""

    chunk = CompletionChunk
    answer = Completion
    marks = (b'"choices"', b'"text"', b'"text.completion', b'"completion.chunk')

    def carries_content(self, chunk: CompletionChunk) -> bool:
        """Whether the chunk holds text."""
        return any(choice.text for choice in chunk.choices)

    def new_part(self) -> PartialText:
        return PartialText()

    def estimate(self, characters: int) -> Usage:
        return estimated_completion(self._call, characters)

    def _add(self, chunk: CompletionChunk) -> None:
        beside = (chunk.model_extra or {}).get("finish_reason")
        if isinstance(beside, str) and beside:
            for choice in chunk.choices:
                choice.finish_reason = choice.finish_reason or ("stop" if beside == "eos" else beside)
        super()._add(chunk)


class SpeechDecoder:
    """Reads spoken text: server-sent events of base64 (Together), or the bytes themselves (engines).

    Which of the two it is the first bytes tell: an event begins with ``data:``, no audio does.
    """

    def __init__(self, error_of: ErrorOf) -> None:
        self.done = False
        self.facts = Facts()
        self._error_of = error_of
        self._events: SseSplitter | None = None
        self._head = b""
        self._begun = False
        self._audio: list[bytes] = []

    def feed(self, data: bytes) -> Sequence[Any]:
        if not self._begun:
            self._head += data
            if len(self._head) < len(b"data:") and b"data:".startswith(self._head):
                return ()
            self._begun = True
            data, self._head = self._head, b""
            if data.startswith((b"data:", b"event:", b":")):
                self._events = SseSplitter()
        return self._events.feed(data) if self._events is not None else (data,)

    def flush(self) -> Sequence[Any]:
        if self._events is not None:
            return self._events.flush()
        rest, self._head = self._head, b""
        return (rest,) if rest else ()

    def read(self, event: Any) -> SpeechChunk | None:
        """The piece of audio in an event.

        Raises:
            APIStatusError: the event is an error.
            StreamError: it cannot be read.
        """
        if isinstance(event, bytes):
            chunk = SpeechChunk(b64=b64encode(event).decode())
        else:
            name, data = event[0], event[1].strip()
            if not data or self.done:
                return None
            if data == _DONE:
                self.done = True
                return None
            if name == "error" or says_error(data):
                raise self._error_of(RawResponse(status=200, headers=(), body=data))
            try:
                chunk = SpeechChunk.model_validate_json(data)
                self._audio.append(chunk.content)
            except (ValidationError, ValueError):
                raise self._broken("the stream holds an event that is no audio") from None
            return chunk
        self._audio.append(event)
        return chunk

    def carries_content(self, chunk: SpeechChunk) -> bool:
        return bool(chunk.b64)

    def finish(self) -> None:
        """Called at the end of the body.

        Raises:
            StreamError: nothing came, or the end mark did not.
        """
        if not self._audio:
            raise self._broken("the stream ended before any audio came")
        if self._events is not None and not self.done:
            raise self._broken("the stream was cut short: no [DONE] came")

    def final(self) -> Speech | None:
        """The audio so far; None if there is none."""
        return Speech(b"".join(self._audio)) if self._audio else None

    def _broken(self, message: str) -> StreamError:
        return StreamError(message, partial=self.final())
