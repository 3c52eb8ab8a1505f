"""What a driver asks of each client. Imports nothing heavy: what a client's own import costs is measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

MODEL = "Qwen/Qwen3.5-9B"
KEY = "a-key-of-no-worth"
MOST = 2048
"""Connections that each client may open and keep, so that the calls in flight of a case really are."""
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "You answer in one paragraph, for a reader of twelve years."},
    {"role": "user", "content": "Why is the sky blue, and why is it red in the evening? " * 8},
]
OPTIONS: dict[str, Any] = {"temperature": 0.5, "max_tokens": 256}
TEXTS = [f"sentence number {number}" for number in range(256)]
SENT: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, **OPTIONS}
"""The request as a bare client sends it."""


class Lacking(Exception):
    """The client has nothing for a case; the text says why, and stands in the table."""


class Peer:
    """One client. Its constructor makes what blocks; `begin` what belongs to an event loop.

    Attributes:
        packages: what `pip` calls it and what its speed depends on; their versions are reported.
        url: the server's address, without a path.
    """

    packages: ClassVar[tuple[str, ...]]

    def __init__(self, url: str) -> None:
        self.url = url

    def unary(self, model: str = MODEL) -> object:
        """One chat completion, parsed."""
        raise Lacking("it has no blocking client")

    def stream(self) -> Iterator[object]:
        """A stream of chunks, each parsed."""
        raise Lacking("it has no blocking client")

    def embed(self) -> object:
        """Embeddings of `TEXTS`, as lists of floats."""
        raise Lacking("it has no blocking embeddings")

    def hit(self) -> object:
        """A chat completion that is in the client's own cache."""
        raise Lacking("it has no cache in memory, or none by default")

    async def begin(self) -> None:
        """Make the client of the running loop."""

    async def aunary(self, model: str = MODEL) -> object:
        raise Lacking("it has no async client")
