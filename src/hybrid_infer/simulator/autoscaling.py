"""The autoscaler of a simulated Modal: minima that keep containers up, and what those cost. Pure.

As on Modal: what is set lasts until the next deploy; containers are paid from their start to their stop, the
time in which they load included; one that nobody needs any more stops when it has been idle for its window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from hybrid_infer.simulator.functions import Deployed, FunctionRegistry
from hybrid_infer.simulator.modal import ModalServer
from hybrid_infer.simulator.replica import MachineUse

SERVER = "llm/Server"
"""The name of the server that a world has, for those who look it up."""

Wrong = Literal["permission", "not_found", "invalid"]


class ScalingError(Exception):
    """The autoscaler refuses; says how in the provider's own way."""

    def __init__(self, message: str, *, wrong: Wrong) -> None:
        super().__init__(message)
        self.wrong: Wrong = wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Settings of one function, class or server. `maximum` and `buffer` 0: none of its own."""

    minimum: int = 0
    maximum: int = 0
    buffer: int = 0
    window: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What runs of a function: inputs that wait, containers, inputs that run."""

    backlog: int
    containers: int
    inputs: int


@dataclass(slots=True, eq=False, kw_only=True)
class Kept:
    """A container of a function that a minimum keeps up. Times are those given as `now`."""

    started: float
    ready: float
    stopped: float | None = None

    def up(self, now: float) -> bool:
        return self.stopped is None or self.stopped > now


@dataclass(slots=True, kw_only=True)
class _Pool:
    scaling: Scaling = field(default_factory=Scaling)
    kept: list[Kept] = field(default_factory=list[Kept])


