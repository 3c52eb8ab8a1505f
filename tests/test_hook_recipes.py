"""The recipes of examples/hooks run as they are, in the frameworks they are for."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from celery.signals import task_prerun, worker_process_init, worker_process_shutdown

from hybrid_infer import ClientClosedError, ColdError

FOLDER = Path(__file__).parent.parent / "examples" / "hooks"
SIMULATED = {
    "HYBRID_INFER_SIMULATE": "1",
    "HYBRID_INFER_SIMULATE_SPEED": "40",
    "HYBRID_INFER_MODE": "modal",
}
"""A container that is cold at first, and starts in half a second."""

pytestmark = pytest.mark.real_time


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SIMULATED.items():
        monkeypatch.setenv(name, value)


def loaded(name: str) -> Any:
    """A recipe as a module, new each time."""
    spec = spec_from_file_location(f"recipe_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic looks annotations up there
    spec.loader.exec_module(module)
    return module


# FastAPI


async def test_fastapi_has_one_client_for_its_life_and_knows_what_is_cold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_SPEED", "100")  # so that there is time to look
    app = loaded("fastapi_lifespan").app
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://answers", timeout=30) as browser,
    ):
        client = app.state.client
        first = asyncio.ensure_future(browser.post("/answers", json={"text": "Why is the sky blue?"}))
        seen: list[Any] = []
        while not first.done():
            seen.append((await browser.get("/machines")).json()["cold"])
            await asyncio.sleep(0.001)
        answer = (await first).json()
        assert answer["text"].startswith("(simulated)")
        assert answer["waited_for_machine"] > 0
        assert {name for cold in seen for name in cold} == {first_target(client)}
        assert (await browser.get("/machines")).json() == {"cold": {}}
        second = (await browser.post("/answers", json={"text": "And at night?"})).json()
        assert second["waited_for_machine"] == 0
        assert (await browser.post("/answers", json={})).status_code == 422
    with pytest.raises(ClientClosedError):
        await client.chat.completions.create(messages=[{"role": "user", "content": "Still there?"}])


def first_target(client: Any) -> str:
    """The name of the target that calls go to, as the client describes it."""
    line = next(line for line in client.describe().splitlines() if line.startswith("target"))
    return str(line.split()[1])


async def test_fastapi_tells_a_failed_call_from_one_that_may_succeed_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HYBRID_INFER_COLD_START_TIMEOUT", "0")
    app = loaded("fastapi_lifespan").app
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://answers") as browser,
    ):
        refused = await browser.post("/answers", json={"text": "Hello"})
        assert refused.status_code == 503
        assert "cold_start_timeout" in refused.json()["error"]


# Celery


@contextmanager
def worker_process() -> Iterator[Any]:
    """The recipe in a worker process that has just begun; tasks run where they are sent."""
    module = loaded("celery_worker")
    module.app.conf.task_always_eager = True
    assert module.client is None, "nothing is made where the module is imported"
    worker_process_init.send(sender=None)
    try:
        yield module
    finally:
        worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
    assert module.client is None


def test_celery_makes_a_client_for_each_process_and_its_tasks_use_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "recipe_celery_worker"), worker_process() as worker:
        client = worker.client
        found = [worker.answer.delay(question).get(timeout=30) for question in ("One?", "Two?")]
        assert worker.client is client
    assert all(text.startswith("(simulated)") for text in found)
    told = [record.getMessage().split()[0] for record in caplog.records]
    assert told == ["on_cold_start", "on_ready"]
    with pytest.raises(ClientClosedError):
        client.chat.completions.create(messages=[{"role": "user", "content": "Still there?"}])


def test_celery_tries_again_what_may_succeed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_SPEED", "1")  # it does not come up meanwhile
    monkeypatch.setenv("HYBRID_INFER_COLD_START_TIMEOUT", "0")
    runs: list[object] = []

    def count(task_id: object, **_: object) -> None:
        runs.append(task_id)

    task_prerun.connect(count)
    with worker_process() as worker:
        result = worker.answer.delay("Hello?")
    task_prerun.disconnect(count)
    assert isinstance(result.result, ColdError)
    assert len(runs) == 1 + worker.answer.max_retries


# A serverless platform


class Invocation:
    """What the platform tells of it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return round(self.seconds * 1000)


def asking(question: str) -> dict[str, str]:
    return {"body": json.dumps({"question": question})}


def test_invocations_of_one_container_share_a_client(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = loaded("serverless_handler")
    assert capsys.readouterr().out == "", "nothing is asked at import"
    answers = [recipe.handler(asking(question), Invocation(30)) for question in ("One?", "Two?")]
    recipe.client.close()
    assert [answer["statusCode"] for answer in answers] == [200, 200]
    assert all(json.loads(answer["body"])["text"].startswith("(simulated)") for answer in answers)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["hook"] for line in lines] == ["on_cold_start", "on_ready"]
    assert lines[1]["seconds"] > 0


def test_an_invocation_answers_before_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_INFER_SIMULATE_SPEED", "1")
    recipe = loaded("serverless_handler")
    began = monotonic()
    answer = recipe.handler(asking("Hello?"), Invocation(2.0))
    assert monotonic() - began < 2.0
    recipe.client.close()
    assert answer["statusCode"] == 503
    assert int(answer["headers"]["retry-after"]) > 0


def test_the_serverless_recipe_runs_as_a_script() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "serverless_handler.py")],
        env={**os.environ, **SIMULATED},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "'statusCode': 200" in done.stdout
