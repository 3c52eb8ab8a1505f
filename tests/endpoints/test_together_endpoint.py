"""Together's dedicated endpoints: looked at, warmed, stopped, deleted by the real package in both colours."""

from __future__ import annotations

import asyncio
import math
from decimal import Decimal
from functools import partial

import pytest

from endpoints.cloud import MODEL, WEIGHTS, Cloud
from hybrid_infer.endpoints.state import EndpointAction, EndpointChange, EndpointEvent
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.simulator.control_plane.plan import ControlPlan
from hybrid_infer.simulator.dedicated import EndpointPlan

NONE = ControlPlan(found=False)


def words(events: list[EndpointEvent]) -> list[str]:
    """What was told: actions by what was done, changes by life and the provider's words."""
    return [
        event.what if isinstance(event, EndpointAction) else f"{event.state.life}: {event.state.said}"
        for event in events
    ]


async def test_a_look_at_a_machine_that_runs(colour: str) -> None:
    """Its life, replicas, bounds, price with source, and the provider's words."""
    state = await Cloud(colour).endpoint().state()
    assert (state.name, state.life, state.serves) == (f"together-dedicated/{MODEL}", "warm", True)
    assert (state.replicas.ready, state.replicas.starting, state.replicas.wanted) == (1, 0, 1)
    assert (state.minimum, state.maximum, state.routed) == (1, 1, True)
    assert state.price is not None
    assert state.price.usd == Decimal("5.49")
    assert state.price.source == "Together's list of instance types, 1xnvidia-h100-80gb"
    assert (state.said, state.since) == ("READY: All replicas ready", None)


async def test_warm_is_told_only_when_requests_are_answered(colour: str) -> None:
    """Ready is not enough: traffic arrives half a minute later, and then warm() ends."""
    cloud = Cloud(colour, dedicated="stopped")
    endpoint, events, answered = cloud.endpoint(), list[EndpointEvent](), list[int | str]()

    def told(event: EndpointEvent) -> None:
        events.append(event)
        answered.append(cloud.ask())

    assert (await endpoint.state()).life == "cold"
    state = await endpoint.warm(on_event=told)
    assert (state.life, cloud.ask(), state.since) == ("warm", 200, state.at)
    assert words(events) == [
        "scale simulated/assistant/main to 1..1",
        "warming: PROVISIONING: Scheduling replicas",
        "warming: SCALING: Starting replicas",
        "warming: READY: All replicas ready (traffic is about to arrive)",
        "warm: READY: All replicas ready",
    ]
    assert answered[3:] == ["endpoint_not_configured", 200]
    assert 300 < cloud.runtime.now() < 400


async def test_a_machine_that_is_warm_is_left_alone(colour: str) -> None:
    cloud = Cloud(colour)
    events: list[EndpointEvent] = []
    state = await cloud.endpoint().warm(on_event=events.append)
    assert (state.life, cloud.runtime.now()) == ("warm", 0.0)
    assert [type(event) for event in events] == [EndpointChange]


async def test_more_replicas_are_waited_for(colour: str) -> None:
    """A second replica comes up beside the first, which goes on answering."""
    cloud = Cloud(colour)
    endpoint = cloud.endpoint()
    seen = list[tuple[int | None, int | None]]()

    def told(event: EndpointEvent) -> None:
        if isinstance(event, EndpointChange):
            seen.append((event.state.replicas.ready, event.state.replicas.starting))
            assert cloud.ask() == 200

    state = await endpoint.warm(2, on_event=told)
    assert (state.minimum, state.maximum) == (2, 2)
    assert (seen[0], seen[-1]) == ((1, 0), (2, 0))
    assert (1, 1) in seen


async def test_a_lower_minimum_keeps_the_upper_bound_and_waits_for_nothing(colour: str) -> None:
    cloud = Cloud(colour)
    endpoint = cloud.endpoint()
    await endpoint.warm(3)
    before = cloud.runtime.now()
    state = await endpoint.set_minimum(1)
    assert (state.minimum, state.maximum, cloud.runtime.now()) == (1, 3, before)
    assert await endpoint.minimum() == 1


