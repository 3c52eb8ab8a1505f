"""What a client does for its machines by itself: at its start, while they are idle, and within a budget."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_infer.simulator.dedicated import EndpointPlan
from warming.fleet import DEDICATED, NAMES, Fleet, Within, settled, told

MODE = "together-dedicated"
_TARGET = {"model": "simulated/assistant", "gpu": "H100", "warm": "daily 00:00-24:00"}
ALWAYS = {"models": {"assistant": {MODE: _TARGET}}, "model": "assistant"}


@pytest.mark.parametrize("mode", ["together-dedicated", "modal"])
async def test_warm_at_start_warms_in_the_background(colour: str, mode: str) -> None:
    """The client is there at once; the machine of its mode comes up meanwhile."""
    fleet = Fleet(colour)
    api = fleet.client(mode=mode, warm_at_start=True)
    events = told(api)
    assert fleet.runtime.now() == 0
    await api.runtime.sleep(400)
    assert [event.name for event in events][:2] == ["before_warm", "after_warm"]
    assert (await settled(api.client.state())).life == "warm"
    await api.close()


async def test_a_start_that_fails_is_told_to_hooks_and_raises_nothing(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Fleet(colour, endpoint=EndpointPlan(fails_after=30))
    api = fleet.client(mode=MODE, warm_at_start=True)
    events = told(api)
    await api.runtime.sleep(400)
    after = next(event for event in events if event.name == "after_warm")
    assert "Startup stalled" in after.reason
    assert "Startup stalled" in caplog.text
    await api.close()


@pytest.mark.parametrize("mode", ["together-dedicated", "modal"])
async def test_what_nobody_uses_is_stopped(colour: str, mode: str) -> None:
    """`idle_stop`: so long after the last call of any process, and hooks are told."""
    fleet = Fleet(colour, dedicated="ready")
    api, other = (fleet.client(mode=mode, idle_stop=600) for _ in range(2))
    both = told(api), told(other)
    for _ in range(6):
        await api.create()
        await other.create()
        await fleet.runtime.sleep(300)
    if mode == MODE:
        assert fleet.ready() == 1
    await fleet.runtime.sleep(1500)
    if mode == MODE:
        assert fleet.ready() == 0
        told_of = [event for events in both for event in events if event.name in ("on_idle", "before_stop")]
        assert [event.name for event in told_of] == ["on_idle", "before_stop"]
        assert told_of[0].seconds == pytest.approx(600, abs=180)
    assert fleet.world.machines(fleet.runtime.now()).containers_ready == 0
    for one in (api, other):
        await one.close()


async def test_what_another_process_needs_is_not_stopped_for_being_idle(colour: str) -> None:
    fleet = Fleet(colour)
    api, other = fleet.client(mode=MODE, idle_stop=300), fleet.client(mode=MODE)
    async with Within(other):
        await api.create()
        await fleet.runtime.sleep(3600)
        assert fleet.ready() == 1
    for one in (api, other):
        await one.close()


async def test_pings_keep_a_server_up_between_calls(colour: str) -> None:
    """A container of Modal's stops after 60 s without a request; with `keep_alive` it does not."""
    for keep_alive, cold in ((None, True), (30.0, False)):
        api = Fleet(colour).client(mode="modal", keep_alive=keep_alive)
        await api.create()
        await api.runtime.sleep(1800)
        assert (await api.create()).hybrid.cold_start is cold
        await api.close()


