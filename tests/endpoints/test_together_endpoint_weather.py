"""Whatever the control plane does meanwhile, the end is the one that was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoints.cloud import WEIGHTS, Cloud
from hybrid_infer.endpoints.state import EndpointAction, EndpointEvent
from hybrid_infer.runtime import virtual
from hybrid_infer.runtime.step import step
from hybrid_infer.simulator.control_plane.plan import ControlPlan
from hybrid_infer.simulator.dedicated import EndpointPlan

SECONDS = st.floats(0, 300, allow_nan=False)

CONTROL = st.builds(
    ControlPlan,
    found=st.booleans(),
    lag=st.sampled_from([0.0, 0.5, 3.0, 12.0, 30.0]),
    conflicts=st.integers(0, 3),
    failing=st.integers(0, 4),
    mask_needed=st.booleans(),
    project=st.sampled_from(["proj_1", None]),
)
MACHINES = st.builds(
    EndpointPlan,
    provisioning=SECONDS,
    scaling=SECONDS,
    routing=st.floats(0, 30),
    no_gpus_until=st.sampled_from([0.0, 200.0, 500.0]),
    flaps=st.lists(st.tuples(SECONDS, SECONDS), max_size=2).map(tuple),
)


@pytest.mark.parametrize("colour", ["sync", "async"])
@settings(max_examples=15)
@given(
    control=CONTROL,
    machines=MACHINES,
    found=st.sampled_from(["ready", "stopped", "starting"]),
    replicas=st.integers(1, 3),
)
def test_warm_stop_and_delete_reach_their_end(
    colour: str, control: ControlPlan, machines: EndpointPlan, found: str, replicas: int
) -> None:
    """A warm machine has its replicas, a stopped one costs nothing more, and nothing was made twice."""

    async def body() -> None:
        cloud = Cloud(colour, control=control, endpoint=machines, dedicated=found)
        endpoint, events = cloud.endpoint(creation=WEIGHTS), list[EndpointEvent]()
        state = await endpoint.warm(replicas, on_event=events.append)
        assert state.life == "warm"
        assert (state.replicas.ready or 0) >= replicas
        assert (await endpoint.stop(on_event=events.append)).life == "cold"
        use = [each.seconds for each in cloud.world.invoice(cloud.runtime.now()).dedicated]
        await cloud.runtime.sleep(5000.0)
        assert [each.seconds for each in cloud.world.invoice(cloud.runtime.now()).dedicated] == use
        assert (await endpoint.delete(on_event=events.append)).life == "absent"
        assert len(use) == 1
        done = [event.what for event in events if isinstance(event, EndpointAction)]
        assert len(done) == len(set(done))

    if colour == "sync":
        step(body())
    else:
        virtual.run(body())
