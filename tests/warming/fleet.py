"""Clients of one colour that share simulated providers, as processes share the real ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from both import Api
from hybrid_infer.aclient import AsyncClient
from hybrid_infer.client import Client
from hybrid_infer.colours import blocking, tasks
from hybrid_infer.core import Core
from hybrid_infer.hooks import HOOKS, HookEvent
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import EPOCH, VirtualThreads
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.world import World

DEDICATED = "together-dedicated/simulated/assistant"
MODAL = "modal/llm"
NAMES = {"together-dedicated": DEDICATED, "modal": MODAL}


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class VirtualTasks(TaskRuntime):
    """Tasks on whose wall the clock of the loop hangs."""

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now())


class Fleet:
    """A world in virtual time, and clients that act as processes of their own: each has its own leases."""

    def __init__(self, colour: str, **plans: Any) -> None:
        self.colour = colour
        self.world = World(**{"dedicated": "stopped", **plans})
        self._threads = VirtualThreads()
        self.runtime = self._runtime()
        self.runtime.check()

    def _runtime(self) -> Runtime:
        return VirtualTasks() if self.colour == "async" else self._threads

    def client(self, **settings: Any) -> Api:
        runtime = self._runtime()
        loaded = Settings.load({"simulate": True, **settings}, environ={})
        colour = replace(tasks() if self.colour == "async" else blocking(), runtime=runtime)
        core = Core(loaded, colour, None, None, self.world)
        client: Any = object.__new__(AsyncClient if self.colour == "async" else Client)
        client._core, client._defaults = core, {}
        return Api(client, runtime)

    def ready(self) -> int:
        """Replicas of the dedicated endpoint that answer now."""
        return sum(one.state == "READY" for one in self.world.machines(self.runtime.now()).endpoints)

    def billed(self, mode: str) -> float:
        """Seconds that the provider bills so far."""
        invoice = self.world.invoice(self.runtime.now())
        return invoice.modal.seconds if mode == "modal" else sum(use.seconds for use in invoice.dedicated)


class Within:
    """`client.warmed(…)` of either colour, as an ``async with``."""

    def __init__(self, api: Api, *args: Any, **options: Any) -> None:
        self._context = api.client.warmed(*args, **options)

    async def __aenter__(self) -> Any:
        enter: Callable[..., Any] = getattr(self._context, "__enter__", None) or self._context.__aenter__
        return await settled(enter())

    async def __aexit__(self, *raised: Any) -> None:
        leave: Callable[..., Any] = getattr(self._context, "__exit__", None) or self._context.__aexit__
        await settled(leave(*raised))


def told(api: Api) -> list[HookEvent]:
    """Everything that the hooks of a client are told from now on."""
    events: list[HookEvent] = []
    for name in HOOKS:
        getattr(api.client.hooks, name)(events.append)
    return events


def begin(api: Api, work: Callable[[], Any]) -> None:
    """Do a call of the client beside the test."""

    async def beside() -> None:
        await settled(work())

    assert api.runtime.detach(beside) is not None
