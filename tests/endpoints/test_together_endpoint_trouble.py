"""What goes wrong with a dedicated endpoint of Together: told apart, in the provider's words."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from typing import Any

import pytest

from endpoints.cloud import MODEL, WEIGHTS, Cloud
from hybrid_infer.endpoints.errors import (
    CapacityError,
    EndpointConflictError,
    EndpointError,
    EndpointFailedError,
    EndpointForbiddenError,
    EndpointNotFoundError,
    EndpointTimeoutError,
    EndpointUnreachableError,
    QuotaError,
)
from hybrid_infer.endpoints.state import EndpointAction, EndpointEvent
from hybrid_infer.simulator.control_plane.plan import ControlPlan
from hybrid_infer.simulator.dedicated import EndpointPlan

PATH = "/v2/projects/proj_simulated/endpoints"


async def test_a_quota_says_so_and_leaves_nothing_behind(colour: str) -> None:
    """429 is no rate limit here: it is not repeated, and the endpoint made for nothing is deleted."""
    cloud = Cloud(colour, control=ControlPlan(found=False, gpu_quota=0))
    with pytest.raises(QuotaError, match="GPU quota exceeded: 1 GPUs requested, 0 allowed") as caught:
        await cloud.endpoint(creation=WEIGHTS).warm()
    assert (caught.value.status, caught.value.retryable, cloud.runtime.now()) == (429, False, 0.0)
    assert "have the provider raise the quota" in str(caught.value)
    assert cloud.control("GET", PATH)[1]["data"] == []


async def test_more_replicas_than_the_quota_leave_those_that_run(colour: str) -> None:
    cloud = Cloud(colour, control=ControlPlan(gpu_quota=2))
    endpoint = cloud.endpoint()
    with pytest.raises(QuotaError) as caught:
        await endpoint.warm(3)
    assert caught.value.state is not None
    assert caught.value.state.life == "warm"
    assert (await endpoint.warm(2)).replicas.ready == 2


async def test_no_gpus_are_waited_for_and_then_said(colour: str) -> None:
    """In the provider's words; until stop(), it might come up any time and be billed."""
    cloud = Cloud(colour, dedicated="stopped", endpoint=EndpointPlan(no_gpus_until=math.inf))
    endpoint = cloud.endpoint()
    with pytest.raises(CapacityError, match="insufficient GPU capacity") as caught:
        await endpoint.warm()
    assert caught.value.retryable
    assert 600 <= cloud.runtime.now() < 620
    assert (await endpoint.state()).life == "warming"
    assert (await endpoint.stop()).life == "cold"


async def test_where_there_is_room_is_said(colour: str) -> None:
    """Of the instance types that Together lists, those on which more replicas fit."""
    plan = EndpointPlan(no_gpus_until=math.inf, no_gpus_of="H100")
    cloud = Cloud(colour, dedicated="stopped", endpoint=plan)
    with pytest.raises(CapacityError, match=r"with room at the moment: 1xnvidia-h200-141gb, 2x") as caught:
        await cloud.endpoint(capacity_wait=20.0).warm()
    assert "h100" not in str(caught.value.hint)


async def test_gpus_that_come_back_in_time_are_taken(colour: str) -> None:
    cloud = Cloud(colour, dedicated="stopped", endpoint=EndpointPlan(no_gpus_until=500.0))
    assert (await cloud.endpoint().warm()).life == "warm"
    assert cloud.ask() == 200


async def test_a_failure_is_final_and_has_the_providers_words(colour: str) -> None:
    """Those of its state, and the end of the engine's log in its events."""
    plan = EndpointPlan(
        fails_after=90.0, fails_with="Startup stalled", fails_log="OutOfMemoryError: CUDA out of memory"
    )
    cloud = Cloud(colour, dedicated="stopped", endpoint=plan)
    endpoint = cloud.endpoint()
    for _ in range(2):
        with pytest.raises(
            EndpointFailedError, match="FAILED: Startup stalled: OutOfMemoryError: CUDA out of memory"
        ) as caught:
            await endpoint.warm()
        assert not caught.value.retryable
    assert (await endpoint.state()).life == "failed"
    assert cloud.runtime.now() < 110
    assert (await endpoint.stop()).life == "failed"
    assert (await endpoint.delete()).life == "absent"


async def test_a_deployment_that_had_failed_is_replaced_where_it_may(colour: str) -> None:
    """Together never starts it again: a second one is made beside it, once."""
    cloud = Cloud(colour, dedicated="starting", endpoint=EndpointPlan(fails_after=90.0))
    endpoint, events = cloud.endpoint(creation=WEIGHTS), list[EndpointEvent]()
    await endpoint.state()
    await cloud.runtime.sleep(100.0)
    with pytest.raises(EndpointFailedError):
        await endpoint.warm(on_event=events.append)
    made = [event.what for event in events if isinstance(event, EndpointAction)]
    assert [what.partition(" of ")[0] for what in made] == [
        "make deployment main-2",
        "lead traffic to 2 deployments",
    ]


@pytest.mark.parametrize("right", ["read", "write"])
async def test_a_key_that_may_not_do_it(colour: str, right: Any) -> None:
    cloud = Cloud(colour, control=ControlPlan(forbidden=frozenset({right})))
    with pytest.raises(EndpointForbiddenError, match=f"lacks permission to {right}") as caught:
        await cloud.endpoint().warm(2)
    assert (caught.value.status, cloud.runtime.now()) == (403, 0.0)


