"""The autoscaler of the simulated Modal: minima that really keep containers up, and what they cost."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.simulator.autoscaling import SERVER, Autoscaling, ScalingError
from hybrid_infer.simulator.functions import FunctionRegistry
from hybrid_infer.simulator.modal import ModalPlan, ModalServer
from hybrid_infer.simulator.world import World

DETECT = "detector/detect"

steps = st.lists(
    st.tuples(
        st.sampled_from(["wait", "knock", "ask", "minimum", "window"]),
        st.integers(0, 3),
        st.floats(0.0, 200.0, allow_nan=False),
    ),
    max_size=25,
)


def server(**plan: Any) -> ModalServer:
    return ModalServer(ModalPlan(concurrency=1, max_containers=3, **plan), Random)


def play(one: ModalServer, todo: list[tuple[str, int, float]], *, looks: bool) -> tuple[float, float]:
    """Do the steps, and look in between if so told; what is billed after them, and the time."""
    now = 0.0
    for what, count, seconds in todo:
        plan = one.plan
        if what == "knock":
            one.knock(now)
        elif what == "ask":
            one.begin("llm", 100, 1 + 500 * count, now)
        elif what == "minimum":
            one.scale(now, minimum=count, maximum=3, window=plan.scaledown_window)
        elif what == "window":
            one.scale(now, minimum=plan.min_containers, maximum=3, window=10.0 + 50 * count)
        for part in range(1, 8):
            if looks:
                one.containers(now + seconds * part / 8)
        now += seconds
        starting, ready, _ = one.containers(now)
        assert starting + ready >= one.plan.min_containers
    return one.use(now + 1000.0).seconds, now


@given(steps)
def test_looking_in_between_changes_no_bill(todo: list[tuple[str, int, float]]) -> None:
    """And there are never fewer containers than the minimum says."""
    assert play(server(), todo, looks=True)[0] == pytest.approx(play(server(), todo, looks=False)[0])


def test_a_container_that_a_minimum_kept_goes_only_when_another_is_ready() -> None:
    one = server(min_containers=1, cold_start=100.0)
    assert one.knock(0.0) == "cold"
    assert one.knock(1000.0) is None
    one.begin("llm", 1, 30_000, 1000.0)  # takes the one container for minutes: a second one starts
    assert one.containers(1001.0)[:2] == (1, 1)
    for now in range(1000, 4000, 10):
        assert one.containers(float(now))[1] >= 1


def test_a_shorter_window_stops_nothing_in_the_past() -> None:
    """What was idle for 50 s of 60 is billed until the window became 10 s."""
    one = server(cold_start=10.0)
    one.knock(0.0)
    ready = 10.0 * Random("container 1").uniform(0.8, 1.2)
    one.scale(ready + 50.0, minimum=0, maximum=3, window=10.0)
    assert one.use(1000.0).seconds == pytest.approx(ready + 50.0)


def test_containers_of_a_function_are_billed_while_no_input_runs_in_them() -> None:
    """The time of an input is its own: it is not billed twice."""
    registry = FunctionRegistry()
    scaling = Autoscaling(functions=registry)
    scaling.scale(DETECT, 0.0, minimum=2)
    one = registry.begin(registry.find(DETECT), 100.0)
    assert scaling.stats(DETECT, 110.0).inputs == 1
    registry.end(one, "done", 150.0)
    assert [(use.seconds, use.busy_seconds) for use in scaling.idle(200.0)] == [(350.0, 50.0)]
    assert scaling.stats(DETECT, 200.0).containers == 2


def test_lowered_and_raised_again_it_keeps_what_is_still_up() -> None:
    scaling = Autoscaling(functions=FunctionRegistry(), cold_start=10.0)
    scaling.scale(DETECT, 0.0, minimum=2)
    scaling.scale(DETECT, 20.0, minimum=0)
    assert scaling.kept(DETECT, 30.0) == (2, 2)  # idle since 10 s, so up until 70 s
    scaling.scale(DETECT, 60.0, minimum=1)
    assert scaling.kept(DETECT, 71.0) == (1, 1)
    scaling.redeploy(DETECT, 100.0)
    assert (scaling.kept(DETECT, 101.0), scaling.scaling(DETECT, 101.0).minimum) == ((0, 0), 0)
    assert scaling.idle(500.0)[0].seconds == 70.0 + 100.0


def test_a_method_and_its_class_are_scaled_together() -> None:
    scaling = Autoscaling(functions=FunctionRegistry())
    scaling.scale("detector/Detector.detect", 0.0, minimum=1)
    for name in ("detector/Detector", "detector/Detector.*", "detector/Detector.detect"):
        assert scaling.scaling(name, 1.0).minimum == 1
    assert scaling.scaling(DETECT, 1.0).minimum == 0


def test_what_is_refused_says_why() -> None:
    scaling = Autoscaling(functions=FunctionRegistry())
    with pytest.raises(ScalingError, match="cannot be greater"):
        scaling.scale(DETECT, 0.0, minimum=3, maximum=2)
    for missing in ("detector/nosuch", SERVER):  # it has no server
        with pytest.raises(ScalingError, match="is not deployed"):
            scaling.scaling(missing, 0.0)
    scaling.read_only = True
    with pytest.raises(ScalingError, match="permission"):
        scaling.scale(DETECT, 0.0, minimum=1)
    assert scaling.idle(100.0) == ()


def test_a_world_scales_its_server_and_its_functions_in_its_own_time() -> None:
    """Which begins with the first moment that it hears of."""
    world = World()
    world.machines(5000.0)
    world.autoscaling.scale(SERVER, 5010.0, minimum=2)
    assert world.machines(5100.0).containers_ready == 2
    assert world.invoice(5100.0).modal.seconds == 180.0
    assert world.autoscaling.stats(SERVER, 5100.0).containers == 2
