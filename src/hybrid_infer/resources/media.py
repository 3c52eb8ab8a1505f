"""Methods of `Client` for images, audio and videos."""

from __future__ import annotations

from typing import Literal, Unpack, overload

from hybrid_infer.calls.ask import CallOptions
from hybrid_infer.calls.audio import Speech, SpeechChunk, Transcription, Translation
from hybrid_infer.calls.images import Images
from hybrid_infer.calls.requests import (
    ImageArguments,
    SpeechArguments,
    TranscriptionArguments,
    VideoArguments,
    image_call,
    named_call,
    speech_call,
    transcription_call,
    video_call,
)
from hybrid_infer.calls.stored import (
    Video,
)
from hybrid_infer.calls.uploads import FileInput
from hybrid_infer.resources.base import Resource
from hybrid_infer.runtime.step import step
from hybrid_infer.streams import Stream

SpeechStream = Stream[SpeechChunk, Speech]


class ImagesResource(Resource):
    """`client.images`"""

    def generate(self, *, prompt: str, model: str | None = None, **options: Unpack[ImageArguments]) -> Images:
        """Pictures of what a text describes; raises as `chat.completions.create`.

        `size`, or `width` and `height`, and ``response_format="b64_json"`` (Together: ``"base64"``) may be
        written in either way in every mode.
        """
        images: Images = self._answer(image_call(self._defaults, prompt, model, options))
        return images


class Audio(Resource):
    """`client.audio`"""

    @property
    def transcriptions(self) -> Transcriptions:
        return Transcriptions(self._core, self._defaults)

    @property
    def translations(self) -> Translations:
        return Translations(self._core, self._defaults)

    @property
    def speech(self) -> SpeechResource:
        return SpeechResource(self._core, self._defaults)


class Transcriptions(Resource):
    """`client.audio.transcriptions`"""

    def create(
        self, *, file: FileInput, model: str | None = None, **options: Unpack[TranscriptionArguments]
    ) -> Transcription:
        """What is said in a recording; raises as `chat.completions.create`.

        Args:
            file: a path, bytes, an open binary file, or ``(name, one of these)``; a link where the provider
                fetches it (Together). It is read while it is sent, and again for another attempt.
        """
        call = transcription_call("transcriptions", self._defaults, file, model, options)
        transcription: Transcription = self._answer(call)
        return transcription


class Translations(Resource):
    """`client.audio.translations`"""

    def create(
        self, *, file: FileInput, model: str | None = None, **options: Unpack[TranscriptionArguments]
    ) -> Translation:
        """What is said in a recording, in English; as `audio.transcriptions.create`."""
        call = transcription_call("translations", self._defaults, file, model, options)
        translation: Translation = self._answer(call)
        return translation


class SpeechResource(Resource):
    """`client.audio.speech`"""

    @overload
    def create(
        self,
        *,
        input: str,
        voice: str | None = None,
        model: str | None = None,
        stream: Literal[False] | None = False,
        **options: Unpack[SpeechArguments],
    ) -> Speech: ...
    @overload
    def create(
        self,
        *,
        input: str,
        voice: str | None = None,
        model: str | None = None,
        stream: Literal[True],
        **options: Unpack[SpeechArguments],
    ) -> SpeechStream: ...
    @overload
    def create(
        self,
        *,
        input: str,
        voice: str | None = None,
        model: str | None = None,
        stream: bool | None,
        **options: Unpack[SpeechArguments],
    ) -> Speech | SpeechStream: ...

    def create(
        self,
        *,
        input: str,
        voice: str | None = None,
        model: str | None = None,
        stream: bool | None = False,
        **options: Unpack[SpeechArguments],
    ) -> Speech | SpeechStream:
        """A text, spoken: whole, or in pieces as they are made; raises as `chat.completions.create`."""
        call = speech_call(self._defaults, input, voice, model, stream, options)
        if stream:
            return self._stream(call)
        speech: Speech = self._answer(call)
        return speech


class Videos(Resource):
    """`client.videos`"""

    def create(
        self, *, prompt: str | None = None, model: str | None = None, **options: Unpack[VideoArguments]
    ) -> Video:
        """Begin a video; raises as `chat.completions.create`. `wait` for it with its id.

        It is not begun a second time once it was asked for, unless ``idempotent=True`` says that it may be.
        """
        video: Video = self._answer(video_call(self._defaults, prompt, model, options))
        return video

    def retrieve(self, id: str, **options: Unpack[CallOptions]) -> Video:
        """How a video is getting on."""
        video: Video = self._answer(named_call("videos.retrieve", self._defaults, id, options))
        return video

    def wait(self, id: str, *, every: float = 5.0, **options: Unpack[CallOptions]) -> Video:
        """The video once it is finished, or has failed.

        Args:
            every: seconds between two looks.

        Raises:
            DeadlineExceededError: it is not, within the `timeout` of all looks together.
        """
        video: Video = step(
            self._core.wait_for(named_call("videos.retrieve", self._defaults, id, options), every)
        )
        return video
