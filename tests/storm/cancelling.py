"""Giving a call up at every point where it waits, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from hybrid_infer.runtime.virtual import VirtualLoop

T = TypeVar("T")


@dataclass(slots=True)
class Knife:
    """Cancels `victim` at the beginning of the loop's round number `at`, counted from when it is drawn."""

    at: int
    victim: asyncio.Task[Any] | None = None
    rounds: int = 0
    cut: float | None = None
    """When it fell; None if the victim had ended by then."""

    def round(self, now: float) -> None:
        victim = self.victim
        if victim is None or victim.done():
            return
        if self.rounds == self.at:
            self.cut = now
            victim.cancel()
        self.rounds += 1


def run(knife: Knife, main: Coroutine[Any, Any, T]) -> T:
    """As `virtual.run`, with the knife at work."""

    def new_loop() -> VirtualLoop:
        loop = VirtualLoop()
        selector: Any = loop._jumping
        wait = selector.select

        def select(timeout: float | None = None) -> Any:
            before = len(loop._ready)  # type: ignore[attr-defined]  # the queue of asyncio's own loops
            knife.round(loop.time())
            return wait(0 if len(loop._ready) > before else timeout)  # type: ignore[attr-defined]  # as above

        selector.select = select
        return loop

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)


def at_every_step(attempt: Callable[[Knife], Coroutine[Any, Any, None]], *, most: int = 500) -> int:
    """Run `attempt` again and again, each time cut one round later, until it ends uncut; how many rounds."""
    for at in range(most):
        knife = Knife(at)
        run(knife, attempt(knife))
        if knife.cut is None:
            return at
    raise AssertionError(f"not at its end after {most} rounds")
