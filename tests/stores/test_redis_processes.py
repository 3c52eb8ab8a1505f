"""Limits that several processes share."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from stores.conftest import Sharing
from stores.redis_server import RedisServer
from stores.redis_workers import Turns, hold, run, take_turns, taken

pytestmark = pytest.mark.real_time

TESTS = Path(__file__).parent.parent
PROCESSES, TURNS = 4, 50


def all_at_once(shared: Sharing, asked: dict[str, Any]) -> list[Turns]:
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        lives = [
            pool.submit(take_turns, shared.colour, shared.url, shared.prefix, TURNS, asked)
            for _ in range(PROCESSES)
        ]
        return [life.result(timeout=40) for life in lives]


def test_never_more_calls_are_in_flight_than_there_are_slots(shared: Sharing, server: RedisServer) -> None:
    results = all_at_once(shared, {"slots": 3})
    assert 1 <= max(result.most for result in results) <= 3
    with server.admin() as admin:
        assert admin.get(f"{shared.prefix}:holders") == "0"
        assert admin.keys(f"{shared.prefix}:*:leases") == []


def test_the_requests_of_all_processes_stay_within_the_rate(shared: Sharing) -> None:
    results = all_at_once(shared, {"requests": 60 * 50})  # 50 a second, 100 at once
    began = min(result.first_asked for result in results)
    allowed = 100 + 50 * (max(result.last_taken for result in results) - began)
    assert allowed + 1 >= PROCESSES * TURNS


def test_the_slot_of_a_process_that_was_killed_is_free_after_its_lease(shared: Sharing) -> None:
    spawn = get_context("spawn")
    hear, tell = spawn.Pipe(duplex=False)
    before = time.monotonic()
    holder = spawn.Process(target=hold, args=(shared.colour, shared.url, shared.prefix, 1.0, tell))
    holder.start()
    try:
        assert hear.poll(30)
        held = time.monotonic()
    finally:
        holder.kill()
        holder.join()
        hear.close()
        tell.close()

    async def body() -> None:
        limits = shared()
        await taken(limits, slots=1)
        await limits.aclose()

    run(shared.colour, body())
    now = time.monotonic()
    assert now - before > 1.0
    assert now - held < 1.0 + 1.0  # the time of the lease, and that of a busy machine


FORK = """
import os, sys
import redis
from stores.conftest import Sharing
from stores.redis_workers import run, taken

colour, url = sys.argv[1:]
limits = Sharing(colour, url)()

def connections():
    with redis.Redis.from_url(url, client_name="admin") as admin:
        return {client["id"] for client in admin.client_list() if client["name"] != "admin"}

async def turns():
    for _ in range(200):
        await limits.release(await taken(limits, slots=2))
    return connections()

before = run(colour, turns())
child = os.fork()
try:
    after = run(colour, turns())
    if child == 0:
        assert after - before, "the child made no connection"
finally:
    if child == 0:
        sys.stderr.flush()
        os._exit(1 if sys.exc_info()[0] else 0)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")
def test_parent_and_child_of_a_fork_do_not_share_connections(shared: Sharing) -> None:
    """Both ask at the same time; what the parent had connected stays the parent's."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, shared.colour, shared.url],
        env={"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert (done.returncode, done.stderr) == (0, "")
