"""`client.warm`, `stop` and `state`: both clients, both providers, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_infer.endpoints.errors import (
    CapacityError,
    EndpointConflictError,
    EndpointFailedError,
    EndpointTimeoutError,
)
from hybrid_infer.endpoints.state import EndpointAction, EndpointChange, EndpointEvent
from hybrid_infer.errors import ClientClosedError, InvalidCallError
from hybrid_infer.simulator.dedicated import EndpointPlan
from warming.fleet import NAMES, Fleet, settled, told

MODES = pytest.mark.parametrize("mode", ["together-dedicated", "modal"])


@MODES
async def test_warm_brings_a_machine_up_and_the_next_call_waits_for_nothing(colour: str, mode: str) -> None:
    """The state says warm only once a request was answered."""
    fleet = Fleet(colour)
    api = fleet.client(mode=mode)
    assert (await settled(api.client.state())).life == "cold"
    state = await settled(api.client.warm("assistant"))
    assert (state.name, state.life) == (NAMES[mode], "warm")
    assert 5 < api.runtime.now() < 400
    reply = await api.create()
    assert (reply.hybrid.cold_start, reply.hybrid.cold_wait) == (False, 0.0)
    await api.close()


@MODES
async def test_progress_is_told_in_the_providers_own_words(colour: str, mode: str) -> None:
    fleet = Fleet(colour)
    api = fleet.client(mode=mode)
    events: list[EndpointEvent] = []
    await settled(api.client.warm(on_event=events.append))
    actions = [event.what for event in events if isinstance(event, EndpointAction)]
    assert actions[0] == "keep at least 1 up"
    lives = [event.state.life for event in events if isinstance(event, EndpointChange)]
    assert list(dict.fromkeys(lives)) == ["cold", "warming", "warm"]
    assert all(event.state.said for event in events if isinstance(event, EndpointChange))
    await api.close()


@MODES
async def test_it_stays_up_until_the_client_is_closed_and_then_stops(colour: str, mode: str) -> None:
    """Its lease is renewed while it is held, and given back with the client."""
    fleet = Fleet(colour)
    api, other = fleet.client(mode=mode), fleet.client(mode=mode)
    await settled(api.client.warm())
    before, at = fleet.billed(mode), api.runtime.now()
    await api.runtime.sleep(4 * 3600)
    assert fleet.billed(mode) - before == pytest.approx(api.runtime.now() - at, abs=2)
    (status,) = [one for one in await settled(api.client.status()) if one.mode == mode]
    assert [lease.why for lease in status.leases] == ["warm"]
    await api.close()
    await fleet.runtime.sleep(120)
    assert (await settled(other.client.state())).life == "cold"
    before = fleet.billed(mode)
    await fleet.runtime.sleep(3600)
    assert fleet.billed(mode) == before
    await other.close()


@MODES
async def test_stop_lets_it_go_cold(colour: str, mode: str) -> None:
    fleet = Fleet(colour)
    api = fleet.client(mode=mode)
    await settled(api.client.warm())
    events = told(api)
    state = await settled(api.client.stop())
    assert state.life == "cold"
    assert [event.name for event in events] == ["before_stop"]
    before = fleet.billed(mode)
    await api.runtime.sleep(3600)
    assert fleet.billed(mode) == before
    assert (await settled(api.client.stop())).life == "cold"
    await api.close()


async def test_hooks_are_told_before_and_after(colour: str) -> None:
    fleet = Fleet(colour)
    api = fleet.client(mode="together-dedicated")
    events = told(api)
    await settled(api.client.warm())
    before, after = events
    assert (before.name, before.state.life, after.name, after.state.life) == (
        *("before_warm", "cold"),
        *("after_warm", "warm"),
    )
    assert after.seconds == pytest.approx(api.runtime.now(), abs=0.5)
    assert {event.target for event in events} == {NAMES["together-dedicated"]}
    assert {event.model for event in events} == {"assistant"}
    await api.close()
    assert [event.name for event in events[2:]] == ["before_stop"]


async def test_without_waiting_it_comes_up_in_the_background(colour: str) -> None:
    fleet = Fleet(colour)
    api = fleet.client(mode="together-dedicated")
    events = told(api)
    state = await settled(api.client.warm(wait=False))
    assert state.life == "warming"
    assert api.runtime.now() == pytest.approx(0, abs=1)
    await api.runtime.sleep(400)
    assert [event.name for event in events] == ["before_warm", "after_warm"]
    assert (await settled(api.client.state())).life == "warm"
    await api.close()


@MODES
async def test_a_machine_kept_for_a_time_outlives_its_client_and_no_more(colour: str, mode: str) -> None:
    """`keep`: a script that warms and ends leaves the machine up, until a sweep after that time."""
    fleet = Fleet(colour)
    script = fleet.client(mode=mode)
    await settled(script.client.warm(keep=3600))
    await script.close()
    await fleet.runtime.sleep(1800)
    other = fleet.client(mode=mode)
    assert not (await settled(other.client.sweep())).dropped
    assert (await settled(other.client.state())).life == "warm"
    await fleet.runtime.sleep(1800)
    swept = await settled(other.client.sweep())
    assert [lease.why for lease in swept.dropped] == ["warm"]
    await fleet.runtime.sleep(120)
    assert (await settled(other.client.state())).life == "cold"
    await other.close()


async def test_what_others_need_is_stopped_by_force_alone(colour: str) -> None:
    fleet = Fleet(colour)
    mine, theirs = (fleet.client(mode="together-dedicated") for _ in range(2))
    await settled(mine.client.warm())
    await settled(theirs.client.warm())
    events = told(mine)
    with pytest.raises(EndpointConflictError, match="others need it until"):
        await settled(mine.client.stop())
    assert not events
    await mine.close()
    await fleet.runtime.sleep(600)
    assert (await settled(theirs.client.state())).life == "warm"
    last = fleet.client(mode="together-dedicated")
    assert (await settled(last.client.stop(force=True))).life == "cold"
    await fleet.runtime.sleep(600)
    assert (await settled(last.client.state())).life == "cold"
    for api in (theirs, last):
        await api.close()


@pytest.mark.parametrize("mode", ["together-serverless", "openai-compatible"])
async def test_where_nothing_is_started_it_says_so(colour: str, mode: str) -> None:
    api = Fleet(colour).client(mode=mode)
    for state in (
        await settled(api.client.warm(replicas=3)),
        await settled(api.client.state()),
        await settled(api.client.stop()),
    ):
        assert (state.life, state.price) == ("warm", None)
        assert "nothing is started" in state.said
    assert api.runtime.now() == 0
    await api.close()


async def test_in_mode_hybrid_the_base_is_meant(colour: str) -> None:
    hybrid = {"base": "together-dedicated", "overflow": "together-serverless"}
    api = Fleet(colour).client(mode="hybrid", hybrid=hybrid)
    assert (await settled(api.client.state())).name == NAMES["together-dedicated"]
    await api.close()


async def test_the_providers_own_name_is_a_model_too(colour: str) -> None:
    api = Fleet(colour).client(mode="together-dedicated")
    state = await settled(api.client.warm("simulated/assistant"))
    assert (state.name, state.life) == (NAMES["together-dedicated"], "warm")
    await api.close()


@pytest.mark.parametrize(
    ("plan", "error"),
    [
        (EndpointPlan(fails_after=30), EndpointFailedError),
        (EndpointPlan(provisioning=3000), EndpointTimeoutError),
    ],
)
async def test_what_does_not_come_up_is_an_error_and_nothing_is_kept(
    colour: str, plan: EndpointPlan, error: Any
) -> None:
    fleet = Fleet(colour, endpoint=plan)
    api = fleet.client(mode="together-dedicated")
    events = told(api)
    with pytest.raises(error):
        await settled(api.client.warm(timeout=900))
    assert [event.name for event in events][:2] == ["before_warm", "after_warm"]
    assert events[1].reason
    machines = api.client._core.machines
    assert await machines.keeper.leases() == ()
    assert await machines.keeper.store.noted() == ()
    await api.close()


async def test_more_replicas_are_kept_and_wrong_numbers_refused(colour: str) -> None:
    fleet = Fleet(colour)
    api = fleet.client(mode="together-dedicated")
    state = await settled(api.client.warm(replicas=2))
    assert (state.replicas.ready, state.minimum) == (2, 2)
    for wrong in ({"replicas": 0}, {"keep": 0}):
        with pytest.raises(InvalidCallError):
            await settled(api.client.warm(**wrong))
    await api.close()
    with pytest.raises(ClientClosedError):
        await settled(api.client.state())


async def test_what_is_seen_is_what_the_meter_counts(colour: str) -> None:
    """The time in which nobody used it is idle, and known."""
    fleet = Fleet(colour)
    api = fleet.client(mode="together-dedicated")
    await settled(api.client.warm())
    began = fleet.billed("together-dedicated")
    await api.runtime.sleep(600)
    report = api.client._core.machine("together-dedicated", "assistant")
    assert report is not None and report.idle is not None
    assert report.idle.seconds == pytest.approx(began + 600, abs=15)
    assert not report.estimated
    await api.close()


@pytest.mark.parametrize("how", ["stop", "close"])
async def test_what_is_let_go_of_while_it_comes_up_stays_down(colour: str, how: str) -> None:
    """The one who waits for it does not bring it back."""
    fleet = Fleet(colour)
    api, other = (fleet.client(mode="together-dedicated") for _ in range(2))
    await settled(api.client.warm(wait=False))
    await fleet.runtime.sleep(100)
    await settled(getattr(api.client, how)())
    await fleet.runtime.sleep(3600)
    state = await settled(other.client.state())
    assert (state.life, state.minimum, fleet.ready()) == ("cold", 0, 0)
    for one in (api, other):
        await one.close()


async def test_who_waits_is_told_when_somebody_stops_it(colour: str) -> None:
    fleet = Fleet(colour)
    api, other = (fleet.client(mode="together-dedicated") for _ in range(2))
    events = told(api)
    await settled(api.client.warm(wait=False))
    await fleet.runtime.sleep(60)
    await settled(other.client.stop(force=True))
    await fleet.runtime.sleep(600)
    after = next(event for event in events if event.name == "after_warm")
    assert "while it came up" in after.reason
    assert fleet.ready() == 0
    for one in (api, other):
        await one.close()


async def test_where_the_provider_has_no_room_the_error_says_so(colour: str) -> None:
    fleet = Fleet(colour, endpoint=EndpointPlan(no_gpus_until=1e9))
    api = fleet.client(mode="together-dedicated")
    with pytest.raises(CapacityError) as caught:
        await settled(api.client.warm())
    assert caught.value.hint
    assert 600 <= api.runtime.now() < 700
    assert (await settled(api.client.state())).minimum == 0
    await api.close()


def test_the_status_says_what_is_missing_for_a_machine() -> None:
    """A model whose credential is not set is shown with the reason."""
    from hybrid_infer import Client

    models = {"assistant": {"together-dedicated": {"model": "acme/assistant"}}}
    with Client(mode="openai-compatible", base_url="http://localhost:1", models=models) as client:
        (row,) = client.status()
    assert (row.name, row.state) == ("together-dedicated/assistant", None)
    assert row.problem is not None and "TOGETHER_API_KEY" in row.problem
