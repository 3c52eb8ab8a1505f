"""Answers in this process's memory: the least recently used go first, by bytes."""

from __future__ import annotations

from collections import OrderedDict

from hybrid_infer.calls.cached import Entry
from hybrid_infer.runtime.base import Guard

OVERHEAD = 400
"""Bytes that an entry takes besides its value: the key, the entry, its place in the table. Measured."""


class MemoryCache:
    """Holds answers up to a number of bytes, for all threads and tasks of one client.

    What is past its time stays until its place is needed: the answer that is asked for instead takes it. A
    child process begins with what its parent held.

    Args:
        guard: a new lock.
        max_bytes: of values and what comes with them.
    """

    name = "memory"

    def __init__(self, guard: Guard, *, max_bytes: int) -> None:
        self._guard = guard
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._bytes = 0

    async def get(self, key: bytes) -> Entry | None:
        with self._guard:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    async def put(self, key: bytes, entry: Entry) -> None:
        size = _size(entry)
        with self._guard:
            if key in self._entries:
                self._drop(key)
            if size > self._max_bytes:
                return
            self._entries[key] = entry
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))

    async def remove(self, key: bytes) -> None:
        with self._guard:
            if key in self._entries:
                self._drop(key)

    async def aclose(self) -> None:
        with self._guard:
            self._entries.clear()
            self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes that the entries take."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<MemoryCache {len(self)} answers, {self._bytes} of {self._max_bytes} bytes>"

    def _drop(self, key: bytes) -> None:
        self._bytes -= _size(self._entries.pop(key))


def _size(entry: Entry) -> int:
    return len(entry.value) + OVERHEAD
