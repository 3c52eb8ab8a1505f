"""`client.warmed`: a machine for as long as a block runs, however that ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from both import ASK
from hybrid_infer.simulator.dedicated import EndpointPlan
from warming.fleet import DEDICATED, Fleet, Within, settled, told

MODE = "together-dedicated"
MODES = pytest.mark.parametrize("mode", ["together-dedicated", "modal"])


@MODES
async def test_within_the_block_it_is_warm_and_after_it_it_stops(colour: str, mode: str) -> None:
    fleet = Fleet(colour)
    api = fleet.client(mode=mode)
    async with Within(api, "assistant") as state:
        assert state.life == "warm"
        await api.runtime.sleep(2 * 3600)  # far beyond its lease, which is renewed
        assert not (await api.create()).hybrid.cold_start
    await api.runtime.sleep(120)
    assert (await settled(api.client.state())).life == "cold"
    await api.close()


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
async def test_an_error_or_an_interrupt_gives_it_back(colour: str, kind: type[BaseException]) -> None:
    """The error is the caller's own, and not one of giving back."""
    fleet = Fleet(colour)
    api = fleet.client(mode=MODE)
    with pytest.raises(kind, match="stop here"):
        async with Within(api):
            raise kind("stop here")
    assert await api.client._core.machines.keeper.leases() == ()
    await api.runtime.sleep(60)
    assert (await settled(api.client.state())).life == "cold"
    await api.close()


async def test_a_task_that_is_cancelled_gives_it_back(make: Any = None) -> None:
    """Also where the cancellation comes while it is brought up, and again while it is given back."""
    fleet = Fleet("async")
    api = fleet.client(mode=MODE)
    inside = asyncio.Event()

    async def hold() -> None:
        async with api.client.warmed():
            inside.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(hold())
    await asyncio.sleep(30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await api.client._core.machines.keeper.leases() == ()
    task = asyncio.create_task(hold())
    await inside.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(1)
    assert await api.client._core.machines.keeper.leases() == ()
    await api.close()


async def test_two_that_need_it_never_stop_each_others_machine(colour: str) -> None:
    fleet = Fleet(colour)
    one, two = fleet.client(mode=MODE), fleet.client(mode=MODE)
    async with Within(one):
        async with Within(two):
            pass
        await fleet.runtime.sleep(600)
        assert (await settled(one.client.state())).life == "warm"
        assert not (await one.create()).hybrid.cold_start
    await fleet.runtime.sleep(60)
    assert (await settled(one.client.state())).life == "cold"
    for api in (one, two):
        await api.close()


async def test_of_a_process_that_died_another_one_takes_it_down_after_its_lease(colour: str) -> None:
    """Nothing of the first runs any more: its lease ends, and the other's background sweep sees to it."""
    fleet = Fleet(colour)
    dead, other = fleet.client(mode=MODE), fleet.client(mode=MODE, keep_alive=600)
    context = Within(dead)
    await context.__aenter__()
    dead.client._core.machines.upkeep.end()  # as if it had been killed: nothing is renewed
    await other.create()
    await fleet.runtime.sleep(100)
    assert fleet.ready() == 1, "its lease lasts for 120 s"
    await fleet.runtime.sleep(100)
    assert fleet.ready() == 0
    assert (await settled(other.client.state())).minimum == 0
    await other.close()


async def test_leases_are_told_with_their_reason_in_the_status(colour: str) -> None:
    fleet = Fleet(colour)
    api = fleet.client(mode=MODE)
    async with Within(api):
        found = {row.name: row for row in await settled(api.client.status())}
        (lease,) = found[DEDICATED].leases
        assert (lease.why, lease.replicas, lease.kind) == ("warmed", 1, "asked")
        assert found["modal/llm"].leases == ()
    await api.close()


@pytest.mark.parametrize("mode", ["together-serverless", "openai-compatible"])
async def test_where_nothing_is_started_the_block_just_runs(colour: str, mode: str) -> None:
    fleet = Fleet(colour)
    api = fleet.client(mode=mode)
    async with Within(api) as state:
        assert "nothing is started" in state.said
    assert api.runtime.now() == 0
    await api.close()


async def test_in_mode_hybrid_calls_move_over_when_it_is_ready_and_back_before_it_stops(colour: str) -> None:
    """Meanwhile the overflow answers: no call waits, and none is refused by a machine that goes."""
    fleet = Fleet(colour, endpoint=EndpointPlan(provisioning=20, scaling=20))
    hybrid = {"base": MODE, "overflow": "together-serverless"}
    api = fleet.client(mode="hybrid", hybrid=hybrid)
    await settled(api.client.warm(wait=False))
    modes: list[str | None] = []
    for _ in range(40):
        reply = await api.create()
        assert reply.hybrid.cold_wait == 0
        modes.append(reply.hybrid.mode)
        await api.runtime.sleep(5)
    assert modes == sorted(modes, key=str, reverse=True), "once to the machine, and not back"
    assert (modes[0], modes[-1]) == ("together-serverless", MODE)
    seen: list[Any] = []

    def ask(_: Any) -> Any:
        if colour == "sync":
            seen.append(api.client.chat.completions.create(messages=ASK).hybrid)
            return None

        async def asked() -> None:
            seen.append((await api.create()).hybrid)

        return asked()

    events = told(api)
    api.client.hooks.before_stop(ask)
    await settled(api.client.stop(wait=False))
    assert [event.name for event in events] == ["before_stop"]
    (during,) = seen
    assert (during.mode, during.cold_start) == (MODE, False), "it answers until it is told to stop"
    after = await api.create()
    assert (after.hybrid.mode, after.hybrid.cold_wait) == ("together-serverless", 0)
    await api.close()
