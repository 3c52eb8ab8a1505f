"""The door to the simulated autoscaler inside the process, without Modal's package, in the runtime's time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hybrid_infer.endpoints.modal_autoscaler import Autoscaler, Bounds, Container, Runners, ScaledName
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.simulator.autoscaling import SERVER, Autoscaling, Scaling, ScalingError
from hybrid_infer.simulator.world import World
from hybrid_infer.transport.functions import FunctionFailure, FunctionTimeout

T = TypeVar("T")


class SimulatedAutoscaler:
    """The autoscaler of one object in a world. Fits `Autoscaler`. Several, in several threads, may share one.

    Args:
        name: a function or class that is deployed there. A server is the world's one, whatever it is called,
            as it is at whatever address.
        speed: simulated seconds per second of the runtime.
    """

    def __init__(self, world: World, name: ScaledName, *, runtime: Runtime, speed: float = 1.0) -> None:
        self._scaling = world.autoscaling
        self._guard = world.guarded_by(runtime.guard())
        self._name = SERVER if name.server else str(name)
        self._runtime = runtime
        self._speed = speed

    async def bounds(self, until: float) -> Bounds:
        return self._ask(lambda scaling, now: _bounds(scaling.scaling(self._name, now)), until)

    async def scale(self, until: float, *, minimum: int, maximum: int | None = None) -> Bounds:
        def ask(scaling: Autoscaling, now: float) -> Bounds:
            return _bounds(scaling.scale(self._name, now, minimum=minimum, maximum=maximum))

        return self._ask(ask, until)

    async def runners(self, until: float) -> Runners:
        def ask(scaling: Autoscaling, now: float) -> Runners:
            stats = scaling.stats(self._name, now)
            return Runners(backlog=stats.backlog, runners=stats.containers, inputs=stats.inputs)

        return self._ask(ask, until)

    async def container(self, until: float) -> Container:
        def ask(scaling: Autoscaling, now: float) -> Container:
            name = scaling.find(self._name)
            if scaling.server is not None and name in scaling.servers:
                machine = scaling.server.machine
                return Container(gpu=machine.gpu, gpus=machine.gpus, cpu=None, memory=None)
            function = scaling.deployed(name)[0]
            return Container(gpu=function.gpu, gpus=function.gpus, cpu=None, memory=None)

        return self._ask(ask, until)

    async def aclose(self) -> None:
        return None

    def _ask(self, ask: Callable[[Autoscaling, float], T], until: float) -> T:
        if self._runtime.now() >= until:
            raise FunctionTimeout(stage="connect", place="the simulator")
        try:
            with self._guard:
                return ask(self._scaling, self._runtime.now() * self._speed)
        except ScalingError as error:
            failure = FunctionFailure(str(error), cause=error.wrong, stage="look-up")
        raise failure


def simulated_autoscaler(
    world: World, *, runtime: Runtime, speed: float = 1.0
) -> Callable[[ScaledName], Autoscaler]:
    """For `modal_endpoint(connect=…)`: the autoscalers of what is deployed in a world."""
    return lambda name: SimulatedAutoscaler(world, name, runtime=runtime, speed=speed)


def _bounds(scaling: Scaling) -> Bounds:
    return Bounds(minimum=scaling.minimum, maximum=scaling.maximum or None, window=float(scaling.window))
