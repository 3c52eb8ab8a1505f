"""Fleet: the endpoints of an account and their deployments, as inference finds them."""

from __future__ import annotations

from hybrid_infer.simulator.chance import Chance
from hybrid_infer.simulator.control_plane.catalogue import Profile, profiles
from hybrid_infer.simulator.control_plane.plan import ControlPlan
from hybrid_infer.simulator.control_plane.resources import Deployment, Resource
from hybrid_infer.simulator.dedicated import Endpoint as Machine
from hybrid_infer.simulator.dedicated import EndpointPlan, Initial, Refusal
from hybrid_infer.simulator.replica import machine_for

FIRST = "main"
"""The deployment of an endpoint that is found, not made."""


class Fleet:
    """All endpoints.

    Args:
        plan: how their machines behave.
        initial: how those that are found are found.
        names: of these.

    Attributes:
        resources: by id.
        slug: the project's name in ``<slug>/<endpoint>``.
    """

    def __init__(
        self,
        plan: EndpointPlan,
        control: ControlPlan,
        *,
        initial: Initial,
        names: tuple[str, ...],
        chance: Chance,
    ) -> None:
        self.resources: dict[str, Resource] = {}
        slugs = [name.partition("/")[0] for name in names if "/" in name]
        self.slug = control.slug or next(iter(slugs), "simulated")
        self._plan = plan
        self._found = control.found
        self._initial: Initial = initial
        self._names = names
        self._chance = chance
        self._machines: list[Machine] = []
        self._ids = 0

    def machines(self) -> tuple[Machine, ...]:
        """Every machine there ever was, oldest first."""
        return tuple(self._machines)

    def all_machines(self, moment: float) -> tuple[Machine, ...]:
        """As `machines`, after making those that are known by name, where there is none yet."""
        if not self._machines:
            self.find(moment)
        return self.machines()

    def find(self, moment: float) -> None:
        """Have those that are known by name."""
        known = {machine.model for machine in self._machines}
        for name in self._names if self._found else ():
            if name not in known:
                self._make_found(name, moment)

    def named(self, model: str) -> Resource | None:
        """The endpoint of this name."""
        return next((each for each in self.resources.values() if each.name == model), None)

    def knows(self, model: str) -> bool:
        """Whether this is the name of an endpoint or of a deployment."""
        return model in self._names or any(
            model == each.name or model.startswith(f"{each.name}/") for each in self.resources.values()
        )

    def serving(self, model: str, moment: float) -> tuple[Machine | None, Refusal | None]:
        """The machine that takes a request, or why none does; neither where there is no such endpoint.

        `model` is the name of an endpoint, or that of a deployment, whatever the split of traffic is then.
        """
        resource = self.named(model)
        if resource is not None:
            return _of_the_split(resource, moment)
        for each in self.resources.values():
            for deployment in each.deployments.values():
                if f"{each.name}/{deployment.name}" == model:
                    refusal = deployment.machine.refusal(moment, pinned=True)
                    return deployment.machine, refusal
        if not self._found or self._gone(model):
            return None, None
        machine = self._make_found(model, moment)
        return machine, machine.refusal(moment)

    def make(self, name: str, moment: float) -> Resource:
        """A new endpoint without deployments."""
        resource = Resource(id=self._id("ep"), name=name, created=moment, updated=moment)
        self.resources[resource.id] = resource
        return resource

    def deploy(self, resource: Resource, name: str, profile: Profile, moment: float) -> Deployment:
        """A new deployment, stopped and out of the split."""
        called = f"{resource.name}/{name}"
        machine = Machine(
            called, self._plan, "stopped", self._chance.of(f"endpoint {called} {self._ids}"), moment,
            machine=profile.machine, gpu=profile.gpu, in_split=False,
        )  # fmt: skip
        return self._add(resource, name, machine, profile, moment)

    def _gone(self, model: str) -> bool:
        """Whether an endpoint of this name was deleted."""
        return any(machine.model == model for machine in self._machines)

    def _make_found(self, model: str, moment: float) -> Machine:
        chance = self._chance.of(f"endpoint {model}")
        machine = Machine(model, self._plan, self._initial, chance, moment)
        figures = self._plan.machine or machine_for(model)
        offered = list(profiles())
        fits = [each for each in offered if (each.gpu, each.gpus) == (figures.gpu, figures.gpus)]
        resource = self.make(model, moment)
        deployment = self._add(resource, FIRST, machine, (fits or offered)[0], moment)
        resource.split[deployment.id] = 1.0
        return machine

    def _add(
        self, resource: Resource, name: str, machine: Machine, profile: Profile, moment: float
    ) -> Deployment:
        self._machines.append(machine)
        deployment = Deployment(
            id=self._id("dep"), name=name, machine=machine, profile=profile, created=moment, updated=moment
        )
        resource.deployments[deployment.id] = deployment
        return deployment

    def _id(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}_{self._chance.of(f'{kind} {self._ids}').getrandbits(48):012x}"


def _of_the_split(resource: Resource, moment: float) -> tuple[Machine | None, Refusal | None]:
    """The one with most room of those that take requests; else what the first one says.

    Room: weight times ready replicas is each one's part of the traffic (docs, 2026-10).
    """
    machines = [each.machine for each in resource.deployments.values()]
    takes = [each for each in resource.deployments.values() if each.machine.refusal(moment) is None]
    if takes:

        def fullness(deployment: Deployment) -> float:
            machine = deployment.machine
            part = resource.split.get(deployment.id, 0.0) * machine.ready(moment)
            return (machine.load(moment) + 1) / part if part else float("inf")

        return min(takes, key=fullness).machine, None
    if not machines:
        return None, "endpoint_not_configured"
    said = [machine.refusal(moment) for machine in machines]
    ready = "endpoint_not_configured" in said
    return machines[0], "endpoint_not_configured" if ready else "dedicated_endpoint_not_running"
