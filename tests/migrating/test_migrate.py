"""A client is moved to another mode while calls go on; or it is not, and all is as it was before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crowd import together
from hybrid_infer.endpoints.errors import LeaseStoreError
from hybrid_infer.errors import ConfigurationError, InvalidCallError
from hybrid_infer.hooks import HookEvent
from hybrid_infer.migrating.errors import (
    MigrationBusyError,
    MigrationError,
    MigrationRefusedError,
)
from hybrid_infer.migrating.verify import Limits
from hybrid_infer.simulator.served import ServedModel
from migrating.moving import DEDICATED, MODAL, QUICK, Scene, machines_of


async def test_an_equal_mode_takes_over_and_the_old_machine_stops(colour: str) -> None:
    scene = Scene(colour)
    api = scene.client("together-dedicated")
    told: list[HookEvent] = []
    for name in ("before_warm", "after_warm", "before_stop", "on_switch"):
        getattr(api.client.hooks, name)(told.append)
    report = await scene.move(api, "modal", dwell=60.0, replicas=1)
    assert (report.result, report.before, report.after) == ("done", "together-dedicated", "modal")
    assert report.verification is not None
    assert report.verification.passed
    assert report.verification.similarity == 1.0
    assert [step.percent for step in report.steps] == [5, 25, 50, 100]
    assert (await api.create()).hybrid.mode == "modal"
    assert await scene.minimum(DEDICATED) == 0
    assert await scene.minimum(MODAL) == 1
    assert [event.name for event in told] == ["before_warm", "after_warm", "on_switch", "before_stop"]
    assert not report.unfinished
    await api.close()


async def test_a_machine_that_is_absent_or_stopped_is_brought_up_first(colour: str) -> None:
    scene = Scene(colour, dedicated="stopped")
    api = scene.client("together-serverless")
    report = await scene.move(api, "together-dedicated", **QUICK)
    assert report.result == "done"
    assert (await api.create()).hybrid.mode == "together-dedicated"
    await api.close()
    assert await scene.minimum(DEDICATED) == 1, "it stays up after the client is gone"


async def test_modals_machine_scales_as_it_was_deployed_unless_replicas_are_named(colour: str) -> None:
    scene = Scene(colour)
    api = scene.client("together-serverless")
    await scene.move(api, "modal", **QUICK)
    assert await scene.minimum(MODAL) == 0
    await api.close()


async def test_the_old_machine_is_kept_where_that_is_asked_for(colour: str) -> None:
    scene = Scene(colour)
    api = scene.client("together-dedicated")
    await scene.move(api, "modal", keep_old=True, **QUICK)
    assert await scene.minimum(DEDICATED) == 1
    await api.close()


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        (ServedModel(template="wrong"), "differ too much"),
        (ServedModel(context=2048), "context_length_exceeded|must not exceed"),
    ],
)
async def test_a_worse_model_is_refused_with_reasons_and_nothing_changes(
    colour: str, planted: ServedModel, reason: str
) -> None:
    scene = Scene(colour, dedicated="stopped", served={"together-dedicated": planted})
    api = scene.client("together-serverless")
    with pytest.raises(MigrationRefusedError, match=reason) as caught:
        await scene.move(api, "together-dedicated", dwell=60.0)
    report = caught.value.report
    assert report is not None
    assert report.result == "refused"
    assert report.verification is not None
    assert not report.verification.passed
    assert report.steps == (), "no call was moved"
    assert (await api.create()).hybrid.mode == "together-serverless"
    assert await scene.minimum(DEDICATED) == 0
    assert not report.unfinished
    await api.close()


async def test_each_limit_may_refuse_by_itself(colour: str) -> None:
    scene = Scene(colour)
    api = scene.client("together-serverless")
    with pytest.raises(MigrationRefusedError, match="times as long"):
        await scene.move(api, "modal", limits=Limits(latency=0.01), **QUICK)
    with pytest.raises(MigrationRefusedError, match="times as much"):
        await scene.move(api, "modal", limits=Limits(cost=0.01), **QUICK)
    await api.close()


async def test_a_store_that_does_not_answer_for_a_moment_ends_no_move(colour: str) -> None:
    scene = Scene(colour)
    api = scene.client("together-serverless")
    keeper, renew, failed = machines_of(api).keeper, machines_of(api).keeper.renew, list[float]()

    async def unsteady(lease: Any, seconds: float) -> Any:
        if 400 < scene.runtime.now() < 450:
            failed.append(scene.runtime.now())
            raise LeaseStoreError("down")
        return await renew(lease, seconds)

    keeper.renew = unsteady  # type: ignore[method-assign] # a store with a bad moment
    scene.world.stop_dedicated(scene.runtime.now())
    assert (await scene.move(api, "together-dedicated", steps="50,100", dwell=600.0)).result == "done"
    assert failed
    await api.close()


async def test_who_is_cancelled_leaves_all_calls_where_they_were_and_can_be_resumed(colour: str) -> None:
    if colour == "sync":
        return
    scene = Scene(colour)
    api = scene.client("together-dedicated")
    task = asyncio.ensure_future(
        scene.move(api, "modal", steps="50,100", dwell=500.0, prompts=QUICK["prompts"])
    )
    await asyncio.sleep(200)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    modes = {(await api.create()).hybrid.mode for _ in range(20)}
    assert modes == {"together-dedicated"}
    assert (await scene.move(api, resume=True, prompts=QUICK["prompts"])).result == "done"
    assert (await api.create()).hybrid.mode == "modal"
    await api.close()


async def test_a_second_move_waits_for_the_first_to_be_finished_or_undone(colour: str) -> None:
    scene = Scene(colour)
    api, other = scene.client("together-dedicated"), scene.client("together-dedicated")
    report = await scene.move(api, "modal", shift=False, **QUICK)
    assert (report.result, report.unfinished) == ("handed over", True)
    with pytest.raises(MigrationBusyError, match="unfinished"):
        await scene.move(other, "together-serverless", **QUICK)
    with pytest.raises(MigrationBusyError, match="goes to modal"):
        await scene.move(other, "together-serverless", resume=True, **QUICK)
    assert await scene.minimum(DEDICATED) == 1, "others still use it"
    assert (await scene.move(other, resume=True, shift=False)).result == "done"
    assert await scene.minimum(DEDICATED) == 0
    with pytest.raises(MigrationError, match="no unfinished"):
        await scene.move(api, undo=True)
    await api.close()
    await other.close()


async def test_a_machine_that_others_hold_is_left_up(colour: str) -> None:
    scene = Scene(colour)
    api, other = scene.client("together-dedicated"), scene.client("together-dedicated")
    await machines_of(other).warm(None, keep=100_000.0)
    report = await scene.move(api, "modal", **QUICK)
    assert report.result == "done"
    assert any("others need it" in warning for warning in report.warnings)
    assert await scene.minimum(DEDICATED) == 1
    await api.close()
    await other.close()


async def test_what_cannot_be_meant_is_refused_before_anything_is_done(colour: str) -> None:
    scene = Scene(colour)
    api = scene.client("together-serverless")
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        ("nowhere", {}, "must be one of"),
        ("together-serverless", {}, "already"),
        (None, {}, "name the mode"),
        ("modal", {"steps": "50,25"}, "grow to 100"),
        ("modal", {"prompts": []}, "there are none"),
        ("modal", {"prompts": [{"text": "?"}]}, "messages"),
        ("modal", {"prompts": [{**QUICK["prompts"][0], "model": "x"}]}, "x is not moved"),
        ("modal", {"limits": Limits(similarity=2)}, "similarity"),
        ("modal", {"resume": True, "undo": True}, "one of the two"),
        ("modal", {"dewll": 3}, "dewll"),
    ]
    for target, options, match in wrong:
        with pytest.raises(InvalidCallError, match=match):
            await scene.move(api, target, **options)
    with pytest.raises((ConfigurationError, InvalidCallError)):
        await scene.move(api, "hybrid")
    assert scene.started() == 0
    await api.close()


async def test_a_client_moves_to_hybrid_mode_and_away_from_it(colour: str) -> None:
    """The machine of its base is brought up, and stopped; the mode that both have in common stays."""
    scene = Scene(colour, dedicated="stopped")
    hybrid = {"base": "together-dedicated", "overflow": "together-serverless"}
    api = scene.client("together-serverless", hybrid=hybrid)
    assert (await scene.move(api, "hybrid", **QUICK)).result == "done"
    assert (await api.create()).hybrid.mode == "together-dedicated"
    assert await scene.minimum(DEDICATED) == 1
    slower = Limits(latency=4.0)
    assert (await scene.move(api, "together-serverless", limits=slower, **QUICK)).result == "done"
    assert (await api.create()).hybrid.mode == "together-serverless"
    assert await scene.minimum(DEDICATED) == 0
    await api.close()


@pytest.mark.parametrize("when", ["before", "during"])
async def test_a_call_that_does_not_end_keeps_the_old_machine_up(colour: str, when: str) -> None:
    """It says so, and can be finished or taken back; also of a call that names the old mode."""
    scene = Scene(colour)
    api = scene.client("together-dedicated")
    held: list[Any] = []

    async def hold() -> None:
        await scene.runtime.sleep(0.0 if when == "before" else 100.0)
        options = {} if when == "before" else {"mode": "together-dedicated"}
        held.append(await api.stream(timeout=86_400, **options))

    async def move() -> None:
        await scene.runtime.sleep(1.0)
        with pytest.raises(MigrationError, match="1 calls are still in flight"):
            await scene.move(api, "modal", drain_timeout=30.0, **QUICK)

    results = await together(api, hold, move)
    assert [one for one in results if isinstance(one, BaseException)] == []
    assert (await api.create()).hybrid.mode == "modal"
    assert await scene.minimum(DEDICATED) == 1
    if when == "before":
        assert (await scene.move(api, undo=True)).result == "undone"
        assert (await api.create()).hybrid.mode == "together-dedicated"
    await held[0].close()
    if when == "during":
        assert (await scene.move(api, resume=True, prompts=QUICK["prompts"])).result == "done"
        assert await scene.minimum(DEDICATED) == 0
    await api.close()


def test_a_plan_says_what_it_costs_an_hour_and_what_nobody_knows() -> None:
    scene = Scene("sync")
    api = scene.client("together-serverless")
    plan = api.client.migration_plan("together-dedicated")
    assert [place.by_time for place in plan.old] == [False]
    assert [place.target for place in plan.new] == [DEDICATED]
    assert plan.new[0].usd_per_hour is not None
    assert [line.partition(":")[0] for line in plan.todo] == [
        "warm",
        "verify",
        "shift",
        "switch",
        "drain",
        "keep",
    ]
    assert any("depends on the calls" in line for line in plan.unknown)
    assert scene.started() == 0
