"""The cache in a file, as a client is given it."""

from __future__ import annotations

import os

from hybrid_infer.calls.cached import Entry
from hybrid_infer.runtime.background import OnePerFile
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.stores.cache_sqlite.shared import LAST_WAIT, MAX_BYTES, SharedCache


class SqliteCache:
    """The cache of one client in a file that all clients, threads and processes share which name it."""

    name = "sqlite"

    def __init__(self, shared: SharedCache, runtime: Runtime, *, keep_stale: float) -> None:
        self._shared = shared
        self._runtime = runtime
        self._keep_stale = keep_stale

    async def get(self, key: bytes) -> Entry | None:
        """The entry; None where there is none, or it is `keep_stale` seconds past its time."""
        now = self._runtime.wall().timestamp()
        entry = self._shared.get(key, now)
        if entry is not None and entry.expires is not None and entry.expires + self._keep_stale < now:
            return None
        return entry

    async def put(self, key: bytes, entry: Entry) -> None:
        """Keep it, unless a later one is there. Other processes find it after a moment."""
        self._shared.put(key, entry, self._runtime.wall().timestamp())

    async def remove(self, key: bytes) -> None:
        self._shared.put(key, None, self._runtime.wall().timestamp())

    async def aclose(self) -> None:
        """Write what is still to be written; half a second at most."""
        promise = self._runtime.promise()
        if self._shared.end(promise.keep):
            await promise.wait(LAST_WAIT)

    def __repr__(self) -> str:
        return f"<SqliteCache {self._shared.path}>"


_shared = OnePerFile[SharedCache](LAST_WAIT)


def sqlite_cache(
    path: str | os.PathLike[str],
    runtime: Runtime,
    *,
    max_bytes: int = MAX_BYTES,
    keep_stale: float = 0.0,
) -> SqliteCache:
    """A cache in the file at `path`, which is made at the first answer. Opens nothing yet.

    Args:
        max_bytes: of the file at most. What was not used for longest is removed first. Of several clients of
            one process that name the same file, the last one decides.
        keep_stale: seconds for which answers are kept beyond their time.
    """
    shared = _shared.at(path, SharedCache)
    shared.max_bytes = max_bytes
    shared.keep_stale = max(shared.keep_stale, keep_stale)
    return SqliteCache(shared, runtime, keep_stale=keep_stale)