async def test_an_endpoint_that_is_not_there(colour: str) -> None:
    """Without what to make it of, it is an error to warm it, and none to stop it."""
    cloud = Cloud(colour, control=ControlPlan(found=False))
    endpoint = cloud.endpoint()
    with pytest.raises(EndpointNotFoundError, match=r"weights, gpu, gpus\): then warm\(\) makes it"):
        await endpoint.warm()
    assert (await endpoint.stop()).life == "absent"
    assert await endpoint.minimum() == 0


@pytest.mark.parametrize(
    ("creation", "words"),
    [
        (replace(WEIGHTS, weights="nobody/nothing"), "it is not in the catalogue"),
        (replace(WEIGHTS, gpus=3), "offered for it: 1 x nvidia-h100-80gb, 2 x nvidia-h100-80gb"),
        (replace(WEIGHTS, weights="projects/p/models/m"), "give config="),
    ],
)
async def test_nothing_to_make_it_of(colour: str, creation: Any, words: str) -> None:
    """Says what is offered; the endpoint that was made before is deleted."""
    cloud = Cloud(colour, control=ControlPlan(found=False))
    with pytest.raises(EndpointNotFoundError, match=words):
        await cloud.endpoint(creation=creation).warm()
    assert cloud.control("GET", PATH)[1]["data"] == []


async def test_a_project_that_the_key_does_not_reach(colour: str) -> None:
    with pytest.raises(EndpointNotFoundError, match="the key reaches: simulated"):
        await Cloud(colour).endpoint("acme/assistant").state()


async def test_a_key_of_an_organisation_finds_the_project_by_its_slug(colour: str) -> None:
    cloud = Cloud(colour, control=ControlPlan(project=None))
    assert (await cloud.endpoint().state()).life == "warm"


async def test_time_runs_out(colour: str) -> None:
    """The state is in the error; the machine comes up all the same unless it is stopped."""
    cloud = Cloud(colour, dedicated="stopped")
    endpoint = cloud.endpoint()
    with pytest.raises(EndpointTimeoutError, match=r"not warm in time.*stop\(\) it") as caught:
        await endpoint.warm(timeout=60.0)
    assert cloud.runtime.now() == 60.0
    assert caught.value.state is not None
    assert caught.value.state.life == "warming"
    await cloud.runtime.sleep(400.0)
    assert cloud.ask() == 200


async def test_two_that_write_at_once_look_again(colour: str) -> None:
    """A stale etag is no error until it always is."""
    for conflicts, creation in ((3, WEIGHTS), (99, WEIGHTS)):
        cloud = Cloud(colour, control=ControlPlan(found=False, conflicts=conflicts))
        endpoint = cloud.endpoint(creation=creation)
        if conflicts == 3:
            assert (await endpoint.warm()).life == "warm"
        else:
            with pytest.raises(EndpointConflictError, match="etag does not match"):
                await endpoint.warm()


async def test_somebody_who_stops_it_again_and_again(colour: str) -> None:
    cloud = Cloud(colour, dedicated="stopped")
    deployment = cloud.control("GET", PATH)[1]["data"][0]
    path = f"{PATH}/{deployment['id']}/deployments/{deployment['deployments'][0]['id']}"

    def stops(event: EndpointEvent) -> None:
        if isinstance(event, EndpointAction):
            body = json.dumps({"autoscaling": {"minReplicas": 0, "maxReplicas": 0}}).encode()
            assert cloud.control("PATCH", path, body)[0] == 200

    with pytest.raises(EndpointConflictError, match="set again and again"):
        await cloud.endpoint().warm(on_event=stops)


async def test_an_outage_is_waited_out_or_said(colour: str) -> None:
    cloud = Cloud(colour, control=ControlPlan(failing=4))
    assert (await cloud.endpoint().state()).life == "warm"
    assert cloud.runtime.now() == 1 + 2 + 4 + 8
    cloud = Cloud(colour, control=ControlPlan(failing=1_000_000))
    with pytest.raises(EndpointUnreachableError, match="temporarily unavailable") as caught:
        await cloud.endpoint().state()
    assert (caught.value.status, caught.value.retryable) == (503, True)


async def test_fields_that_a_control_plane_does_not_know(colour: str) -> None:
    """It launched without the inactive timeout, and wanted a mask for an empty split."""
    plan = ControlPlan(found=False, inactive_timeout=False, mask_needed=True)
    endpoint = Cloud(colour, control=plan).endpoint(creation=replace(WEIGHTS, inactive_minutes=30))
    assert (await endpoint.warm()).life == "warm"
    assert (await endpoint.delete()).life == "absent"


async def test_a_listener_that_fails_is_logged(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    def fails(event: EndpointEvent) -> None:
        raise ZeroDivisionError

    assert (await Cloud(colour).endpoint().warm(on_event=fails)).life == "warm"
    assert "a listener to an endpoint failed" in caplog.text


async def test_no_client_is_left_open(colour: str) -> None:
    """One for each operation, closed whether it ended well or not."""
    cloud = Cloud(colour, control=ControlPlan(forbidden=frozenset({"write"})))
    endpoint = cloud.endpoint()
    await endpoint.state()
    with pytest.raises(EndpointForbiddenError):
        await endpoint.stop()
    assert [client.is_closed() for client in cloud.clients] == [True, True]


def test_errors_survive_pickling() -> None:
    error = QuotaError("no room", where=f"together-dedicated/{MODEL}", said="GPU quota", status=429)
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, EndpointError)
    assert (str(copy), copy.status) == (str(error), 429)