async def test_the_budget_for_idle_machines_ends_what_a_schedule_keeps(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """11 USD a day are two hours of a machine of 5.49 USD an hour."""
    fleet = Fleet(colour)
    api = fleet.client(mode=MODE, idle_budget=11.0, **ALWAYS)
    await api.runtime.sleep(8 * 3600)
    assert fleet.billed(MODE) == pytest.approx(2 * 3600, abs=300)
    assert "budget for idle machines is spent" in caplog.text
    await api.close()


async def test_a_machine_that_was_stopped_in_its_hours_stays_so(colour: str) -> None:
    """Somebody's word counts more than the schedule, until its next hours."""
    fleet = Fleet(colour)
    api, other = fleet.client(mode=MODE, **ALWAYS), fleet.client(mode=MODE)
    await fleet.runtime.sleep(600)
    assert fleet.ready() == 1
    await settled(other.client.stop(force=True))
    await fleet.runtime.sleep(3600)
    assert fleet.ready() == 0
    for one in (api, other):
        await one.close()


async def test_when_the_owner_of_a_schedule_ends_another_process_goes_on(colour: str) -> None:
    fleet = Fleet(colour)
    owner, other = (fleet.client(mode=MODE, **ALWAYS) for _ in range(2))
    await fleet.runtime.sleep(1200)
    assert fleet.ready() == 1
    owner.client._core.machines.upkeep.end()  # as if it had been killed
    await fleet.runtime.sleep(3600)
    assert fleet.ready() == 1
    leases = await other.client._core.machines.keeper.leases(DEDICATED)
    assert [lease.kind for lease in leases] == ["schedule"]
    await other.close()
    await fleet.runtime.sleep(60)
    assert fleet.ready() == 0


async def test_a_server_that_keeps_no_minimum_is_asked_as_long_as_it_is_needed(colour: str) -> None:
    """Without its name at Modal there is nothing to scale: asking keeps it up, and stops with the block."""
    fleet = Fleet(colour)
    settings: dict[str, Any] = {"mode": "modal", "modal_url": "https://x--y.us-east.modal.direct"}
    api = fleet.client(**settings)
    async with Within(api, "llm") as state:
        assert (state.name, state.life, state.minimum) == (NAMES["modal"], "warm", None)
        await api.runtime.sleep(1800)
        assert not (await api.create(model="llm")).hybrid.cold_start
        assert fleet.world.machines(api.runtime.now()).containers_started == 1
    await api.runtime.sleep(120)
    assert fleet.world.machines(api.runtime.now()).containers_ready == 0
    await api.close()


async def test_outside_its_hours_a_server_on_modal_is_not_even_asked(colour: str) -> None:
    """A question would start it: in mode hybrid the overflow answers everything until its hours begin."""
    fleet = Fleet(colour)
    modal = {"model": "llm", "gpu": "H100", "warm": "Mon 12:00-13:00"}
    api = fleet.client(
        mode="hybrid",
        hybrid={"base": "modal", "overflow": "together-serverless"},
        models={"assistant": {"modal": modal, "together-serverless": "Qwen/Qwen3.5-9B"}},
        model="assistant",
    )
    modes: dict[int, set[str | None]] = {}
    while api.runtime.now() < 6.5 * 3600:
        modes.setdefault(api.runtime.wall().hour, set()).add((await api.create()).hybrid.mode)
        await api.runtime.sleep(300)
    assert modes[12] == {"modal"}
    assert all(modes[hour] == {"together-serverless"} for hour in (8, 9, 10, 13, 14))
    assert fleet.world.machines(api.runtime.now()).containers_started == 1
    assert fleet.billed("modal") == pytest.approx(3600, abs=240)
    await api.close()


async def test_without_upkeep_nothing_is_done_that_nobody_asked_for(colour: str) -> None:
    fleet = Fleet(colour)
    api = fleet.client(mode=MODE, upkeep=False, warm_at_start=True, idle_stop=60, **ALWAYS)
    await api.runtime.sleep(3600)
    assert (fleet.ready(), fleet.billed(MODE)) == (0, 0.0)
    async with Within(api):
        await api.runtime.sleep(3600)
        assert fleet.ready() == 1, "what is asked for is kept all the same"
    await api.close()


async def test_a_schedule_keeps_up_by_asking_what_has_no_minimum(colour: str) -> None:
    """A server whose name at Modal is not known is up in its hours, and stops by itself after them."""
    fleet = Fleet(colour)
    target = {"url": "https://x--y.us-east.modal.direct", "warm": "Mon 09:00-10:00", "function": None}
    models = {"other": {"modal": {**target, "model": "llm"}}}
    api = fleet.client(mode="modal", models=models, model="other")
    machines = api.client._core.machines
    machine = machines.finder.find("other")
    machine.endpoint._connect = None  # the simulator names its server where the settings do not
    await fleet.runtime.sleep(3600)
    assert fleet.world.machines(fleet.runtime.now()).containers_ready == 1
    await fleet.runtime.sleep(3590)
    assert fleet.world.machines(fleet.runtime.now()).containers_started == 1
    assert not (await api.create()).hybrid.cold_start
    await fleet.runtime.sleep(180)
    assert fleet.world.machines(fleet.runtime.now()).containers_ready == 0
    await api.close()
