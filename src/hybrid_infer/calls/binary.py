"""Answers that are bytes: speech, the content of a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

if TYPE_CHECKING:
    from hybrid_infer.calls.hybrid import Hybrid, Later


class BinaryAnswer:
    """Bytes, and what they are.

    `hybrid` tells what the call took (mode, attempts, cost, latency).

    Attributes:
        content: the bytes.
        content_type: their media type, as the provider says; None where it does not.
    """

    hybrid: Hybrid

    def __init__(self, content: bytes, content_type: str | None = None) -> None:
        self.content = content
        self.content_type = content_type

    def learn(self, later: Later) -> None:
        """Said by the client: what `hybrid` is."""
        self.hybrid = later.now()

    def read(self) -> bytes:
        """`content`, under the name that the `openai` and `together` packages use."""
        return self.content

    @property
    def text(self) -> str:
        """The bytes as UTF-8 text; what is none is replaced."""
        return self.content.decode("utf-8", "replace")

    def write_to_file(self, file: str | os.PathLike[str]) -> None:
        """Write the bytes to a file.

        Raises:
            OSError: it cannot be written.
        """
        Path(file).write_bytes(self.content)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self.content)} bytes, {self.content_type or 'no media type'}>"


class RawAnswer(BinaryAnswer):
    """The answer to `client.post` or `client.get`, as it came.

    Attributes:
        status_code: of the response; a success, since others raise.
        headers: as pairs, names in lower case.
    """

    def __init__(
        self,
        content: bytes,
        content_type: str | None = None,
        status_code: int = 200,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(content, content_type)
        self.status_code = status_code
        self.headers = headers

    def json(self) -> Any:
        """The content as JSON.

        Raises:
            ValueError: it is none.
        """
        return from_json(self.content)
