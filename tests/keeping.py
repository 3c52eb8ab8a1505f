"""Clients that keep answers in memory, and a look into it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from both import Api
from hybrid_infer.calls.cached import Entry
from hybrid_infer.runtime.virtual import EPOCH

MODEL = "Qwen/Qwen3.5-9B"  # 0.17 and 0.25 USD per million tokens
KEY: dict[str, Any] = {"api_key": "secret-key", "model": MODEL, "cache": "memory"}
FIXED: dict[str, Any] = {"temperature": 0}


def store_of(api: Api) -> Any:
    """The memory of a client's cache."""
    return api.client._core._parts.cache.store


def entries(api: Api) -> list[Entry]:
    return list(store_of(api)._entries.values())


def in_virtual_time(api: Api) -> Api:
    """The time of day follows the virtual clock in both colours."""
    runtime: Any = api.runtime
    runtime.wall = lambda: EPOCH + timedelta(seconds=runtime.now())
    return api