@dataclass(kw_only=True)
class Autoscaling:
    """The autoscaler of what is deployed.

    Args:
        functions: the functions and classes.
        server: the one server; None where there is none.
        servers: the names by which it is found.
        at: from the carrier's time to the server's.
        cold_start: seconds until a container of a function is ready.
        counts_loading: whether containers that still load are among those that `stats` counts. What Modal
            does is not known, so both can be tried.
        read_only: every change is refused, as to a token without write access.
    """

    functions: FunctionRegistry
    server: ModalServer | None = None
    servers: tuple[str, ...] = (SERVER,)
    at: Callable[[float], float] = float
    cold_start: float = 10.0
    counts_loading: bool = True
    read_only: bool = False
    _pools: dict[str, _Pool] = field(default_factory=dict[str, _Pool])

    def find(self, name: str) -> str:
        """The name under which an object is scaled: its own, or ``app/Class.*`` for a class or its method.

        Raises:
            ScalingError: nothing of that name is deployed.
        """
        app, _, tag = name.partition("/")
        if self.server is not None and name in self.servers:
            return name
        if name in self.functions.deployed and "." not in tag:
            return name
        cls = tag.partition(".")[0]
        if self.functions.methods(app, cls):
            return f"{app}/{cls}.*"
        raise ScalingError(f"{name} is not deployed", wrong="not_found")

    def deployed(self, name: str) -> tuple[Deployed, ...]:
        """The functions that are scaled under a name; none for a server."""
        app, _, tag = name.partition("/")
        if tag.endswith(".*"):
            return self.functions.methods(app, tag[:-2])
        one = self.functions.deployed.get(name)
        return () if one is None else (one,)

    def scaling(self, name: str, now: float) -> Scaling:
        """The settings as they are."""
        name = self.find(name)
        if self.server is not None and name in self.servers:
            plan = self.server.plan
            return Scaling(
                minimum=plan.min_containers,
                maximum=plan.max_containers,
                window=round(plan.scaledown_window),
                buffer=self._pool(name).scaling.buffer,
            )
        return self._pool(name).scaling

    def scale(
        self,
        name: str,
        now: float,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        buffer: int | None = None,
        window: int | None = None,
    ) -> Scaling:
        """Override settings; None leaves one as it is. Containers for a higher minimum start at once.

        Raises:
            ScalingError: refused.
        """
        name = self.find(name)
        if self.read_only:
            raise ScalingError(
                "You don't have permission to update this function's autoscaler", wrong="permission"
            )
        given = {"minimum": minimum, "maximum": maximum, "buffer": buffer, "window": window}
        wanted = replace(
            self.scaling(name, now), **{key: value for key, value in given.items() if value is not None}
        )
        if wanted.maximum and wanted.minimum > wanted.maximum:
            raise ScalingError(
                f"min_containers ({wanted.minimum}) cannot be greater than max_containers ({wanted.maximum})",
                wrong="invalid",
            )
        pool = self._pool(name)
        pool.scaling = wanted
        if self.server is not None and name in self.servers:
            self.server.scale(
                self.at(now), minimum=wanted.minimum, maximum=wanted.maximum, window=float(wanted.window)
            )
        else:
            self._keep(name, pool, now)
        return wanted

    def redeploy(self, name: str, now: float) -> None:
        """Deploy a function or class anew: overrides are gone."""
        name = self.find(name)
        pool = self._pool(name)
        pool.scaling = Scaling()
        self._keep(name, pool, now)

    def stats(self, name: str, now: float) -> Stats:
        """What runs now. Each running input of a function takes a container to itself."""
        name = self.find(name)
        if self.server is not None and name in self.servers:
            starting, ready, inputs = self.server.containers(self.at(now))
            count = ready + (starting if self.counts_loading else 0)
            return Stats(backlog=0, containers=count, inputs=inputs)
        inputs = sum(1 for one in self._inputs(name) if one[0] <= now < one[1])
        up = [one for one in self._pool(name).kept if one.up(now)]
        kept = sum(1 for one in up if self.counts_loading or one.ready <= now)
        return Stats(backlog=0, containers=max(kept, inputs), inputs=inputs)

    def kept(self, name: str, now: float) -> tuple[int, int]:
        """How many containers of a function are kept up, and how many of them are ready."""
        up = [one for one in self._pool(self.find(name)).kept if one.up(now)]
        return len(up), sum(1 for one in up if one.ready <= now)

    def idle(self, now: float) -> tuple[MachineUse, ...]:
        """For each function with a minimum: seconds of its containers in which no input ran in them.

        The seconds of inputs are billed besides (`FunctionRegistry.use`); those of the server are its own.
        """
        uses: list[MachineUse] = []
        for name, pool in self._pools.items():
            if not pool.kept:
                continue
            inputs = self._inputs(name)
            idle, busy = _idle(pool.kept, inputs, now)
            uses.append(MachineUse(name=name, requests=len(inputs), seconds=idle, busy_seconds=busy))
        return tuple(uses)

    def _pool(self, name: str) -> _Pool:
        return self._pools.setdefault(name, _Pool())

    def _keep(self, name: str, pool: _Pool, now: float) -> None:
        """Have as many containers as the minimum says; those that are about to stop are kept first."""
        staying = [one for one in pool.kept if one.stopped is None]
        leaving = [one for one in pool.kept if one.stopped is not None and one.stopped > now]
        missing = pool.scaling.minimum - len(staying)
        for one in leaving[: max(0, missing)]:
            one.stopped = None
        missing -= min(max(0, missing), len(leaving))
        pool.kept += [Kept(started=now, ready=now + self.cold_start) for _ in range(missing)]
        if missing < 0:
            last = max((min(end, now) for _, end in self._inputs(name)), default=now - pool.scaling.window)
            for one in staying[missing:]:
                one.stopped = max(now, max(one.ready, last) + pool.scaling.window)

    def _inputs(self, name: str) -> list[tuple[float, float]]:
        """When each input of a function or class began and ended; infinity while it runs."""
        functions = {one.name for one in self.deployed(name)}
        found: list[tuple[float, float]] = []
        for one in self.functions.inputs:
            if one.function.name in functions:
                ends = [end for end in (one.ended, one.due) if end is not None]
                found.append((one.began, min(ends, default=float("inf"))))
        return found


def _idle(kept: list[Kept], inputs: list[tuple[float, float]], now: float) -> tuple[float, float]:
    """Container-seconds until `now` without an input, and with one."""
    changes: list[tuple[float, int, int]] = []
    for container in kept:
        stopped = now if container.stopped is None else min(now, container.stopped)
        changes += [(container.started, 1, 0), (stopped, -1, 0)]
    for began, ended in inputs:
        changes += [(min(began, now), 0, 1), (min(ended, now), 0, -1)]
    idle = busy = 0.0
    containers = running = 0
    last = 0.0
    for at, more, one in sorted(changes):
        idle += max(0, containers - running) * (at - last)
        busy += min(containers, running) * (at - last)
        containers, running, last = containers + more, running + one, at
    return idle, busy
