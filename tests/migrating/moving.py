"""Simulated providers in the virtual time of one colour, and clients of several processes that move there."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from both import Api, settled
from endpoints.machines import VirtualTasks
from hybrid_infer.aclient import AsyncClient
from hybrid_infer.client import Client
from hybrid_infer.colours import blocking, tasks
from hybrid_infer.core import Core
from hybrid_infer.migrating.report import MigrationReport, Progress
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.virtual import VirtualThreads
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.world import World
from hybrid_infer.warming.machines import Machines

DEDICATED = "together-dedicated/simulated/assistant"
MODAL = "modal/llm"
QUICK: dict[str, Any] = {"dwell": 60.0, "prompts": [{"messages": [{"role": "user", "content": "Why?"}]}]}


class Scene:
    """A world, a clock and clients of one colour."""

    def __init__(self, colour: str, **world: Any) -> None:
        self.colour = colour
        self.runtime: Runtime = VirtualThreads() if colour == "sync" else VirtualTasks()
        self.runtime.check()
        self.world = World(**world)
        self.progress: list[Progress] = []

    def client(self, mode: str, **settings: Any) -> Api:
        """A client as a process of its own would have it."""
        given = {"mode": mode, "simulate": True, "simulate_speed": 1.0, **settings}
        loaded = Settings.load(given, environ={})
        colour = replace(blocking() if self.colour == "sync" else tasks(), runtime=self.runtime)
        kind: Any = Client if self.colour == "sync" else AsyncClient
        client = object.__new__(kind)
        client._core, client._defaults = Core(loaded, colour, None, None, self.world), {}
        return Api(client, self.runtime)

    async def move(self, api: Api, target: str | None = None, **options: Any) -> MigrationReport:
        report: MigrationReport = await settled(
            api.client.migrate(target, on_progress=self.progress.append, **options)
        )
        return report

    async def minimum(self, machine: str) -> int:
        """At the provider, whoever asks."""
        api = self.client("together-serverless")
        mode = machine.partition("/")[0]
        found = machines_of(api).finder.find(None, mode)  # type: ignore[arg-type] # a mode
        assert found is not None
        minimum = await found.endpoint.minimum()
        await api.close()
        return minimum

    async def store(self) -> Any:
        api = self.client("together-serverless")
        return machines_of(api).keeper.store

    def started(self) -> int:
        """Seconds of machine time that both machines were billed for so far."""
        invoice = self.world.invoice(self.runtime.now())
        return round(sum(use.seconds for use in invoice.dedicated) + invoice.modal.seconds)


def machines_of(api: Api) -> Machines:
    machines: Machines = api.client._core.machines
    return machines


def every(
    api: Api, seconds: float, count: int, found: list[Any], **options: Any
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Bodies that ask one after the other, `seconds` apart; what each comes to goes into `found`."""

    async def body(number: int) -> None:
        await api.runtime.sleep(number * seconds)
        try:
            found.append(await api.create(timeout=3600, **options))
        except Exception as error:
            found.append(error)

    return [lambda number=number: body(number) for number in range(count)]  # type: ignore[misc] # one each
