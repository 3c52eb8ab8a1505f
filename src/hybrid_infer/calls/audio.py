"""Speech to text and text to speech in the shape of the `openai` and `together` packages."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from hybrid_infer.calls.binary import BinaryAnswer
from hybrid_infer.calls.wire import Answer, Index, Text, Wire


class TranscriptSegment(Wire):
    """A stretch of speech; times in seconds."""

    id: Index = 0
    start: float
    end: float
    text: Text = ""


class TranscriptWord(Wire):
    """One word; times in seconds. `speaker_id` where the call asked to tell speakers apart."""

    word: Text = ""
    start: float
    end: float
    speaker_id: str | None = None


class Transcription(Answer):
    """What was said. All but the text comes with ``response_format="verbose_json"`` only.

    Attributes:
        duration: seconds of audio.
        speaker_segments: by speaker, where the call asked for ``diarize``.
    """

    text: Text
    language: str | None = None
    duration: float | None = None
    segments: list[TranscriptSegment] | None = None
    words: list[TranscriptWord] | None = None
    speaker_segments: list[dict[str, Any]] | None = None


class Translation(Transcription):
    """What was said, in English."""


class Speech(BinaryAnswer):
    """Spoken text, as the bytes of an audio file (see `content_type`)."""


class SpeechChunk(Wire):
    """A piece of spoken text, as it is made."""

    b64: str = ""
    model: str | None = None
    object: str | None = None

    @property
    def content(self) -> bytes:
        """The bytes of audio."""
        return b64decode(self.b64)


class TranscriptionOptions(TypedDict, total=False):
    """The options that Together (3.1.1) and OpenAI (3.54) know by name."""

    language: str | None
    prompt: str | None
    response_format: str | None
    temperature: float | None
    timestamp_granularities: str | Sequence[str] | None
    diarize: bool | None
    min_speakers: int | None
    max_speakers: int | None


class SpeechOptions(TypedDict, total=False):
    """The options that Together (3.1.1) and OpenAI (3.54) know by name."""

    response_format: str | None
    response_encoding: str | None
    sample_rate: int | None
    bit_rate: int | None
    language: str | None
    speed: float | None
    instructions: str | None
    extra_params: Mapping[str, Any] | None
