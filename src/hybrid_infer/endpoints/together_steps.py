"""What to do next with an endpoint of Together, so that it is warm, stopped or gone. Pure.

The order is that of Together's docs (2026-10): a deployment that is ready takes no requests until it
is in the endpoint's split of traffic; 0 and 0 replicas stop it, 0 and more are refused; one that has failed
never starts again; to delete, scale to zero, wait until it has stopped, take it out of the split, delete the
deployment, then the endpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from hybrid_infer.endpoints.together_view import Deployment, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Where the endpoint shall be brought.

    Attributes:
        kind: ``minimum`` sets the bound and does not wait.
        replicas: at least, for ``warm`` and ``minimum``.
        pinned: the name of the one deployment that it is about.
        creating: whether what is absent may be made.
    """

    kind: Literal["warm", "minimum", "stop", "delete"]
    replicas: int = 0
    pinned: str | None = None
    creating: bool = False


@dataclass(slots=True, kw_only=True)
class Done:
    """What this operation has done so far. `scaled` counts by deployment, `made` is a deployment's id."""

    scaled: dict[str, int] = field(default_factory=dict[str, int])
    made: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeEndpoint:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDeployment:
    """`number` tells deployments of one endpoint apart."""

    endpoint: View
    minimum: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    endpoint: View
    deployment: Deployment
    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Replace the split of traffic."""

    endpoint: View
    weights: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteDeployment:
    endpoint: View
    deployment: Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteEndpoint:
    endpoint: View


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to do but to look again. `lacks_gpus`: the provider says that it has none."""

    lacks_gpus: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """It is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impossible:
    """It will not get there."""

    why: Literal["absent", "failed", "fought over"]
    deployment: Deployment | None = None


Action: TypeAlias = MakeEndpoint | MakeDeployment | Scale | Split | DeleteDeployment | DeleteEndpoint
Step: TypeAlias = Action | Wait | Reached | Impossible

MOST_SCALES = 3
"""How often one operation scales the same deployment before it says that somebody else does so too."""


def next_step(goal: Goal, view: View | None, done: Done) -> Step:
    """What to do next; `view` is what was read last, None where there is no endpoint."""
    if goal.kind == "delete":
        return _delete(goal, view, done)
    if goal.kind == "stop":
        return _stop(goal, view, done)
    return _warm(goal, view, done)


def _warm(goal: Goal, view: View | None, done: Done) -> Step:
    if goal.kind == "minimum" and not goal.replicas:
        return _cool(goal, view, done)
    if view is None:
        return MakeEndpoint() if goal.creating else Impossible(why="absent")
    chosen = view.chosen(goal.pinned)
    if chosen is None or chosen.state == "FAILED":
        replaced = chosen is None or goal.pinned is None  # a name can be given once
        if goal.creating and done.made is None and replaced:
            return MakeDeployment(endpoint=view, minimum=goal.replicas, number=len(view.deployments) + 1)
        return Impossible(why="absent" if chosen is None else "failed", deployment=chosen)
    enough = chosen.minimum >= goal.replicas
    exact = chosen.minimum == goal.replicas
    if not (exact if goal.kind == "minimum" else enough) or _stays_down(chosen, done):
        return _scale(view, chosen, goal.replicas, max(chosen.maximum, goal.replicas), done)
    if goal.pinned is None and not view.weights.get(chosen.id):
        return Split(endpoint=view, weights={**_known_weights(view), chosen.id: 1.0})
    if goal.kind == "minimum" or (chosen.ready >= goal.replicas and chosen.state != "STOPPING"):
        return Reached()
    return Wait(lacks_gpus=chosen.lacks_gpus)


def _cool(goal: Goal, view: View | None, done: Done) -> Step:
    """As a stop that nobody waits for."""
    step = _stop(goal, view, done)
    return Reached() if isinstance(step, Wait) else step


def _stop(goal: Goal, view: View | None, done: Done) -> Step:
    meant = () if view is None else _meant(goal, view)
    for each in meant:
        if view is not None and each.maximum and each.state != "FAILED":
            return _scale(view, each, 0, 0, done)
    return Reached() if all(each.at_rest for each in meant) else Wait()


def _delete(goal: Goal, view: View | None, done: Done) -> Step:
    if view is None:
        return Reached()
    step = _stop(goal, view, done)
    if not isinstance(step, Reached):
        return step
    meant = _meant(goal, view)
    ids = {each.id for each in meant}
    if ids & view.weights.keys():
        kept = {id: weight for id, weight in _known_weights(view).items() if id not in ids}
        return Split(endpoint=view, weights=kept)
    if meant:
        return DeleteDeployment(endpoint=view, deployment=meant[0])
    return Reached() if view.deployments else DeleteEndpoint(endpoint=view)


def _scale(view: View, deployment: Deployment, minimum: int, maximum: int, done: Done) -> Step:
    if done.scaled.get(deployment.id, 0) >= MOST_SCALES:
        return Impossible(why="fought over", deployment=deployment)
    return Scale(endpoint=view, deployment=deployment, minimum=minimum, maximum=maximum)


def _stays_down(chosen: Deployment, done: Done) -> bool:
    """Stopped by its own timeout, it may still show bounds above 0: it must be told again, once."""
    return chosen.state == "STOPPED" and chosen.id not in done.scaled and chosen.id != done.made


def _meant(goal: Goal, view: View) -> tuple[Deployment, ...]:
    """All deployments; of a goal that is about one, that one."""
    if goal.pinned is None:
        return view.deployments
    chosen = view.chosen(goal.pinned)
    return () if chosen is None else (chosen,)


def _known_weights(view: View) -> dict[str, float]:
    """The weights of deployments that are there: one that is gone would be refused."""
    there = {each.id for each in view.deployments}
    return {id: weight for id, weight in view.weights.items() if id in there}
