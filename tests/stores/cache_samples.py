"""Answers to keep, for the tests of caches, and what other processes do with them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hybrid_infer.calls.cached import Entry
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.stores.cache_sqlite.file import CacheFile

T = TypeVar("T")

TESTS = Path(__file__).parent.parent
NOON = 1_790_000_000.0


def key(number: int) -> bytes:
    return blake2b(number.to_bytes(8, "big"), digest_size=32).digest()


def entry(value: bytes = b"answer", **changes: Any) -> Entry:
    given: dict[str, Any] = {
        "stored": NOON,
        "expires": None,
        "target": "modal/llm",
        "operation": "chat",
        "saved_nano": 12_345,
    }
    return Entry(value=value, **{**given, **changes})


def proven(name: bytes, turn: int, size: int = 2000) -> bytes:
    """An answer that shows what it is the answer to, and that it is whole."""
    body = name + turn.to_bytes(8, "big") + bytes(size)
    return body + blake2b(body, digest_size=16).digest()


def proves(name: bytes, value: bytes) -> bool:
    body, proof = value[:-16], value[-16:]
    return body.startswith(name) and blake2b(body, digest_size=16).digest() == proof


def runtime(colour: str) -> Runtime:
    return BlockingRuntime() if colour == "sync" else TaskRuntime()


def run(colour: str, body: Coroutine[Any, Any, T]) -> T:
    return step(body) if colour == "sync" else asyncio.run(body)


def fill(path: Path, entries: dict[bytes, Entry], *, max_bytes: int = 2**30, now: float = NOON) -> None:
    """Write them at once, in this thread."""
    file = CacheFile(path)
    file.write(entries.items(), {}, max_bytes=max_bytes, now=now, keep_stale=0.0)
    file.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
