"""Functions and classes on Modal: looked at, kept up and let go, in both colours."""

from __future__ import annotations

from decimal import Decimal

import pytest

from endpoints.modal_support import Flaky, Workspace
from hybrid_infer.endpoints.errors import (
    EndpointConflictError,
    EndpointError,
    EndpointForbiddenError,
    EndpointNotFoundError,
    EndpointTimeoutError,
    EndpointUnreachableError,
    QuotaError,
)
from hybrid_infer.endpoints.modal_autoscaler import Container, refusal
from hybrid_infer.endpoints.state import EndpointAction, EndpointEvent
from hybrid_infer.transport.functions import Cause, FunctionFailure


def words(events: list[EndpointEvent]) -> list[str]:
    """What was told: actions by what was done, changes by life and counted replicas."""
    return [
        event.what
        if isinstance(event, EndpointAction)
        else f"{event.state.life} {event.state.replicas.ready}/{event.state.replicas.wanted}"
        for event in events
    ]


async def test_a_look_at_a_function_that_is_cold(colour: str) -> None:
    """Its life, bounds and price; a look starts nothing."""
    workspace = Workspace(colour)
    state = await workspace.endpoint("detector").state()
    assert (state.name, state.life, state.serves) == ("modal/detector/detect", "cold", False)
    assert (state.minimum, state.maximum, state.routed) == (0, None, None)
    assert state.price is not None
    assert state.price.usd == Decimal("0.7992")  # an L4 hour
    assert "GPU only" in state.price.source
    assert "may be counted" in state.said
    assert workspace.idle() == 0


@pytest.mark.parametrize("name", ["detector", "class", "detector/detect"])
async def test_warm_keeps_containers_up_until_the_minimum_is_taken_back(colour: str, name: str) -> None:
    workspace = Workspace(colour)
    endpoint, events = workspace.endpoint(name), list[EndpointEvent]()
    state = await endpoint.warm(2, on_event=events.append)
    assert (state.life, state.replicas.ready, state.minimum) == ("warm", 2, 2)
    assert words(events) == ["cold 0/0", "keep at least 2", "warm 2/2"]
    await workspace.runtime.sleep(3600.0)
    assert (await endpoint.state()).replicas.ready == 2
    assert workspace.idle() == 7200
    state = await endpoint.set_minimum(0)
    assert (state.minimum, await endpoint.minimum()) == (0, 0)
    await workspace.runtime.sleep(3600.0)
    assert (await endpoint.state()).life == "cold"
    assert workspace.idle() == 7200  # they had been idle for their window already


async def test_loading_containers_that_are_not_counted_are_waited_for(colour: str) -> None:
    workspace = Workspace(colour)
    workspace.autoscaling.counts_loading = False
    events: list[EndpointEvent] = []
    state = await workspace.endpoint("detector").warm(on_event=events.append)
    assert words(events) == ["cold 0/0", "keep at least 1", "warming 0/1", "warm 1/1"]
    assert (state.since, state.at) == (state.at, state.at)
    assert 10 <= workspace.runtime.now() <= 12


async def test_where_they_are_counted_a_probe_tells_when_it_answers(colour: str) -> None:
    workspace = Workspace(colour)

    async def answers() -> bool:
        return workspace.autoscaling.kept("detector/detect", workspace.runtime.now())[1] > 0

    assert (await workspace.endpoint("detector", probe=answers).warm()).life == "warm"
    assert 10 <= workspace.runtime.now() <= 12


async def test_a_maximum_in_the_way_is_raised_and_never_lowered(colour: str) -> None:
    workspace = Workspace(colour)
    workspace.autoscaling.scale("detector/detect", 0.0, maximum=1)
    endpoint, events = workspace.endpoint("detector"), list[EndpointEvent]()
    await endpoint.warm(3, on_event=events.append)
    assert words(events)[1] == "keep at least 3, and at most 3"
    assert (await endpoint.set_minimum(1)).maximum == 3


async def test_what_is_warm_is_left_alone(colour: str) -> None:
    workspace = Workspace(colour)
    endpoint, events = workspace.endpoint("detector"), list[EndpointEvent]()
    await endpoint.set_minimum(2)
    assert (await endpoint.warm(1, on_event=events.append)).minimum == 2
    assert (words(events), workspace.runtime.now()) == ([], 0.0)


async def test_stop_waits_until_no_container_is_up(colour: str) -> None:
    """One that was idle for less than its window drains until then."""
    workspace = Workspace(colour)
    endpoint, events = workspace.endpoint("detector"), list[EndpointEvent]()
    await endpoint.warm()
    state = await endpoint.stop(wait=False, on_event=events.append)
    assert (state.life, workspace.runtime.now()) == ("draining", 0.0)
    state = await endpoint.stop(on_event=events.append)
    assert state.life == "cold"
    assert words(events) == ["keep at least 0", "draining 1/1", "cold 0/0"]
    assert 70 <= workspace.runtime.now() < 80  # ten seconds to load, sixty of the window
    assert (await endpoint.stop()).life == "cold"


