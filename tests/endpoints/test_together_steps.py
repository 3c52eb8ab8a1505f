"""What is done next with an endpoint, for every state that it may be in. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.endpoints.together_memory import LATE, Memory
from hybrid_infer.endpoints.together_steps import (
    MOST_SCALES,
    DeleteDeployment,
    DeleteEndpoint,
    Done,
    Goal,
    Impossible,
    MakeDeployment,
    MakeEndpoint,
    Reached,
    Scale,
    Split,
    Wait,
    next_step,
)
from hybrid_infer.endpoints.together_view import Deployment, View
from hybrid_infer.runtime.base import new_guard

STATES = ["PROVISIONING", "SCALING", "READY", "DEGRADED", "STOPPING", "STOPPED", "FAILED", "UNKNOWN"]
IDS = ["dep_a", "dep_b", "dep_c"]


def deployment(
    id: str = "dep_a", state: str = "READY", *, low: int = 1, high: int = 1, ready: int = 1, etag: str = "1"
) -> Deployment:
    return Deployment(
        id=id, name=f"acme/x/{id[4:]}", state=state, message="", etag=etag, minimum=low, maximum=high,
        wanted=low, placed=ready, ready=ready, hardware=None, created=id,
    )  # fmt: skip


def view(*deployments: Deployment, weights: dict[str, float] | None = None, etag: str = "1") -> View:
    return View(id="ep_1", name="acme/x", etag=etag, weights=weights or {}, deployments=deployments)


@st.composite
def views(draw: st.DrawFn) -> View:
    rows: list[Deployment] = []
    for id in draw(st.lists(st.sampled_from(IDS), unique=True)):
        low = draw(st.integers(0, 3))
        high = draw(st.integers(low, 4)) if low else 0
        state = draw(st.sampled_from(STATES))
        rows.append(deployment(id, state, low=low, high=high, ready=draw(st.integers(0, high))))
    split = draw(st.dictionaries(st.sampled_from([*IDS, "dep_gone"]), st.floats(0.5, 2)))
    return view(*rows, weights=split)


@given(views(), st.sampled_from([None, "a"]))
def test_nothing_that_runs_or_has_traffic_is_deleted(seen: View, pinned: str | None) -> None:
    """And a pinned goal touches its own deployment alone."""
    step = next_step(Goal(kind="delete", pinned=pinned), seen, Done())
    if isinstance(step, DeleteDeployment):
        assert step.deployment.at_rest
        assert step.deployment.id not in seen.weights
    if isinstance(step, DeleteEndpoint):
        assert seen.deployments == ()
    if isinstance(step, Scale):
        assert (step.minimum, step.maximum) == (0, 0)
    if pinned is not None and isinstance(step, DeleteDeployment | Scale):
        assert step.deployment.name.endswith("/a")


@given(views(), st.integers(1, 3), st.booleans())
def test_warming_takes_nothing_away(seen: View, replicas: int, creating: bool) -> None:
    """No bound is lowered, nobody else's traffic is taken, what has failed is not started."""
    step = next_step(Goal(kind="warm", replicas=replicas, creating=creating), seen, Done())
    if isinstance(step, Scale):
        assert step.minimum == replicas >= 1
        assert step.maximum >= step.deployment.maximum
        assert step.deployment.state != "FAILED"
    if isinstance(step, Split):
        there = {each.id for each in seen.deployments}
        kept = {id: weight for id, weight in seen.weights.items() if id in there}
        assert kept.items() <= step.weights.items()
        assert len(step.weights) == len(kept) + 1
    if isinstance(step, Reached):
        chosen = seen.chosen(None)
        assert chosen is not None
        assert seen.weights.get(chosen.id)
        assert chosen.ready >= replicas
    if isinstance(step, MakeDeployment | MakeEndpoint):
        assert creating


@given(views())
def test_stopping_only_scales_to_zero(seen: View) -> None:
    step = next_step(Goal(kind="stop"), seen, Done())
    assert isinstance(step, Scale | Wait | Reached)
    if isinstance(step, Scale):
        assert (step.minimum, step.maximum) == (0, 0)
    if isinstance(step, Reached):
        assert all(each.at_rest for each in seen.deployments)


