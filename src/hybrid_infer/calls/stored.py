"""What providers keep for an account: models, files, batch jobs, videos; in the shape of their packages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict

from pydantic import AfterValidator, AliasChoices, Field

from hybrid_infer.calls.binary import BinaryAnswer
from hybrid_infer.calls.wire import Answer, Text, Wire

State = Annotated[str, AfterValidator(str.lower)]
"""In lower case everywhere: OpenAI writes ``completed``, Together's batches ``COMPLETED``."""


class Model(Wire):
    """A model that can be asked for. Providers add what they like: context length, price, kind."""

    id: str
    object: str | None = None
    created: int | None = None
    owned_by: str | None = None


class ModelList(Answer):
    """The models that the mode serves."""

    data: list[Model]
    object: str | None = "list"


class StoredFile(Answer):
    """A file at the provider. Together checks some of them first: see `processing_status`."""

    id: str
    object: str | None = "file"
    bytes: int | None = None
    created_at: int | None = None
    filename: str | None = None
    purpose: str | None = None
    file_type: str | None = Field(default=None, validation_alias=AliasChoices("FileType", "file_type"))
    status: str | None = None
    processing_status: str | None = None


class StoredFileList(Answer):
    """The files of the account."""

    data: list[StoredFile]
    object: str | None = "list"
    has_more: bool | None = None


class FileDeleted(Answer):
    """A file that was deleted."""

    id: str | None = None
    deleted: bool | None = None


class FileContent(BinaryAnswer):
    """The bytes of a file."""


class Batch(Answer):
    """A job of many requests without a hurry.

    Attributes:
        status: ``validating``, ``in_progress``, ``completed``, ``failed``, ``expired``, ``cancelled``, …
        output_file_id: the file of answers, one a line, once there are some.
        error_file_id: that of the requests that failed.
        progress: percent, where the provider tells it (Together).
    """

    id: str | None = None
    object: str | None = "batch"
    status: State | None = None
    endpoint: str | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    progress: float | None = None
    error: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    request_counts: dict[str, Any] | None = None


class BatchList(Answer):
    """The batch jobs of the account."""

    data: list[Batch]
    object: str | None = "list"
    has_more: bool | None = None


class VideoError(Wire):
    """Why a video failed."""

    message: Text = ""
    code: str | None = None


class VideoOutputs(Wire):
    """A finished video: where it is, and what it cost, in the provider's number."""

    video_url: str | None = None
    cost: float | None = None


class Video(Answer):
    """A video that is made, or was.

    Attributes:
        status: ``in_progress``, ``completed``, ``failed``, …
    """

    id: str
    object: str | None = "video"
    model: str | None = None
    status: State
    created_at: float | None = None
    completed_at: float | None = None
    seconds: str | None = None
    size: str | None = None
    outputs: VideoOutputs | None = None
    error: VideoError | None = None

    @property
    def underway(self) -> bool:
        """Whether it may still change."""
        return self.status not in ("completed", "failed", "cancelled")


class FileOptions(TypedDict, total=False):
    """The options of a new file that Together and OpenAI know by name."""

    file_type: Literal["csv", "jsonl", "parquet"] | None


class BatchOptions(TypedDict, total=False):
    """The options of a new batch job that Together (3.1.1) and OpenAI (3.54) know by name."""

    completion_window: str | None
    model_id: str | None
    metadata: dict[str, str] | None


class VideoOptions(TypedDict, total=False):
    """The options of a video that Together (3.1.1) knows by name."""

    fps: int | None
    width: int | None
    height: int | None
    seconds: str | None
    resolution: str | None
    ratio: str | None
    steps: int | None
    seed: int | None
    guidance_scale: int | None
    negative_prompt: str | None
    output_format: str | None
    output_quality: int | None
    generate_audio: bool | None
    media: dict[str, Any] | None


class ListOptions(TypedDict, total=False):
    """Which part of a list; where a server knows them."""

    limit: int | None
    after: str | None
