"""Which calls go to the new mode while a client moves, and what becomes of them if it does badly."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from crowd import together
from hybrid_infer.errors import InvalidCallError
from hybrid_infer.migrating.errors import (
    MigrationError,
    RolledBackError,
)
from hybrid_infer.runtime.virtual import EPOCH
from hybrid_infer.simulator.faults import Fault
from migrating.moving import DEDICATED, MODAL, QUICK, Scene, every


async def test_calls_move_by_shares_and_none_fails(colour: str) -> None:
    scene = Scene(colour)
    api = scene.client("together-dedicated")
    found: list[Any] = []
    reports: list[Any] = []

    async def move() -> None:
        reports.append(
            await scene.move(api, "modal", steps="25,50,100", dwell=200.0, prompts=QUICK["prompts"])
        )

    await together(api, move, *every(api, 2.0, 400, found))
    assert reports, scene.progress
    assert reports[0].warnings == ()
    shares = [step.new.calls / (step.new.calls + step.old.calls) for step in reports[0].steps[:1]]
    assert shares == [pytest.approx(0.25, abs=0.05)]
    assert [reply for reply in found if isinstance(reply, Exception)] == []
    modes = [reply.hybrid.mode for reply in found]
    assert set(modes) == {"together-dedicated", "modal"}
    assert modes[-1] == "modal"
    assert all(reply.hybrid.attempts == 1 for reply in found)
    await api.close()


async def test_a_new_mode_that_fails_under_load_gets_no_calls_any_more(colour: str) -> None:
    """And callers do not notice: what it fails at, the old mode answers."""
    scene = Scene(colour, faults=Fault("status", status=500).when(mode="modal", since=100))
    api = scene.client("together-dedicated", breaker=False)
    found: list[Any] = []
    caught: list[MigrationError] = []

    async def move() -> None:
        with pytest.raises(RolledBackError, match="failed or had to be answered") as error:
            await scene.move(api, "modal", dwell=200.0, prompts=QUICK["prompts"])
        caught.append(error.value)

    await together(api, move, *every(api, 2.0, 400, found))
    assert caught[0].report is not None
    assert caught[0].report.result == "rolled back"
    assert [reply for reply in found if isinstance(reply, Exception)] == []
    assert found[-1].hybrid.mode == "together-dedicated"
    assert await scene.minimum(DEDICATED) == 1
    assert await scene.minimum(MODAL) == 0
    await api.close()


async def test_a_new_mode_that_never_answers_gets_no_calls_before_they_time_out(colour: str) -> None:
    """What they have waited so far is enough to tell. The old mode answers them in the end."""
    scene = Scene(colour, faults=Fault("silence").when(mode="modal", since=100))
    api = scene.client("together-dedicated", breaker=False)
    found: list[Any] = []

    async def move() -> None:
        with pytest.raises(RolledBackError, match="calls take"):
            await scene.move(api, "modal", steps="50,100", dwell=200.0, prompts=QUICK["prompts"])

    await together(api, move, *every(api, 2.0, 200, found))
    (told,) = [one for one in scene.progress if one.text.startswith("it is undone")]
    assert (told.at - EPOCH).total_seconds() < 200, "an attempt takes 300 s until it is given up"
    assert [reply for reply in found if isinstance(reply, Exception)] == []
    assert max(reply.hybrid.attempts for reply in found) == 2
    assert all(reply.hybrid.mode == "together-dedicated" for reply in found[-20:])
    await api.close()


async def test_calls_that_name_a_mode_or_may_not_leave_are_never_moved(colour: str) -> None:
    scene = Scene(colour)
    api = scene.client("together-dedicated")
    named: list[Any] = []
    staying: list[Any] = []

    async def move() -> None:
        await scene.move(api, "modal", steps="50,100", dwell=100.0, keep_old=True, prompts=QUICK["prompts"])

    bodies = [
        *every(api, 2.0, 120, named, mode="together-serverless"),
        *every(api, 2.0, 90, staying, never_leave=True),
    ]
    await together(api, move, *bodies)
    assert {reply.hybrid.mode for reply in named} == {"together-serverless"}
    assert {reply.hybrid.mode for reply in staying} == {"together-dedicated"}
    assert len(staying) == 90
    await api.close()


async def test_a_session_is_moved_once_and_stays(colour: str) -> None:
    scene = Scene(colour)
    api = scene.client("together-dedicated")
    found: dict[str, list[Any]] = {f"s{number}": [] for number in range(12)}

    async def move() -> None:
        await scene.move(api, "modal", dwell=100.0, prompts=QUICK["prompts"])

    bodies = [body for name, into in found.items() for body in every(api, 20.0, 30, into, session=name)]
    await together(api, move, *bodies)
    for replies in found.values():
        modes = [reply.hybrid.mode for reply in replies]
        assert modes == sorted(modes, reverse=True), "first the old one, from some call on the new one"
    await api.close()


async def test_streams_go_on_where_they_began_and_count_by_their_first_content(colour: str) -> None:
    scene = Scene(colour)
    api = scene.client("together-dedicated")
    texts: list[tuple[str, str]] = []
    reports: list[Any] = []

    async def move() -> None:
        reports.append(await scene.move(api, "modal", steps="50,100", dwell=60.0, prompts=QUICK["prompts"]))

    async def one(number: int) -> None:
        await scene.runtime.sleep(2.0 * number)
        stream = await api.stream(timeout=3600)
        await scene.runtime.sleep(45.0)  # a reader in no hurry
        text = await stream.text()
        texts.append((stream.hybrid.mode or "", text))

    results = await together(api, move, *(partial(one, number) for number in range(100)))
    assert [one for one in results if isinstance(one, BaseException)] == []
    assert {mode for mode, _ in texts} == {"together-dedicated", "modal"}
    assert len({text for _, text in texts}) == 1
    last = reports[0].steps[-1]
    assert last.new.calls > 0
    assert last.new.seconds is not None
    assert last.new.seconds < 10, "what the reader takes is not the mode's time"
    await api.close()


async def test_models_with_a_mode_of_their_own_are_left_where_they_are(colour: str) -> None:
    scene = Scene(colour)
    own = {"mode": "together-serverless", "together-serverless": {"model": "Qwen/Qwen3.5-9B"}}
    api = scene.client("together-dedicated", models={"fixed": own})
    found: list[Any] = []

    async def move() -> None:
        report = await scene.move(api, "modal", steps="50,100", dwell=50.0, prompts=QUICK["prompts"])
        assert report.models == ("assistant",)

    results = await together(api, move, *every(api, 2.0, 60, found, model="fixed"))
    assert [one for one in results if isinstance(one, BaseException)] == []
    assert {reply.hybrid.mode for reply in found} == {"together-serverless"}
    with pytest.raises(InvalidCallError, match="a mode of its own"):
        await scene.move(api, "together-dedicated", models=["fixed"])
    await api.close()