@pytest.mark.parametrize(
    ("seen", "goal", "wanted"),
    [
        (None, Goal(kind="warm", replicas=1), Impossible(why="absent")),
        (None, Goal(kind="warm", replicas=1, creating=True), MakeEndpoint()),
        (None, Goal(kind="stop"), Reached()),
        (None, Goal(kind="delete"), Reached()),
        (None, Goal(kind="minimum", replicas=0), Reached()),
        (view(), Goal(kind="warm", replicas=1, pinned="a"), Impossible(why="absent")),
    ],
)
def test_what_is_absent(seen: View | None, goal: Goal, wanted: object) -> None:
    assert next_step(goal, seen, Done()) == wanted


def test_a_deployment_is_made_once_in_an_operation() -> None:
    """Where the one that was made fails too, there is no third."""
    failed = deployment(state="FAILED", ready=0)
    goal = Goal(kind="warm", replicas=1, creating=True)
    assert isinstance(next_step(goal, view(failed), Done()), MakeDeployment)
    assert next_step(goal, view(failed), Done(made="dep_a")) == Impossible(why="failed", deployment=failed)
    pinned = Goal(kind="warm", replicas=1, creating=True, pinned="a")
    assert isinstance(next_step(pinned, view(failed), Done()), Impossible)


def test_scaling_again_and_again_ends() -> None:
    cold = deployment(state="STOPPED", low=0, high=0, ready=0)
    goal, seen = Goal(kind="warm", replicas=1), view(cold, weights={"dep_a": 1.0})
    assert isinstance(next_step(goal, seen, Done(scaled={"dep_a": MOST_SCALES - 1})), Scale)
    assert isinstance(next_step(goal, seen, Done(scaled={"dep_a": MOST_SCALES})), Impossible)


def test_one_that_stopped_by_itself_is_told_once_more() -> None:
    """Its bounds may still say that it runs."""
    seen = view(deployment(state="STOPPED", ready=0), weights={"dep_a": 1.0})
    goal = Goal(kind="warm", replicas=1)
    assert isinstance(next_step(goal, seen, Done()), Scale)
    assert next_step(goal, seen, Done(scaled={"dep_a": 1})) == Wait()


def test_traffic_says_which_deployment_is_meant() -> None:
    """Then its ready replicas; without traffic, the oldest that can run; the shadow of another never."""
    a, b = deployment("dep_a", ready=0), deployment("dep_b", ready=2)
    assert view(a, b).chosen(None) == a
    assert view(a, b, weights={"dep_a": 1.0, "dep_b": 1.0}).chosen(None) == b
    assert view(a, b, weights={"dep_a": 1.0}).chosen(None) == a
    assert view(deployment("dep_a", "FAILED"), b).chosen(None) == b
    assert view(a, b).chosen("b") == b
    assert view(a, b).chosen("c") is None


def test_a_read_from_before_a_write_is_not_believed() -> None:
    """Until it shows another etag; what was deleted stays away, what was made is there."""
    memory = Memory(new_guard())
    before, after = deployment(etag="1"), deployment(etag="2", low=2, high=2)
    memory.wrote(before, after)
    assert memory.deployments((before,), 0.0) == (after,)
    newer = deployment(etag="3", low=3, high=3)
    assert memory.deployments((newer,), 0.0) == (newer,)
    assert memory.deployments((), 0.0) == ()
    made = deployment("dep_b")
    memory.made(made, 0.0)
    assert memory.deployments((), 0.0) == (made,)
    ready = deployment("dep_b", ready=2)
    assert memory.deployments((ready,), 1.0) == (ready,)
    assert memory.deployments((), 2.0) == (made,)  # reads may go back
    assert memory.deployments((), LATE) == ()  # somebody else deleted it
    memory.deleted("dep_a")
    assert memory.deployments((newer,), LATE) == ()


def test_the_same_for_the_endpoint() -> None:
    memory = Memory(new_guard())
    assert memory.endpoint(None, 0.0) is None
    made = view(etag="1")
    memory.made(made, 0.0)
    assert memory.endpoint(None, 1.0) == made
    assert memory.endpoint(made, 1.0) == made
    assert memory.endpoint(None, LATE) is None
    routed = view(etag="2", weights={"dep_a": 1.0})
    memory.wrote(made, routed)
    assert memory.endpoint(made, LATE) == routed
    memory.deleted("ep_1")
    assert memory.endpoint(routed, LATE) is None
    assert memory.endpoint(None, 1.0) is None
