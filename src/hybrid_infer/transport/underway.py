"""Responses that are being read, as a blocking transport keeps them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Underway(Generic[T]):
    """Holds each open response until it is closed or left behind.

    The responses of `httpcore` and `httpx` take the lock of their pool when they are closed, and when they
    are collected half-read. A collection can fire while the same thread holds that very lock. So they are
    held here, out of the collector's reach, and what a finaliser leaves behind is closed by the next request.

    Every method is atomic or works on what only its caller has; none takes a lock.
    """

    _open: dict[int, T] = field(default_factory=dict[int, T], init=False)
    _left: SimpleQueue[T] = field(default_factory=SimpleQueue[T], init=False)

    def hold(self, reader: object, response: T) -> None:
        """Keep the response for the one who reads it."""
        self._open[id(reader)] = response

    def take(self, reader: object) -> T | None:
        """The response, for the one caller that closes it; None for all after it."""
        return self._open.pop(id(reader), None)

    def leave(self, response: T) -> None:
        """Put a response that was taken aside, for `sweep`."""
        self._left.put(response)

    def sweep(self, close: Callable[[T], None]) -> None:
        """Close what was left behind."""
        while not self._left.empty():
            try:
                response = self._left.get_nowait()
            except Empty:
                return
            close(response)
