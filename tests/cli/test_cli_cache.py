"""`hybrid-infer cache`: stats, clear and prune."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step
from hybrid_infer.stores.cache_redis import RedisCache
from hybrid_infer.stores.redis_shared import blocking_redis
from stores.cache_samples import NOON, entry, fill, key
from stores.redis_server import RedisServer

Cli = Callable[..., Any]


@pytest.fixture
def path(folder: Path) -> Path:
    """A cache with four answers: two of them past their time, of one it is not known what a hit saves."""
    answers = {
        key(1): entry(bytes(100), stored=NOON - 60, expires=NOON + 1, saved_nano=2_000_000),
        key(2): entry(bytes(200), saved_nano=None),
        key(3): entry(bytes(1000), operation="embeddings", target="together-serverless/e"),
        key(4): entry(bytes(500), operation="embeddings", target="together-serverless/e", expires=NOON + 2),
    }
    fill(folder / "a.sqlite", answers)
    return folder / "a.sqlite"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.remove()


def in_redis(url: str, prefix: str) -> RedisCache:
    return RedisCache(blocking_redis(url, BlockingRuntime()), prefix=prefix, keep_stale=1e9)


def left(path: Path) -> set[bytes]:
    db = sqlite3.connect(path)
    try:
        return {name for (name,) in db.execute("SELECT key FROM entries")}
    finally:
        db.close()


def test_stats_show_each_operation_and_target(cli: Cli, path: Path) -> None:
    result = cli("cache", "stats", "--file", str(path))
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert result.stdout.startswith(f"sqlite: {path}, ")
    assert ["embeddings", "together-serverless/e", "2", "1,500", "0.0000247"] in rows
    assert ["chat", "modal/llm", "2", "300", "0.00200", "1"] in rows
    assert "stored from 2026-09-21T14:12:20+00:00 to 2026-09-21T14:13:20+00:00" in result.stdout
    assert result.stderr == "2 are past their time: kept for outages, or waiting to be removed\n"


def test_stats_as_json(cli: Cli, path: Path) -> None:
    found = json.loads(cli("cache", "stats", "--json", "--file", str(path)).stdout)
    assert (found["store"], found["place"], found["file_bytes"]) == ("sqlite", str(path), path.stat().st_size)
    assert (found["entries"], found["bytes"], found["expired"]) == (4, 1800, 2)
    assert (found["oldest"], found["newest"]) == ("2026-09-21T14:12:20+00:00", "2026-09-21T14:13:20+00:00")
    assert (found["saved_usd"], found["saved_unknown"]) == (pytest.approx(0.00202469), 1)
    assert found["groups"][1] == {
        "operation": "chat",
        "target": "modal/llm",
        "entries": 2,
        "bytes": 300,
        "saved_usd": 0.002,
        "saved_unknown": 1,
    }


def test_an_unknown_saving_is_no_zero(cli: Cli, folder: Path) -> None:
    fill(folder / "a.sqlite", {key(1): entry(saved_nano=None)})
    assert "unknown" in cli("cache", "stats", "--file", "a.sqlite").stdout


def test_an_empty_cache_says_so(cli: Cli, folder: Path) -> None:
    fill(folder / "a.sqlite", {key(1): entry()})
    cli("cache", "clear", "--yes", "--file", "a.sqlite")
    result = cli("cache", "stats", "--file", "a.sqlite")
    assert result.exit_code == 0
    assert "There is no answer in it." in result.stdout
    (folder / "b.sqlite").touch()
    assert "There is no answer in it." in cli("cache", "stats", "--file", "b.sqlite").stdout


def test_clear_removes_every_answer_and_what_it_said(cli: Cli, folder: Path) -> None:
    path = folder / "a.sqlite"
    fill(path, {key(n): entry(b"a secret told in confidence " * 200) for n in range(100)})
    result = cli("cache", "clear", "--yes", "--file", "a.sqlite")
    assert (result.exit_code, result.stdout) == (0, f"{path} is empty\n")
    assert left(path) == set()
    assert all(b"confidence" not in file.read_bytes() for file in folder.iterdir())
    assert path.stat().st_size < 150_000


def test_clear_is_refused_where_nobody_can_be_asked(cli: Cli, path: Path) -> None:
    result = cli("cache", "clear", "--file", str(path), stdin="y\n")
    assert result.exit_code == 1
    assert result.stderr == f"error: this removes all answers in {path}: --yes says that it is meant\n"
    assert len(left(path)) == 4


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of POSIX")
@pytest.mark.parametrize(("said", "kept"), [("n", 4), ("y", 0)])
def test_clear_asks_at_a_terminal(path: Path, said: str, kept: int) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from hybrid_infer.cli import main; main()"),
                *("cache", "clear", "--file", str(path)),
            ],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(ours, f"{said}\n".encode())
        _, asked = process.communicate(timeout=50)
    finally:
        os.close(ours)
        os.close(theirs)
    assert f"Remove all answers in {path}? [y/N]" in asked
    assert process.returncode == (1 if kept else 0)
    assert len(left(path)) == kept


def test_clear_mends_a_cache_that_is_damaged(cli: Cli, folder: Path) -> None:
    path = folder / "a.sqlite"
    fill(path, {key(n): entry(bytes(3000)) for n in range(50)})
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + os.urandom(len(whole) - 100))
    damaged = cli("cache", "stats", "--file", "a.sqlite")
    assert damaged.exit_code == 1
    assert damaged.stderr.startswith(f"error: cache: {path} cannot be used: ")
    assert cli("cache", "clear", "--yes", "--file", "a.sqlite").exit_code == 0
    assert "There is no answer in it." in cli("cache", "stats", "--file", "a.sqlite").stdout


def test_prune_removes_what_is_past_its_time(cli: Cli, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_INFER_CACHE_STALE_IF_ERROR", str(time.time() - NOON + 1000))
    result = cli("cache", "prune", "--json", "--file", str(path))
    assert json.loads(result.stdout)["removed"] == 0
    monkeypatch.delenv("HYBRID_INFER_CACHE_STALE_IF_ERROR")
    result = cli("cache", "prune", "--file", str(path))
    assert result.stdout.startswith(f"2 answers removed, {path} is ")
    assert left(path) == {key(2), key(3)}


def test_prune_brings_a_file_below_a_lower_bound(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was used last stays, and the file becomes smaller."""
    path = folder / "a.sqlite"
    for number in range(0, 400, 100):
        some = {key(n): entry(os.urandom(10_000)) for n in range(number, number + 100)}
        fill(path, some, now=NOON + number)
    before = path.stat().st_size
    monkeypatch.setenv("HYBRID_INFER_CACHE_MAX_BYTES", "1000000")
    found = json.loads(cli("cache", "prune", "--json", "--file", "a.sqlite").stdout)
    assert path.stat().st_size <= 1_000_000
    assert found["freed_bytes"] == before - path.stat().st_size
    assert found["removed"] == 400 - len(left(path))
    assert left(path) <= {key(n) for n in range(300, 400)}
    assert len(left(path)) > 40


