"""The simulated control plane of Together, driven by the real `together` package of both colours."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import together
from together._base_client import get_platform

from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.simulator.control_plane.plan import ControlPlan
from hybrid_infer.simulator.dedicated import EndpointPlan
from hybrid_infer.simulator.httpx_door import AsyncDoor, BlockingDoor
from hybrid_infer.simulator.world import World
from simulator.simulated import ask, get, post
from simulator.test_simulated_http import served

PROJECT = "proj_simulated"
NONE = ControlPlan(found=False)


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class Account:
    """A world, and the package before it; `endpoints` and `deployments` are its resources."""

    def __init__(self, colour: str, **plans: Any) -> None:
        self.world = World(**plans)
        self.runtime: Runtime = VirtualThreads() if colour == "sync" else TaskRuntime()
        self.runtime.check()
        options: dict[str, Any] = {
            "project_id": PROJECT,
            "api_key": "key",
            "base_url": "https://api.together.ai",
            "max_retries": 0,
        }
        self.client: Any
        if colour == "sync":
            line = httpx.Client(transport=BlockingDoor(self.world, self.runtime))
            self.client = together.Together(http_client=line, **options)
        else:
            door = httpx.AsyncClient(transport=AsyncDoor(self.world, self.runtime))
            self.client = together.AsyncTogether(http_client=door, **options)
            self.client._platform = get_platform()  # else asked for in a thread; virtual time waits for none
        self.endpoints: Any = self.client.endpoints
        self.deployments: Any = self.client.endpoints.deployments

    async def refused(self, kind: type[Exception], words: str, call: Callable[[], Any]) -> None:
        with pytest.raises(kind, match=words):
            await settled(call())

    async def deploy(self, endpoint: Any, name: str = "main", **options: Any) -> Any:
        """A deployment of the first supported model on one H100."""
        supported = await settled(self.client.models.list_supported(product="PRODUCT_DEDICATED"))
        profile = supported.data[0].deployment_profiles[0]
        given = {"autoscaling": {"min_replicas": 1}, "model": profile.model, "config": profile.config}
        return await settled(self.deployments.create(endpoint.id, name=name, **{**given, **options}))

    async def state(self, deployment: Any) -> str:
        read = await settled(self.deployments.retrieve(deployment.id, endpoint_id=deployment.endpoint_id))
        state: str = read.status.state.removeprefix("DEPLOYMENT_STATE_")
        return state

    def says(self, model: str = "simulated/chat") -> int | str:
        """The status of a chat request at the HTTP door, or the code of its refusal."""
        got = ask(self.world, "together", post(model=model), self.runtime.now())
        return 200 if got.status == 200 else got.json["error"]["code"]


async def test_a_deployment_is_made_routed_scaled_stopped_and_deleted(colour: str) -> None:
    """The documented way, with what inference says at each step."""
    account = Account(colour, control=NONE)
    endpoints, deployments = account.endpoints, account.deployments
    endpoint = await settled(endpoints.create(name="chat"))
    assert (endpoint.name, endpoint.traffic_split) == ("simulated/chat", [])
    assert account.says() == "endpoint_not_configured"
    deployment = await account.deploy(endpoint)
    assert (deployment.hardware, deployment.desired_replicas) == ("1xnvidia-h100-80gb", 1)

    seen = [await account.state(deployment)]
    while seen[-1] != "READY":
        assert account.says() == "dedicated_endpoint_not_running"
        await account.runtime.sleep(30.0)
        seen.append(await account.state(deployment))
    assert list(dict.fromkeys(seen)) == ["PROVISIONING", "SCALING", "READY"]
    assert account.says() == "endpoint_not_configured"
    assert account.says("simulated/chat/main") == 200

    split = [{"deployment_id": deployment.id, "weight": 1.0}]
    routed = await settled(endpoints.update(endpoint.id, traffic_split=split, update_mask="trafficSplit"))
    assert routed.deployments[0].estimated_effective_traffic_share == 1.0
    assert account.says() == "endpoint_not_configured"
    await account.runtime.sleep(31.0)
    assert account.says() == 200

    place = {"endpoint_id": endpoint.id}
    await account.refused(
        together.BadRequestError, "live traffic", lambda: deployments.delete(deployment.id, **place)
    )
    await settled(endpoints.update(endpoint.id, traffic_split=[], update_mask="trafficSplit"))
    await account.refused(
        together.BadRequestError, "scale it to zero", lambda: deployments.delete(deployment.id, **place)
    )
    bounds = {"min_replicas": 0, "max_replicas": 0}
    stopped = await settled(deployments.update(deployment.id, autoscaling=bounds, **place))
    assert stopped.status.state == "DEPLOYMENT_STATE_STOPPED"
    await account.refused(
        together.BadRequestError, "delete them first", lambda: endpoints.delete(endpoint.id)
    )
    await settled(deployments.delete(deployment.id, **place))
    await settled(endpoints.delete(endpoint.id))
    assert account.says() == 200  # the name is nobody's any more: serverless answers what it does not know
    assert (await settled(endpoints.list())).data == []


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"min_replicas": 0, "max_replicas": 2}, "at least 1 unless both bounds are 0"),
        ({"min_replicas": 3, "max_replicas": 2}, "minReplicas 3 is more than maxReplicas 2"),
        ({"min_replicas": -1}, "whole numbers from 0"),
    ],
)
async def test_bounds_that_are_refused(colour: str, bounds: dict[str, int], words: str) -> None:
    account = Account(colour, control=NONE)
    endpoint = await settled(account.endpoints.create(name="chat"))
    with pytest.raises(together.BadRequestError, match=words):
        await account.deploy(endpoint, autoscaling=bounds)


async def test_a_stale_etag_is_a_conflict(colour: str) -> None:
    account = Account(colour)
    old = (await settled(account.endpoints.list())).data[0]
    await settled(account.endpoints.update(old.id, visibility="VISIBILITY_INTERNAL", etag=old.etag))
    await account.refused(
        together.ConflictError, "etag", lambda: account.endpoints.update(old.id, name="x", etag=old.etag)
    )


async def test_reads_lag_behind_writes(colour: str) -> None:
    """For some seconds a list has not what was made, and a deployment shows what it was."""
    account = Account(colour, control=ControlPlan(lag=5.0))
    deployment = (await settled(account.endpoints.list())).data[0].deployments[0]
    endpoint = (await settled(account.endpoints.list())).data[0]
    made = await settled(account.endpoints.create(name="chat"))
    stopped = await settled(
        account.deployments.update(
            deployment.id, endpoint_id=endpoint.id, autoscaling={"min_replicas": 0, "max_replicas": 0}
        )
    )
    assert stopped.status.state == "DEPLOYMENT_STATE_STOPPED"

    async def read() -> tuple[list[str], str]:
        names = [row.name for row in (await settled(account.endpoints.list())).data]
        shown = await settled(account.deployments.retrieve(deployment.id, endpoint_id=endpoint.id))
        return names, shown.status.state.rpartition("_")[2]

    assert await read() == (["simulated/assistant"], "READY")
    await account.refused(together.NotFoundError, "not found", lambda: account.endpoints.retrieve(made.id))
    await account.runtime.sleep(5.0)
    assert await read() == (["simulated/assistant", "simulated/chat"], "STOPPED")


async def test_quota_capacity_and_rights(colour: str) -> None:
    """Each in its own way: 429, a state with words, 403."""
    account = Account(colour, control=ControlPlan(found=False, gpu_quota=1))
    endpoint = await settled(account.endpoints.create(name="chat"))
    with pytest.raises(together.RateLimitError, match="GPU quota exceeded"):
        await account.deploy(endpoint, autoscaling={"min_replicas": 2})
    await account.deploy(endpoint)

    account = Account(colour, control=NONE, endpoint=EndpointPlan(no_gpus_until=1000.0))
    deployment = await account.deploy(await settled(account.endpoints.create(name="chat")))
    assert (deployment.status.state, deployment.status.message) == (
        "DEPLOYMENT_STATE_DEGRADED",
        "Cannot place replicas: insufficient GPU capacity",
    )
    hardware = await settled(account.endpoints.hardware.list())
    assert hardware.data[0].regions[0].headroom.value == 0

    account = Account(colour, control=ControlPlan(forbidden=frozenset({"write"})))
    await account.refused(
        together.PermissionDeniedError, "lacks permission", lambda: account.endpoints.create(name="chat")
    )


async def test_a_failed_deployment_never_starts_again(colour: str) -> None:
    account = Account(colour, control=NONE, endpoint=EndpointPlan(no_gpus_until=1e6))
    deployment = await account.deploy(await settled(account.endpoints.create(name="chat")))
    await account.runtime.sleep(6 * 3600.0 - 1.0)
    assert await account.state(deployment) == "DEGRADED"
    await account.runtime.sleep(2.0)
    assert await account.state(deployment) == "FAILED"
    await account.refused(
        together.BadRequestError,
        "create a new deployment",
        lambda: account.deployments.update(
            deployment.id, endpoint_id=deployment.endpoint_id, autoscaling={"min_replicas": 1}
        ),
    )


async def test_flapping_is_not_served_and_not_billed(colour: str) -> None:
    """Ready, degraded after a minute for half a minute, ready."""
    account = Account(colour, endpoint=EndpointPlan(flaps=((60.0, 30.0),)))
    name, said = "simulated/assistant", list[int | str]()
    for _ in range(4):
        said.append(account.says(name))
        await account.runtime.sleep(25.0)
    assert said == [200, 200, 200, "dedicated_endpoint_not_running"]
    assert account.world.invoice(account.runtime.now()).dedicated[0].seconds == 70.0
    assert account.says(name) == 200


async def test_it_stops_by_itself_after_its_time_without_a_request(colour: str) -> None:
    """To the second; a request in between starts the time anew. Minutes outside of 30 to 1440 are refused."""
    account = Account(colour)
    endpoint = (await settled(account.endpoints.list())).data[0]
    deployment = endpoint.deployments[0]

    def tune(minutes: int) -> Any:
        return account.deployments.update(deployment.id, endpoint_id=endpoint.id, inactive_timeout=minutes)

    await account.refused(together.BadRequestError, "30 to 1440", lambda: tune(29))
    await settled(tune(30))
    await account.runtime.sleep(1000.0)
    assert account.says("simulated/assistant") == 200
    await account.runtime.sleep(1500.0)
    assert account.says("simulated/assistant") == 200
    await account.runtime.sleep(5000.0)
    assert account.says("simulated/assistant") == "dedicated_endpoint_not_running"
    billed = account.world.invoice(account.runtime.now()).dedicated[0].seconds
    assert 2500 + 1800 <= billed < 2500 + 1810


async def test_the_autoscaler_follows_the_requests_between_its_bounds(colour: str) -> None:
    """Up with more than eight in flight, down after five quiet minutes."""
    account = Account(colour, endpoint=EndpointPlan(provisioning=1.0, scaling=1.0))
    endpoint = (await settled(account.endpoints.list())).data[0]
    deployment = endpoint.deployments[0]
    bounds = {"min_replicas": 1, "max_replicas": 3}
    await settled(account.deployments.update(deployment.id, endpoint_id=endpoint.id, autoscaling=bounds))
    request = post(model="simulated/assistant", max_tokens=400)
    for _ in range(20):
        account.world.receive("together", request, account.runtime.now())

    async def replicas() -> tuple[int | None, int | None]:
        read = await settled(account.deployments.retrieve(deployment.id, endpoint_id=endpoint.id))
        return read.desired_replicas, read.status.ready_replicas

    assert await replicas() == (3, 1)
    await account.runtime.sleep(3.0)
    assert await replicas() == (3, 3)
    await account.runtime.sleep(299.0)
    assert await replicas() == (3, 3)
    await account.runtime.sleep(2.0)
    assert await replicas() == (1, 1)


@pytest.mark.real_time
async def test_the_same_over_http(colour: str) -> None:
    """The package with nothing but its address changed; `/simulator/state` shows what it did."""
    with served(World(), 100.0) as server:
        kind: Any = together.Together if colour == "sync" else together.AsyncTogether
        client = kind(api_key="key", base_url=f"http://127.0.0.1:{server.port}", max_retries=0)
        me = await settled(client.whoami())
        place = {"project_id": me.project.id}
        endpoint = (await settled(client.endpoints.list(**place))).data[0]
        id, bounds = endpoint.deployments[0].id, {"min_replicas": 0, "max_replicas": 0}
        place["endpoint_id"] = endpoint.id
        await settled(client.endpoints.deployments.update(id, autoscaling=bounds, **place))
        read = await settled(client.endpoints.deployments.retrieve(id, **place))
        assert read.status.state == "DEPLOYMENT_STATE_STOPPED"
        state = httpx.get(f"http://127.0.0.1:{server.port}/simulator/state").json()
        assert state["machines"]["endpoints"][0]["state"] == "STOPPED"
        await settled(client.close())


def test_without_a_credential_nothing_is_told() -> None:
    got = ask(World(), "together", get("/v3/whoami", headers={}))
    assert (got.status, got.json["error"]["code"]) == (401, "invalid_api_key")


def test_a_foreign_project_and_an_unknown_path_are_refused() -> None:
    world = World()
    assert ask(world, "together", get("/v2/projects/other/endpoints")).status == 403
    assert ask(world, "together", get(f"/v2/projects/{PROJECT}/nothing")).status == 404


def test_lists_come_in_pages_and_by_name() -> None:
    """With the cursor of the package's pagination, and the filter by name of its documentation."""
    world = World(endpoint_names=("acme/a", "acme/b", "acme/c"))

    def names(query: str) -> tuple[list[str], str | None]:
        got = ask(world, "together", get(f"/v2/projects/{PROJECT}/endpoints?{query}")).json
        return [row["name"] for row in got["data"]], got["next_cursor"]

    assert names("limit=2") == (["acme/a", "acme/b"], "2")
    assert names("limit=2&after=2") == (["acme/c"], None)
    assert names("filter=name%20%3D%20%22b%22") == (["acme/b"], None)
    assert names("filter=name%3Acme") == (["acme/a", "acme/b", "acme/c"], None)


def test_same_seed_same_control_plane() -> None:
    def run() -> str:
        world = World(seed=7, dedicated="starting")
        got = [ask(world, "together", get(f"/v2/projects/{PROJECT}/endpoints"), at) for at in (0.0, 70.0)]
        return json.dumps([each.json for each in got])

    assert run() == run()