async def test_a_machine_that_does_not_come_up_in_time_is_told_with_its_state(colour: str) -> None:
    workspace = Workspace(colour)
    workspace.autoscaling.counts_loading, workspace.autoscaling.cold_start = False, 1e6
    with pytest.raises(EndpointTimeoutError, match="not warm in time") as caught:
        await workspace.endpoint("detector").warm(timeout=100.0)
    assert caught.value.state is not None
    assert (caught.value.state.life, workspace.runtime.now()) == ("warming", 100.0)


async def test_somebody_who_lowers_it_again_and_again_is_told_of(colour: str) -> None:
    workspace = Workspace(colour)
    workspace.autoscaling.counts_loading = False

    def lower(event: EndpointEvent) -> None:
        if not isinstance(event, EndpointAction) and event.state.minimum:
            workspace.autoscaling.scale("detector/detect", workspace.runtime.now(), minimum=0)

    async def never() -> bool:
        return False

    with pytest.raises(EndpointConflictError, match="again and again"):
        await workspace.endpoint("detector", probe=never).warm(on_event=lower)


async def test_a_control_plane_that_is_out_for_a_moment_is_waited_for(colour: str) -> None:
    workspace = Workspace(colour)
    flaky = Flaky(workspace, until=50.0)
    assert (await workspace.endpoint("detector", connect=flaky).warm()).life == "warm"
    assert 50 <= workspace.runtime.now() < 60
    flaky.until = workspace.runtime.now() + 1e6
    began = workspace.runtime.now()
    with pytest.raises(EndpointUnreachableError, match="Service unavailable") as caught:
        await workspace.endpoint("detector", connect=flaky).stop()
    assert 60 <= workspace.runtime.now() - began < 70
    assert (caught.value.retryable, flaky.open) == (True, 0)


async def test_a_listener_that_fails_fails_nothing(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    def told(event: EndpointEvent) -> None:
        raise ValueError("no")

    assert (await Workspace(colour).endpoint("detector").warm(on_event=told)).life == "warm"
    assert "a listener to an endpoint failed" in caplog.text


def test_a_rate_is_no_quota() -> None:
    """Both come as the same status; a rate passes."""
    error = FunctionFailure("Rate limit exceeded", cause="exhausted", stage="look-up")
    assert isinstance(refusal(error, "modal/x"), EndpointUnreachableError)


REFUSALS: dict[Cause, type[EndpointError]] = {
    "authentication": EndpointForbiddenError,
    "permission": EndpointForbiddenError,
    "not_found": EndpointNotFoundError,
    "conflict": EndpointConflictError,
    "exhausted": QuotaError,
    "invalid": EndpointError,
    "closed": EndpointError,
}


@pytest.mark.parametrize("cause", REFUSALS)
async def test_each_way_to_be_refused_has_its_error(colour: str, cause: Cause) -> None:
    """With the provider's words, and at once."""
    workspace = Workspace(colour)
    flaky = Flaky(workspace, cause=cause, until=1.0)
    with pytest.raises(REFUSALS[cause], match="Service unavailable") as caught:
        await workspace.endpoint("detector", connect=flaky).warm()
    assert type(caught.value) is REFUSALS[cause]
    assert (workspace.runtime.now(), caught.value.where) == (0.0, "modal/detector/detect")


@pytest.mark.parametrize(
    ("container", "usd", "doubt"),
    [
        (Container(gpu="H100", gpus=2, cpu=None, memory=None), "7.8984", "GPU only"),
        (Container(gpu="H100", gpus=2, cpu=4.0, memory=16.0), "8.214912", ""),
        (Container(gpu="H100", gpus=2, cpu=4.0, memory=16.0, nonpreemptible=True), "8.847936", ""),
        (Container(gpu="H100!", gpus=1, cpu=4.0, memory=16.0, regions=("eu",)), "4.265712", "region"),
        (Container(gpu=None, gpus=1, cpu=4.0, memory=16.0), None, ""),
        (Container(gpu="A100", gpus=1, cpu=None, memory=None), None, ""),
    ],
)
async def test_a_container_is_priced_by_what_modal_says_that_it_asks_for(
    colour: str, container: Container, usd: str | None, doubt: str
) -> None:
    """What has no row in the table of prices has none, and is not guessed."""
    workspace = Workspace(colour)
    flaky = Flaky(workspace, container=container)
    price = (await workspace.endpoint("detector", connect=flaky).state()).price
    assert (price and price.usd) == (usd and Decimal(usd))
    assert price is None or doubt in price.source


async def test_a_token_that_may_only_read(colour: str) -> None:
    """It may look; a change is refused, and says what to use."""
    workspace = Workspace(colour)
    workspace.autoscaling.read_only = True
    endpoint = workspace.endpoint("detector")
    assert (await endpoint.state()).life == "cold"
    with pytest.raises(EndpointForbiddenError, match="You don't have permission") as caught:
        await endpoint.warm()
    assert "MODAL_TOKEN_ID" in str(caught.value)


async def test_a_function_that_is_not_deployed(colour: str) -> None:
    with pytest.raises(EndpointNotFoundError, match="nosuch/function is not deployed") as caught:
        await Workspace(colour).endpoint("nosuch/function").state()
    assert "modal deploy" in str(caught.value)