async def test_a_minimum_makes_what_is_absent_and_zero_makes_nothing(colour: str) -> None:
    """It is routed too, and comes up while nobody waits."""
    cloud = Cloud(colour, control=NONE)
    endpoint = cloud.endpoint(creation=WEIGHTS)
    assert (await endpoint.set_minimum(0)).life == "absent"
    state = await endpoint.set_minimum(2)
    assert (state.life, state.minimum, state.routed, cloud.runtime.now()) == ("warming", 2, True, 0.0)
    await cloud.runtime.sleep(400.0)
    assert (await endpoint.state()).replicas.ready == 2
    assert cloud.ask() == 200


async def test_stopped_it_costs_nothing_and_comes_back_routed(colour: str) -> None:
    cloud = Cloud(colour)
    endpoint = cloud.endpoint()
    state = await endpoint.stop()
    assert (state.life, state.minimum, state.maximum) == ("cold", 0, 0)
    assert cloud.ask() == "dedicated_endpoint_not_running"
    billed = cloud.world.invoice(cloud.runtime.now()).dedicated[0].seconds
    await cloud.runtime.sleep(3600.0)
    assert cloud.world.invoice(cloud.runtime.now()).dedicated[0].seconds == billed
    assert (await endpoint.warm()).routed
    assert cloud.ask() == 200


async def test_what_is_at_work_is_finished_before_it_stops(colour: str) -> None:
    """Draining while a request runs; `stop(wait=False)` and `set_minimum(0)` do not wait for that."""
    cloud = Cloud(colour)
    endpoint = cloud.endpoint()
    exchange = cloud.begin(tokens=400)
    assert (await endpoint.stop(wait=False)).life == "draining"
    assert (await endpoint.set_minimum(0)).life == "draining"
    assert cloud.runtime.now() == 0.0
    assert (await endpoint.stop()).life == "cold"
    assert exchange.poll(cloud.runtime.now()).done


async def test_one_that_is_absent_is_made_from_weights_and_hardware(colour: str) -> None:
    cloud = Cloud(colour, control=NONE)
    endpoint, events = cloud.endpoint(creation=WEIGHTS), list[EndpointEvent]()
    assert (await endpoint.state()).life == "absent"
    assert cloud.ask() == "model_not_found"
    state = await endpoint.warm(on_event=events.append)
    assert (state.life, cloud.ask()) == ("warm", 200)
    assert [event.what for event in events if isinstance(event, EndpointAction)] == [
        "make endpoint assistant",
        "make deployment main of Qwen/Qwen3.5-9B on 1 x nvidia-h100-80gb, 1 at least",
        "lead traffic to 1 deployment",
    ]


async def test_it_is_deleted_in_the_documented_order(colour: str) -> None:
    """Scaled to zero, stopped, out of the split, deployment gone, endpoint gone; twice does no harm."""
    cloud = Cloud(colour)
    endpoint, events = cloud.endpoint(), list[EndpointEvent]()
    state = await endpoint.delete(on_event=events.append)
    assert (state.life, cloud.ask()) == ("absent", "model_not_found")
    assert [event.what for event in events if isinstance(event, EndpointAction)] == [
        "scale simulated/assistant/main to 0..0",
        "lead traffic to 0 deployments",
        "delete deployment simulated/assistant/main",
        "delete the endpoint",
    ]
    assert (await endpoint.delete()).life == "absent"


async def test_a_probe_has_the_last_word(colour: str) -> None:
    """With one, warm() ends when a request is answered, not after a time."""
    cloud = Cloud(colour, dedicated="stopped")
    asked = list[int | str]()

    async def probe() -> bool:
        asked.append(cloud.ask())
        return asked[-1] == 200

    state = await cloud.endpoint(probe=probe).warm()
    assert state.life == "warm"
    assert asked[0] == "endpoint_not_configured"
    assert asked[-1] == 200


