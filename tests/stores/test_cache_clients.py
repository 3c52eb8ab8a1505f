"""Clients that name the same file, or the same Redis, find each other's answers; without it calls go on."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from both import Making
from fakes import ScriptedTransport, said
from hybrid_infer.errors import ConfigurationError
from stores.cache_samples import TESTS, warnings
from stores.redis_server import RedisServer

pytestmark = pytest.mark.real_time

FIXED: dict[str, Any] = {"temperature": 0}


def where(kind: str, tmp_path: Path, server: RedisServer) -> dict[str, Any]:
    """The settings of a cache that several clients share, at an address where nobody answers."""
    settings = {"api_key": "k", "model": "m", "together_base_url": "http://127.0.0.1:9", "cache": kind}
    if kind == "sqlite":
        return {**settings, "cache_path": str(tmp_path / "a.sqlite")}
    return {**settings, "redis_url": server.url, "redis_prefix": tmp_path.name}


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_an_answer_is_given_again_by_another_client(
    make: Making, tmp_path: Path, server: RedisServer, kind: str
) -> None:
    settings = where(kind, tmp_path, server)
    transport = ScriptedTransport([said()])
    one = make(transport=transport, **settings)
    first = await one.create(**FIXED)
    await one.close()
    two = make(transport=transport, **settings)
    again = await two.create(**FIXED)
    streamed = await two.stream(**FIXED)
    assert await streamed.text() == first.choices[0].message.content
    assert (first.hybrid.cache, again.hybrid.cache, streamed.hybrid.cache) == ("miss", "hit", "hit")
    assert again == first
    assert len(transport.sent) == 1
    await two.close()


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_an_answer_is_given_again_in_another_process(
    make: Making, tmp_path: Path, server: RedisServer, kind: str
) -> None:
    settings = where(kind, tmp_path, server)
    api = make(transport=ScriptedTransport([said()]), **settings)
    first = await api.create(**FIXED)
    await api.close()
    code = (
        "import json, sys\n"
        "from both import ASK\n"
        "from hybrid_infer import Client\n"
        "with Client(**json.loads(sys.argv[1])) as client:\n"
        "    reply = client.chat.completions.create(messages=ASK, temperature=0)\n"
        "    print(json.dumps([reply.hybrid.cache, reply.choices[0].message.content]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(settings)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == ["hit", first.choices[0].message.content]


async def test_calls_go_on_when_redis_stops_in_the_middle(
    make: Making, tmp_path: Path, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "hybrid_infer")
    transport = ScriptedTransport([said()])
    api = make(transport=transport, **where("redis", tmp_path, own_server))
    assert [(await api.create(**FIXED)).hybrid.cache for _ in range(2)] == ["miss", "hit"]
    own_server.stop()
    began = time.monotonic()
    assert [(await api.create(**FIXED)).hybrid.cache for _ in range(5)] == ["miss"] * 5
    assert time.monotonic() - began < 2
    assert len(transport.sent) == 6
    assert len(warnings(caplog)) == 1
    await api.close()


async def test_calls_go_on_with_a_file_that_is_something_else(
    make: Making, tmp_path: Path, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.sqlite").write_text("My holiday\n" * 1000)
    transport = ScriptedTransport([said()])
    api = make(transport=transport, **where("sqlite", tmp_path, server))
    used: set[str] = set()
    for _ in range(5):
        used.add((await api.create(**FIXED)).hybrid.cache)
        await api.client._core._parts.cache.store.aclose()  # what still waits would be found
    assert used == {"miss"}
    assert len(warnings(caplog)) == 1
    await api.close()


def test_a_cache_in_redis_without_an_address_is_an_error(make: Making) -> None:
    with pytest.raises(ConfigurationError, match="redis_url"):
        make(cache="redis", api_key="k", model="m")


async def test_nothing_of_credentials_or_questions_stands_in_the_file(make: Making, tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    api = make(
        transport=ScriptedTransport([said()]),
        cache="sqlite",
        cache_path=str(path),
        api_key="sk-very-secret",
        model="m",
    )
    await api.create(messages=[{"role": "user", "content": "a question in confidence"}], **FIXED)
    await api.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"It scatters." in stored
    assert b"sk-very-secret" not in stored
    assert b"in confidence" not in stored
