"""Where the leases on machines are kept, as the settings say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from weakref import WeakKeyDictionary

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.world import World
from hybrid_infer.stores.leases.base import LeaseStore
from hybrid_infer.stores.leases.memory import MemoryLeases
from hybrid_infer.stores.redis_shared import SharedRedis

_of_process = MemoryLeases()
_of_worlds: WeakKeyDictionary[World, MemoryLeases] = WeakKeyDictionary()


def lease_store(
    settings: Settings,
    runtime: Runtime,
    *,
    redis: SharedRedis | None,
    world: World | None,
    environ: Mapping[str, str] = os.environ,
) -> LeaseStore:
    """The store of leases of a client.

    Simulated machines live in one process, so unless the settings say where, their leases do too: those of
    all clients of one world together.

    Raises:
        ConfigurationError: there is no place for a file.
    """
    sources = settings.sources
    if world is not None and sources["leases"] == sources["leases_path"] == "default":
        return _of_worlds.setdefault(world, MemoryLeases())
    if settings.leases == "memory":
        return _of_process
    if settings.leases == "redis" and redis is not None:
        from hybrid_infer.stores.leases.redis import RedisLeases

        return RedisLeases(redis, prefix=settings.redis_prefix)
    path = settings.leases_path or _default_path(environ)
    if path is None:
        raise ConfigurationError("leases = sqlite: there is no home folder for its file; set leases_path")
    from hybrid_infer.stores.leases.sqlite import SqliteLeases

    return SqliteLeases(path, runtime)


def _default_path(environ: Mapping[str, str]) -> Path | None:
    """``$XDG_STATE_HOME/hybrid_infer/leases.sqlite``, or below ``~/.local/state``; None without a home."""
    folder = environ.get("XDG_STATE_HOME")
    if folder and Path(folder).is_absolute():
        return Path(folder) / "hybrid_infer" / "leases.sqlite"
    try:
        return Path.home() / ".local" / "state" / "hybrid_infer" / "leases.sqlite"
    except RuntimeError:
        return None
