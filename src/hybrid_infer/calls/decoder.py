"""What turns the bytes of a streamed answer into its events: backends make it, the exchange feeds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from hybrid_infer.calls.reply import Facts


class Decoder(Protocol):
    """Turns the bytes of one stream into events. Pure."""

    done: bool
    facts: Facts

    def feed(self, data: bytes) -> Sequence[Any]: ...
    def flush(self) -> Sequence[Any]: ...
    def read(self, event: Any) -> Any | None: ...
    def carries_content(self, chunk: Any) -> bool: ...
    def finish(self) -> None: ...
    def final(self) -> Any | None: ...
