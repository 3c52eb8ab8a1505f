"""Methods of `Client` for what a provider keeps: models, files, batch jobs."""

from __future__ import annotations

from typing import Unpack

from hybrid_infer.calls.ask import CallOptions
from hybrid_infer.calls.requests import (
    BatchArguments,
    FileArguments,
    FileListArguments,
    ListArguments,
    batch_call,
    file_call,
    list_call,
    named_call,
)
from hybrid_infer.calls.stored import (
    Batch,
    BatchList,
    FileContent,
    FileDeleted,
    ModelList,
    StoredFile,
    StoredFileList,
)
from hybrid_infer.calls.uploads import FileInput
from hybrid_infer.resources.base import Resource


class Models(Resource):
    """`client.models`"""

    def list(self, **options: Unpack[ListArguments]) -> ModelList:
        """The models that the mode serves; raises as `chat.completions.create`."""
        models: ModelList = self._answer(list_call("models.list", self._defaults, options))
        return models


class Files(Resource):
    """`client.files`"""

    def create(self, *, file: FileInput, purpose: str, **options: Unpack[FileArguments]) -> StoredFile:
        """Store a file with the provider; raises as `chat.completions.create`.

        It is not sent a second time once it went out, unless ``idempotent=True`` says that it may be.

        Args:
            file: see `audio.transcriptions.create`.
            purpose: e.g. ``"batch"``, which is Together's ``"batch-api"``.
        """
        file_: StoredFile = self._answer(file_call(self._defaults, file, purpose, options))
        return file_

    def retrieve(self, id: str, **options: Unpack[CallOptions]) -> StoredFile:
        """What is known of a file."""
        stored: StoredFile = self._answer(named_call("files.retrieve", self._defaults, id, options))
        return stored

    def list(self, *, purpose: str | None = None, **options: Unpack[FileListArguments]) -> StoredFileList:
        """The files of the account."""
        files: StoredFileList = self._answer(
            list_call("files.list", self._defaults, options, purpose=purpose)
        )
        return files

    def content(self, id: str, **options: Unpack[CallOptions]) -> FileContent:
        """The bytes of a file."""
        content: FileContent = self._answer(named_call("files.content", self._defaults, id, options))
        return content

    def delete(self, id: str, **options: Unpack[CallOptions]) -> FileDeleted:
        """Delete a file."""
        deleted: FileDeleted = self._answer(named_call("files.delete", self._defaults, id, options))
        return deleted


class Batches(Resource):
    """`client.batches`"""

    def create(
        self,
        *,
        input_file_id: str,
        endpoint: str = "/v1/chat/completions",
        **options: Unpack[BatchArguments],
    ) -> Batch:
        """Begin a job of many requests without a hurry; raises as `chat.completions.create`.

        It is not begun a second time once it was asked for, unless ``idempotent=True`` says that it may be.

        Args:
            input_file_id: a file with a request on each line (JSONL).
            endpoint: the path that each line is for.
        """
        batch: Batch = self._answer(batch_call(self._defaults, input_file_id, endpoint, options))
        return batch

    def retrieve(self, id: str, **options: Unpack[CallOptions]) -> Batch:
        """How a job is getting on."""
        batch: Batch = self._answer(named_call("batches.retrieve", self._defaults, id, options))
        return batch

    def list(self, **options: Unpack[ListArguments]) -> BatchList:
        """The jobs of the account."""
        batches: BatchList = self._answer(list_call("batches.list", self._defaults, options))
        return batches

    def cancel(self, id: str, **options: Unpack[CallOptions]) -> Batch:
        """Stop a job. What is done stays done, and is billed."""
        batch: Batch = self._answer(named_call("batches.cancel", self._defaults, id, options))
        return batch