def test_the_cache_of_the_settings_is_meant(cli: Cli, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_INFER_CACHE", "sqlite")
    monkeypatch.setenv("HYBRID_INFER_CACHE_PATH", str(path))
    assert cli("cache", "stats").stdout.startswith(f"sqlite: {path}, ")
    monkeypatch.delenv("HYBRID_INFER_CACHE_PATH")
    monkeypatch.setenv("XDG_CACHE_HOME", str(path.parent))
    default = path.parent / "hybrid_infer" / "answers.sqlite"
    assert (
        f"there is no file {default}; it is made at the first answer to keep" in cli("cache", "stats").stderr
    )
    fill(default, {key(1): entry()})
    assert cli("cache", "stats").stdout.startswith(f"sqlite: {default}, ")


@pytest.mark.parametrize("command", [("stats",), ("clear", "--yes"), ("prune",)])
def test_without_a_cache_to_look_into_the_error_says_why(
    cli: Cli, folder: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    off = cli("cache", *command)
    assert (off.exit_code, off.stdout) == (1, "")
    assert off.stderr.startswith("error: the cache is off: HYBRID_INFER_CACHE=sqlite or redis switches it on")
    monkeypatch.setenv("HYBRID_INFER_CACHE", "memory")
    assert "cache=memory lives in each process, and ends with it" in cli("cache", *command).stderr
    none = cli("cache", *command, "--file", "none.sqlite")
    assert none.stderr.startswith(f"error: cache: there is no file {folder / 'none.sqlite'}")
    assert not (folder / "none.sqlite").exists()
    (folder / "text.sqlite").write_text("My holiday\n" * 1000)
    other = cli("cache", *command, "--file", "text.sqlite")
    assert other.stderr.startswith(f"error: cache: {folder / 'text.sqlite'} cannot be used: ")
    assert (folder / "text.sqlite").read_text() == "My holiday\n" * 1000
    sqlite3.connect(folder / "db.sqlite").execute("CREATE TABLE precious (x)").connection.close()
    other = cli("cache", *command, "--file", "db.sqlite")
    assert "is an SQLite file of something else; name another file" in other.stderr


@pytest.mark.real_time
def test_a_cache_in_redis_is_shown_and_cleared(
    cli: Cli, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRID_INFER_CACHE", "redis")
    monkeypatch.setenv("HYBRID_INFER_REDIS_URL", server.url)
    monkeypatch.setenv("HYBRID_INFER_REDIS_PREFIX", "mine")
    cache, other = in_redis(server.url, "mine"), in_redis(server.url, "yours")
    for number in range(3):
        step(cache.put(key(number), entry(bytes(1000), expires=NOON + number)))
    step(other.put(key(1), entry()))
    place = f"Redis at {server.path} (db 0)"
    shown = cli("cache", "stats")
    assert shown.stdout.startswith(f"redis: {place}\n")
    found = json.loads(cli("cache", "stats", "--json").stdout)
    assert (found["store"], found["place"], found["entries"], found["bytes"]) == ("redis", place, 3, 3000)
    assert (found["expired"], found["file_bytes"], found["max_bytes"]) == (3, None, None)
    refused = cli("cache", "clear")
    assert (
        "this removes all answers under mine:cache: in Redis: --yes says that it is meant" in refused.stderr
    )
    assert cli("cache", "clear", "--yes").stdout == f"3 answers removed from {place}\n"
    assert step(cache.get(key(1))) is None
    assert step(other.get(key(1))) == entry()
    pruned = cli("cache", "prune")
    assert pruned.exit_code == 1
    assert "there is nothing to prune in Redis" in pruned.stderr
    server.stop()
    assert cli("cache", "stats").stderr == f"error: {place}: no connection\n"
