"""Several clients of one colour that share simulated providers, each of them a process to the ledger.

A scenario is one coroutine. For `[sync]` it is stepped and the calls run in threads, for `[async]` in tasks;
time is virtual in both.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from both import Api
from hybrid_infer.aclient import AsyncClient
from hybrid_infer.calls.call import Mode
from hybrid_infer.calls.hybrid import Hybrid
from hybrid_infer.calls.machines import MachineReport
from hybrid_infer.client import Client
from hybrid_infer.colours import blocking, tasks
from hybrid_infer.core import Core
from hybrid_infer.errors import APIError
from hybrid_infer.prices.chosen import machine_division
from hybrid_infer.runtime import virtual
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.world import Invoice, World
from hybrid_infer.stores.ledger.machines import Machine, machines
from hybrid_infer.stores.ledger.reader import LedgerReader
from hybrid_infer.stores.ledger.summary import Line, Summary, summarise
from hybrid_infer.stores.ledger.writer import open_ledger

NANO = 10**9
MODELS: dict[Mode, str] = {"together-dedicated": "simulated/assistant", "modal": "llm"}


@dataclass(frozen=True)
class Ask:
    """One call of the traffic: by which client, when (seconds from the begin), and how."""

    client: int
    at: float
    tokens: int = 40
    stream: bool = False
    leave_after: int | None = None
    """Chunks after which the caller closes the stream."""
    timeout: float | None = None


class _VirtualTasks(TaskRuntime):
    """Tasks whose time of day is the loop's, too."""

    def wall(self) -> datetime:
        return virtual.EPOCH + timedelta(seconds=self.now())


class Fleet:
    """Clients, and the world that they call."""

    def __init__(self, colour: str, world: World, ledger: Path, **settings: Any) -> None:
        self.colour = colour
        self.world = world
        self.ledger = ledger
        self.told: list[Hybrid] = []
        """What the calls that have ended said of themselves."""
        self._settings = {"simulate": True, "ledger": str(ledger), **settings}
        self._threads = VirtualThreads()
        self._apis: list[Api] = []
        self._calls = 0

    def client(self, **settings: Any) -> Api:
        """One more process."""
        runtime: Runtime = _VirtualTasks() if self.colour == "async" else self._threads
        colour = replace(tasks() if self.colour == "async" else blocking(), runtime=runtime)
        core = Core(Settings.load({**self._settings, **settings}, environ={}), colour, None, None, self.world)
        kind: type[Any] = AsyncClient if self.colour == "async" else Client
        client: Any = object.__new__(kind)
        client._core, client._defaults = core, {}
        runtime.check()  # its clock is the loop's from here on, as at the first call
        self._apis.append(Api(client, runtime))
        return self._apis[-1]

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        """Run it to its end; then every record is in the ledger."""
        if self.colour == "async":
            virtual.run(scenario)
        else:
            step(scenario)
        assert open_ledger(self.ledger).close(timeout=60)

    async def together(self, *bodies: Coroutine[Any, Any, None]) -> None:
        """All of them at a time."""
        if self.colour == "async":
            await asyncio.gather(*bodies)
        else:
            self._threads.run(*(partial(step, body) for body in bodies))

    @property
    def now(self) -> float:
        return self._apis[0].runtime.now()

    def observe(self, api: Api, mode: Mode, serving: int | None, starting: int = 0) -> None:
        """A control plane tells the client the state of a machine."""
        api.client._core.observe(mode, MODELS[mode], serving, starting)

    def report(self, api: Api, mode: Mode) -> MachineReport:
        report = api.client._core.machine(mode, MODELS[mode])
        assert isinstance(report, MachineReport)
        return report

    async def ask(self, apis: Sequence[Api], ask: Ask, began: float) -> None:
        """One call, however it ends."""
        api = apis[ask.client % len(apis)]
        await api.runtime.sleep(began + ask.at - api.runtime.now())
        # No two prompts are alike: the answer's length is drawn from the prompt.
        self._calls += 1
        messages = [{"role": "user", "content": f"Tell me about number {self._calls}."}]
        options: dict[str, Any] = {"messages": messages, "max_tokens": ask.tokens}
        if ask.timeout is not None:
            options["timeout"] = ask.timeout
        try:
            if not ask.stream:
                self.told.append((await api.create(**options)).hybrid)
                return
            stream = await api.stream(**options)
            async for _ in stream:
                if ask.leave_after is not None:
                    ask = replace(ask, leave_after=ask.leave_after - 1 or None)
                    if ask.leave_after is None:
                        break
            await stream.close()
            self.told.append(stream.hybrid)
        except APIError as error:
            assert error.hybrid is not None
            self.told.append(error.hybrid)

    async def traffic(self, apis: Sequence[Api], asks: Sequence[Ask]) -> None:
        """All calls, each at its time; returns when they have all ended."""
        began = apis[0].runtime.now()
        await self.together(*(self.ask(apis, ask, began) for ask in asks))

    async def follow(self, api: Api, mode: Mode, until: float, every: float) -> None:
        """Look at the state of a machine again and again, as a control plane does."""
        told: tuple[int, int] | None = None
        while True:
            state = self._state(mode, api.runtime.now())
            if state != told:
                self.observe(api, mode, *state)
                told = state
            if api.runtime.now() >= until:
                return
            await api.runtime.sleep(min(every, until - api.runtime.now()))

    def _state(self, mode: Mode, now: float) -> tuple[int, int]:
        """Replicas that serve, and that come up."""
        with self.world.guarded_by(threading.Lock()):
            found = self.world.machines(now)
        if mode == "modal":
            return found.containers_ready, found.containers_starting
        states = [endpoint.state for endpoint in found.endpoints]
        up = sum(state in ("READY", "STOPPING") for state in states)
        return up, sum(state in ("PROVISIONING", "SCALING") for state in states)

    def invoice(self, now: float) -> Invoice:
        with self.world.guarded_by(threading.Lock()):
            return self.world.invoice(now)

    async def close(self) -> None:
        for api in self._apis:
            await api.close()


class Book:
    """What a ledger says, read as `hybrid-infer ledger` reads it."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self._divide = machine_division(Settings.load(settings, environ={}))

    def summary(self, **options: Any) -> Summary:
        return summarise([self.path], divide=self._divide, **options)

    @property
    def total(self) -> Line:
        (line,) = self.summary().totals
        return line

    def machine(self, marks: Sequence[int] = ()) -> Machine:
        (found,) = machines([self.path], marks, divide=self._divide)
        return found

    @property
    def processes(self) -> set[str]:
        with LedgerReader(self.path) as reader:
            return {call.id[:22] for call in reader.calls()}


def folder() -> TemporaryDirectory[str]:
    """For one example of hypothesis."""
    return TemporaryDirectory()


def nano_of(seconds: float, hourly: int) -> int:
    """What so many seconds of a replica cost, in nano-dollars."""
    return round(round(seconds * NANO) * hourly / (3600 * NANO))
