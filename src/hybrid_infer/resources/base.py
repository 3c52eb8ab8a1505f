"""What the resources of each client stand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybrid_infer.calls.call import Call
from hybrid_infer.core import Core
from hybrid_infer.runtime.step import step
from hybrid_infer.streams import AsyncStream, Stream


class Resource:
    """Some of the methods of `Client`, with the client's own defaults."""

    def __init__(self, core: Core, defaults: Mapping[str, Any]) -> None:
        self._core, self._defaults = core, defaults

    def _answer(self, call: Call) -> Any:
        return step(self._core.run(call)).value

    def _stream(self, call: Call) -> Stream[Any, Any]:
        return Stream(call, step(self._core.run(call)))


class AsyncResource:
    """Some of the methods of `AsyncClient`, with the client's own defaults."""

    def __init__(self, core: Core, defaults: Mapping[str, Any]) -> None:
        self._core, self._defaults = core, defaults

    async def _answer(self, call: Call) -> Any:
        return (await self._core.run(call)).value

    async def _stream(self, call: Call) -> AsyncStream[Any, Any]:
        return AsyncStream(call, await self._core.run(call))
