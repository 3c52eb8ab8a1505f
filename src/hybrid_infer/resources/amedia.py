"""Methods of `AsyncClient` for images, audio and videos."""

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
from hybrid_infer.resources.base import AsyncResource
from hybrid_infer.streams import AsyncStream

SpeechStream = AsyncStream[SpeechChunk, Speech]


class AsyncImagesResource(AsyncResource):
    """`client.images`"""

    async def generate(
        self, *, prompt: str, model: str | None = None, **options: Unpack[ImageArguments]
    ) -> Images:
        """As `ImagesResource.generate`."""
        images: Images = await self._answer(image_call(self._defaults, prompt, model, options))
        return images


class AsyncAudio(AsyncResource):
    """`client.audio`"""

    @property
    def transcriptions(self) -> AsyncTranscriptions:
        return AsyncTranscriptions(self._core, self._defaults)

    @property
    def translations(self) -> AsyncTranslations:
        return AsyncTranslations(self._core, self._defaults)

    @property
    def speech(self) -> AsyncSpeechResource:
        return AsyncSpeechResource(self._core, self._defaults)


class AsyncTranscriptions(AsyncResource):
    """`client.audio.transcriptions`"""

    async def create(
        self, *, file: FileInput, model: str | None = None, **options: Unpack[TranscriptionArguments]
    ) -> Transcription:
        """As `Transcriptions.create`."""
        call = transcription_call("transcriptions", self._defaults, file, model, options)
        transcription: Transcription = await self._answer(call)
        return transcription


class AsyncTranslations(AsyncResource):
    """`client.audio.translations`"""

    async def create(
        self, *, file: FileInput, model: str | None = None, **options: Unpack[TranscriptionArguments]
    ) -> Translation:
        """As `Translations.create`."""
        call = transcription_call("translations", self._defaults, file, model, options)
        translation: Translation = await self._answer(call)
        return translation


class AsyncSpeechResource(AsyncResource):
    """`client.audio.speech`"""

    @overload
    async def create(
        self,
        *,
        input: str,
        voice: str | None = None,
        model: str | None = None,
        stream: Literal[False] | None = False,
        **options: Unpack[SpeechArguments],
    ) -> Speech: ...
    @overload
    async def create(
        self,
        *,
        input: str,
        voice: str | None = None,
        model: str | None = None,
        stream: Literal[True],
        **options: Unpack[SpeechArguments],
    ) -> SpeechStream: ...
    @overload
    async def create(
        self,
        *,
        input: str,
        voice: str | None = None,
        model: str | None = None,
        stream: bool | None,
        **options: Unpack[SpeechArguments],
    ) -> Speech | SpeechStream: ...

    async def create(
        self,
        *,
        input: str,
        voice: str | None = None,
        model: str | None = None,
        stream: bool | None = False,
        **options: Unpack[SpeechArguments],
    ) -> Speech | SpeechStream:
        """As `SpeechResource.create`."""
        call = speech_call(self._defaults, input, voice, model, stream, options)
        if stream:
            return await self._stream(call)
        speech: Speech = await self._answer(call)
        return speech


class AsyncVideos(AsyncResource):
    """`client.videos`"""

    async def create(
        self, *, prompt: str | None = None, model: str | None = None, **options: Unpack[VideoArguments]
    ) -> Video:
        """As `Videos.create`."""
        video: Video = await self._answer(video_call(self._defaults, prompt, model, options))
        return video

    async def retrieve(self, id: str, **options: Unpack[CallOptions]) -> Video:
        """As `Videos.retrieve`."""
        video: Video = await self._answer(named_call("videos.retrieve", self._defaults, id, options))
        return video

    async def wait(self, id: str, *, every: float = 5.0, **options: Unpack[CallOptions]) -> Video:
        """As `Videos.wait`."""
        video: Video = await self._core.wait_for(
            named_call("videos.retrieve", self._defaults, id, options), every
        )
        return video