async def test_a_machine_that_flaps_is_warm_again_only_when_it_is(colour: str) -> None:
    """Ready, then degraded for a while: told as warming with the provider's words, and waited for."""
    cloud = Cloud(colour, endpoint=EndpointPlan(flaps=((0.0, 120.0),)), dedicated="stopped")
    events = list[EndpointEvent]()
    await cloud.endpoint().warm(on_event=events.append)
    assert "warming: DEGRADED: Replicas are not answering their readiness probe" in words(events)
    assert cloud.ask() == 200


@pytest.mark.parametrize("lag", [0.0, 5.0, 20.0])
async def test_reads_that_are_late_change_nothing(colour: str, lag: float) -> None:
    """Nothing is made twice and nothing is believed that was overwritten: made, warmed, stopped, deleted."""
    cloud = Cloud(colour, control=ControlPlan(found=False, lag=lag))
    endpoint, events = cloud.endpoint(creation=WEIGHTS), list[EndpointEvent]()
    await endpoint.warm(on_event=events.append)
    assert cloud.ask() == 200
    assert (await endpoint.stop(on_event=events.append)).life == "cold"
    assert (await endpoint.state()).life == "cold"
    assert (await endpoint.delete(on_event=events.append)).life == "absent"
    assert [event.what for event in events if isinstance(event, EndpointAction)] == [
        "make endpoint assistant",
        "make deployment main of Qwen/Qwen3.5-9B on 1 x nvidia-h100-80gb, 1 at least",
        "lead traffic to 1 deployment",
        "scale simulated/assistant/main to 0..0",
        "lead traffic to 0 deployments",
        "delete deployment simulated/assistant/main",
        "delete the endpoint",
    ]


async def test_a_deployment_that_stopped_by_itself_is_started_again(colour: str) -> None:
    """After its time without a request it is cold; nothing but warm() brings it back."""
    cloud = Cloud(colour, control=NONE)
    creation = type(WEIGHTS)(weights=WEIGHTS.weights, gpu="H100", inactive_minutes=30)
    endpoint = cloud.endpoint(creation=creation)
    await endpoint.warm()
    await cloud.runtime.sleep(29 * 60.0)
    assert (await endpoint.state()).life == "warm"
    await cloud.runtime.sleep(2 * 60.0)
    assert (await endpoint.state()).life == "cold"
    assert (await endpoint.warm()).life == "warm"


async def test_one_deployment_of_several_can_be_meant(colour: str) -> None:
    """`<slug>/<endpoint>/<deployment>` needs no split of traffic, and its stop leaves the others alone."""
    cloud = Cloud(colour)
    pinned = cloud.endpoint(f"{MODEL}/canary", creation=WEIGHTS)
    state = await pinned.warm()
    assert (state.life, cloud.ask(f"{MODEL}/canary")) == ("warm", 200)
    await pinned.delete()
    assert (await cloud.endpoint().state()).life == "warm"
    assert math.isclose(cloud.world.invoice(cloud.runtime.now()).dedicated[0].seconds, cloud.runtime.now())


@pytest.mark.parametrize("lag", [0.0, 8.0])
async def test_two_processes_that_make_the_same_endpoint_share_it(colour: str, lag: float) -> None:
    """Names are given once: the second finds what the first made, and both are told when it is warm."""
    cloud = Cloud(colour, control=ControlPlan(found=False, lag=lag))
    both = [cloud.endpoint(creation=WEIGHTS) for _ in range(2)]
    if isinstance(cloud.runtime, VirtualThreads):
        states = cloud.runtime.run(*[partial(step, endpoint.warm()) for endpoint in both])
    else:
        states = await asyncio.gather(*[endpoint.warm() for endpoint in both])
    assert [state.life for state in states] == ["warm", "warm"]
    assert len(cloud.world.invoice(cloud.runtime.now()).dedicated) == 1
