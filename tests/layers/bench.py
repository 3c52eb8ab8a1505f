"""One layer under a test: callers of either colour above it, a scripted machine below it, virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from hybrid_infer.calls.call import Call, Priority, Service, Target
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.reply import Facts, Reply
from hybrid_infer.layers.base import Layer, stack
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.tasks import TaskRuntime
from hybrid_infer.runtime.virtual import VirtualThreads

Work: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]

TARGET = Target(
    name="modal/llm", mode="modal", provider="modal", model="llm", host="acme.modal.direct", port=443,
    basis="machine-time",
)  # fmt: skip


def ask(
    *,
    until: float = float("inf"),
    priority: Priority | None = None,
    purpose: str | None = None,
    **body: Any,
) -> Call:
    return Call(operation="chat", model=None, body=body, until=until, priority=priority, purpose=purpose)


class Stream:
    """What a live reply draws from: `events` of them, `every` seconds apart, then `error` or a proper end."""

    def __init__(
        self, runtime: Runtime, *, events: int = 3, every: float = 1.0, error: Exception | None = None
    ) -> None:
        self._runtime = runtime
        self._left = events
        self._every = every
        self._error = error

    async def next(self) -> Any | None:
        if not self._left:
            if self._error is not None:
                raise self._error
            return None
        self._left -= 1
        await self._runtime.sleep(self._every)
        return "event"

    def final(self) -> Any:
        return None

    async def aclose(self) -> None: ...

    def abandon(self) -> None: ...


class Machine:
    """Answers after `seconds`, or with what `outcome` says: an error, or a reply of its own.

    Attributes:
        began: the moments at which it was asked.
        most: calls at a time, at most, until their answers.
    """

    def __init__(self, runtime: Runtime, *, seconds: float = 1.0, usage: Usage | None = None) -> None:
        self.runtime = runtime
        self.seconds = seconds
        self.usage = usage
        self.outcome: Callable[[], Reply | Exception | None] = lambda: None
        self.began: list[float] = []
        self.asked: list[Call] = []
        self.inside = 0
        self.most = 0

    async def __call__(self, call: Call) -> Reply:
        self.began.append(self.runtime.now())
        self.asked.append(call)
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.runtime.sleep(self.seconds)
        finally:
            self.inside -= 1
        outcome = self.outcome()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome or Reply("answer", facts=Facts(usage=self.usage))


class Bench:
    """A runtime of one colour, and what runs several callers in it."""

    def __init__(self, colour: str, threads: VirtualThreads | None = None) -> None:
        self.colour = colour
        self.runtime: Any = TaskRuntime() if colour == "async" else threads or VirtualThreads()

    def machine(self, *, seconds: float = 1.0, usage: Usage | None = None) -> Machine:
        self.runtime.check()
        return Machine(self.runtime, seconds=seconds, usage=usage)

    def serve(self, layer: Layer, machine: Service) -> Service:
        self.runtime.check()
        return stack([layer], machine)

    async def together(self, *works: Work) -> list[Any]:
        """What each of them comes to: its result, or the error it raised."""

        async def outcome(work: Work) -> Any:
            try:
                return await work()
            except Exception as error:
                return error

        if self.colour == "async":
            return list(await asyncio.gather(*(outcome(work) for work in works)))
        results: list[Any] = self.runtime.run(*[lambda work=work: step(outcome(work)) for work in works])
        return results

    async def later(self, seconds: float, work: Work) -> Any:
        await self.runtime.sleep(seconds)
        return await work()


async def read(reply: Reply) -> None:
    """Take a stream to its end."""
    while await reply.next() is not None:
        pass
    await reply.aclose()
