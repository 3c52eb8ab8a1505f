"""A machine for as long as a block runs: what `client.warmed(…)` gives."""

from __future__ import annotations

from functools import partial
from types import TracebackType

from hybrid_infer.core import Core
from hybrid_infer.endpoints.state import EndpointState, OnEvent
from hybrid_infer.runtime.step import step
from hybrid_infer.warming.machines import Held


class _Block:
    """What is held, of either colour."""

    def __init__(
        self, core: Core, model: str | None, *, replicas: int, timeout: float, on_event: OnEvent | None
    ) -> None:
        self._core = core
        self._hold = partial(
            core.machines.hold, model, replicas=replicas, timeout=timeout, on_event=on_event, why="warmed"
        )
        self._held: Held | None = None


class Warmed(_Block):
    """Use it as ``with client.warmed("assistant") as state:``, once."""

    def __enter__(self) -> EndpointState:
        self._held, state = step(self._hold())
        return state

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held, self._held = self._held, None
        if held is not None:
            machines = self._core.machines
            step(machines.surely(partial(machines.let_go, held)))


class AsyncWarmed(_Block):
    """Use it as ``async with client.warmed("assistant") as state:``, once."""

    async def __aenter__(self) -> EndpointState:
        self._held, state = await self._hold()
        return state

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held, self._held = self._held, None
        if held is not None:
            machines = self._core.machines
            await machines.surely(partial(machines.let_go, held))
