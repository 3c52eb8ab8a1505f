"""Methods of `AsyncClient` for what a provider keeps: models, files, batch jobs."""

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
from hybrid_infer.resources.base import AsyncResource


class AsyncModels(AsyncResource):
    """`client.models`"""

    async def list(self, **options: Unpack[ListArguments]) -> ModelList:
        """As `Models.list`."""
        models: ModelList = await self._answer(list_call("models.list", self._defaults, options))
        return models


class AsyncFiles(AsyncResource):
    """`client.files`"""

    async def create(self, *, file: FileInput, purpose: str, **options: Unpack[FileArguments]) -> StoredFile:
        """As `Files.create`."""
        file_: StoredFile = await self._answer(file_call(self._defaults, file, purpose, options))
        return file_

    async def retrieve(self, id: str, **options: Unpack[CallOptions]) -> StoredFile:
        """As `Files.retrieve`."""
        stored: StoredFile = await self._answer(named_call("files.retrieve", self._defaults, id, options))
        return stored

    async def list(
        self, *, purpose: str | None = None, **options: Unpack[FileListArguments]
    ) -> StoredFileList:
        """As `Files.list`."""
        files: StoredFileList = await self._answer(
            list_call("files.list", self._defaults, options, purpose=purpose)
        )
        return files

    async def content(self, id: str, **options: Unpack[CallOptions]) -> FileContent:
        """As `Files.content`."""
        content: FileContent = await self._answer(named_call("files.content", self._defaults, id, options))
        return content

    async def delete(self, id: str, **options: Unpack[CallOptions]) -> FileDeleted:
        """As `Files.delete`."""
        deleted: FileDeleted = await self._answer(named_call("files.delete", self._defaults, id, options))
        return deleted


class AsyncBatches(AsyncResource):
    """`client.batches`"""

    async def create(
        self,
        *,
        input_file_id: str,
        endpoint: str = "/v1/chat/completions",
        **options: Unpack[BatchArguments],
    ) -> Batch:
        """As `Batches.create`."""
        batch: Batch = await self._answer(batch_call(self._defaults, input_file_id, endpoint, options))
        return batch

    async def retrieve(self, id: str, **options: Unpack[CallOptions]) -> Batch:
        """As `Batches.retrieve`."""
        batch: Batch = await self._answer(named_call("batches.retrieve", self._defaults, id, options))
        return batch

    async def list(self, **options: Unpack[ListArguments]) -> BatchList:
        """As `Batches.list`."""
        batches: BatchList = await self._answer(list_call("batches.list", self._defaults, options))
        return batches

    async def cancel(self, id: str, **options: Unpack[CallOptions]) -> Batch:
        """As `Batches.cancel`."""
        batch: Batch = await self._answer(named_call("batches.cancel", self._defaults, id, options))
        return batch
