"""A provider whose machine has a minimum, and processes that may be killed between any two of their steps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from hybrid_infer.endpoints.idle import IdleBudget
from hybrid_infer.endpoints.keeper import Keeper
from hybrid_infer.endpoints.state import EndpointState, HourlyPrice, OnEvent, Replicas
from hybrid_infer.runtime import virtual
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.stores.leases.base import Lease, LeaseStore, LeasesUnavailableError, Note
from hybrid_infer.stores.leases.memory import MemoryLeases

MACHINE = "together-dedicated/acme/assistant"
PRICE = HourlyPrice(nano=3_600_000_000, source="the test")
"""A tenth of a cent a second."""


class VirtualTasks(TaskRuntime):
    """Tasks whose time of day is virtual, too."""

    def wall(self) -> datetime:
        return virtual.EPOCH + timedelta(seconds=self.now())


class Killed(BaseException):
    """What a process that was killed does next: nothing."""


@dataclass
class Provider:
    """What the provider knows of the machine. `changes` are the minima it was told: when, what, by whom.

    For `lag` seconds after a change it shows what was before. `failing` is raised by the next change; with
    `fails_late` the change is made all the same.
    """

    minimum: int = 0
    price: HourlyPrice | None = PRICE
    lag: float = 0.0
    failing: Exception | None = None
    fails_late: bool = False
    asked: int = 0
    changes: list[tuple[float, int, str]] = field(default_factory=list[tuple[float, int, str]])
    before: tuple[float, int] | None = None

    def set(self, replicas: int, now: float, who: str = "somebody") -> None:
        self.before, self.minimum = (now, self.minimum), replicas
        self.changes.append((now, replicas, who))

    def shown(self, now: float) -> int:
        self.asked += 1
        if self.before is not None and now < self.before[0] + self.lag:
            return self.before[1]
        return self.minimum


class Process:
    """One process with its keeper. Killed before its step number `dies` (from 0); None lets it live.

    Each step of the store and of the provider takes up to `slow` seconds, before and after it is done.
    """

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        provider: Provider,
        store: LeaseStore,
        *,
        dies: int | None = None,
        slow: float = 0.0,
        seed: int = 0,
        budget: IdleBudget | None = None,
        patience: float = 240.0,
    ) -> None:
        self.name, self.runtime, self.provider = name, runtime, provider
        self.steps, self.dies = 0, dies
        self._slow, self._random = slow, random.Random(seed)
        self.endpoint = FakeEndpoint(self)
        self.known = True
        self.store_down = False
        self.keeper = Keeper(
            Stepping(self, store),
            runtime,
            lambda name: self.endpoint if self.known and name == MACHINE else None,
            holder=name,
            budget=budget,
            patience=patience,
        )

    async def step(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        await self._pause()
        if self.dies is not None and self.steps >= self.dies:
            raise Killed
        self.steps += 1
        result = await work()
        await self._pause()
        return result

    async def _pause(self) -> None:
        if self._slow:
            await self.runtime.sleep(self._random.uniform(0, self._slow))

    async def hold(self, replicas: int = 1, seconds: float = 600.0, **more: Any) -> Lease:
        return await self.keeper.hold(MACHINE, replicas, seconds, why="test", **more)


class FakeEndpoint:
    """The machine, as a process reaches it. Fits `Endpoint`."""

    def __init__(self, process: Process) -> None:
        self.name = MACHINE
        self._process = process

    def _seen(self, minimum: int) -> EndpointState:
        return EndpointState(
            name=MACHINE,
            life="warm" if minimum else "cold",
            replicas=Replicas(ready=minimum, starting=0, wanted=minimum),
            minimum=minimum,
            maximum=None,
            routed=True,
            price=self._process.provider.price,
            said="",
            since=None,
            at=datetime(2026, 11, 2, tzinfo=UTC),
        )

    async def minimum(self) -> int:
        provider, now = self._process.provider, self._process.runtime.now

        async def work() -> int:
            return provider.shown(now())

        found: int = await self._process.step(work)
        return found

    async def state(self) -> EndpointState:
        return self._seen(await self.minimum())

    async def set_minimum(self, replicas: int) -> EndpointState:
        process = self._process

        async def work() -> None:
            provider = process.provider
            failing, provider.failing = provider.failing, None
            if failing is None or provider.fails_late:
                provider.set(replicas, process.runtime.now(), process.name)
            if failing is not None:
                raise failing

        await process.step(work)
        return self._seen(replicas)

    async def warm(
        self, replicas: int = 1, *, timeout: float = 1800.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        return await self.set_minimum(replicas)

    async def stop(
        self, *, wait: bool = True, timeout: float = 900.0, on_event: OnEvent | None = None
    ) -> EndpointState:
        return await self.set_minimum(0)


class Stepping:
    """A store whose operations are steps of a process. Fits `LeaseStore`."""

    def __init__(self, process: Process, store: LeaseStore) -> None:
        self._process = process
        self._store = store

    def __getattr__(self, name: str) -> Any:
        async def operation(*values: Any, **named: Any) -> Any:
            if self._process.store_down:
                raise LeasesUnavailableError("down")
            return await self._process.step(partial(getattr(self._store, name), *values, **named))

        return operation


class Stage:
    """A provider and a store in virtual time of either colour, for processes to meet in."""

    def __init__(self, colour: str, *, minimum: int = 0, runtime: Runtime | None = None, **plan: Any) -> None:
        self.runtime: Runtime = runtime or (VirtualThreads() if colour == "sync" else VirtualTasks())
        self.runtime.check()
        self.provider = Provider(minimum=minimum, **plan)
        self.store = MemoryLeases()

    def process(self, name: str = "a", **options: Any) -> Process:
        return Process(name, self.runtime, self.provider, self.store, **options)

    async def later(self, seconds: float) -> None:
        await self.runtime.sleep(seconds)

    def change(self, minimum: int) -> None:
        """Somebody else does, in the provider's console."""
        self.provider.set(minimum, self.runtime.now())

    async def note(self) -> Note | None:
        found = await self.store.note(MACHINE)
        return found and replace(found, at=0.0)

    async def clean(self) -> bool:
        """Whether nothing is left of anybody."""
        return await self.note() is None and await self.store.leases() == ()


def play(colour: str, scenario: Callable[[Runtime], list[Callable[[], Coroutine[Any, Any, None]]]]) -> None:
    """Run what a scenario makes, side by side in virtual time: in threads, or in tasks."""
    if colour == "sync":
        threads = VirtualThreads()
        threads.run(*[partial(_stepped, thunk) for thunk in scenario(threads)])
        return

    async def main() -> None:
        runtime = VirtualTasks()
        runtime.check()
        await asyncio.gather(*(thunk() for thunk in scenario(runtime)))

    virtual.run(main())


def _stepped(thunk: Callable[[], Coroutine[Any, Any, None]]) -> None:
    step(thunk())
