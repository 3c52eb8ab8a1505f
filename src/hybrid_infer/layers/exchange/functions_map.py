"""Many calls of one function, a bounded number at a time, their results in the order of the inputs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Generic, TypeVar

from hybrid_infer.runtime.base import Promise, Runtime

In = TypeVar("In")
Out = TypeVar("Out")

_FOREVER = float("inf")


class Mapped(Generic[In, Out]):
    """Draws inputs, and works on `concurrency` of them beside its reader.

    Every input is a call of its own, so limits, retries, budgets, deadlines and costs hold for each. Modal's
    own `map` has none of that: it sends up to a thousand inputs ahead as one call, to be stopped as a whole.

    An error is raised in its turn; the reader may go on after it. `aclose` stops what runs (in threads it
    cannot: there at most `concurrency` calls go on to their end, and their results are dropped).

    Args:
        work: one call.
        concurrency: how many run at a time, at least 1. As many results wait for the reader at most.
    """

    def __init__(
        self,
        runtime: Runtime,
        inputs: Iterable[In],
        work: Callable[[In], Coroutine[Any, Any, Out]],
        *,
        concurrency: int,
    ) -> None:
        self._runtime = runtime
        self._inputs: Iterator[In] = iter(inputs)
        self._work = work
        self._width = max(1, concurrency)
        self._underway: deque[_One[In, Out]] = deque()
        self._over = False

    async def next(self) -> tuple[Out] | None:
        """The next result, in a tuple of one since it may be None; None at the end."""
        while not self._over and len(self._underway) < self._width:
            try:
                one = _One(self._runtime.promise(), next(self._inputs), self._work)
            except StopIteration:
                self._over = True
                break
            self._underway.append(one)
            one.stop = self._runtime.detach(one.run)
            if one.stop is None:  # there is no thread for it
                await one.run()
        if not self._underway:
            return None
        first = self._underway.popleft()
        try:
            await first.done.wait(_FOREVER)
        except BaseException:
            self._underway.appendleft(first)
            self.abandon()
            raise
        return (first.outcome(),)

    async def aclose(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Stop, from a finaliser."""
        self._over = True
        while self._underway:
            one = self._underway.popleft()
            if one.stop is not None:
                one.stop()


class _One(Generic[In, Out]):
    """One input underway."""

    def __init__(self, done: Promise, given: In, work: Callable[[In], Coroutine[Any, Any, Out]]) -> None:
        self.done = done
        self.stop: Callable[[], None] | None = None
        self._given = given
        self._work = work
        self._results: list[Out] = []
        self._error: BaseException | None = None

    async def run(self) -> None:
        try:
            self._results.append(await self._work(self._given))
        except BaseException as error:
            self._error = error
        finally:
            self.done.keep()

    def outcome(self) -> Out:
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._results[0]
