"""The door to simulated functions inside the process, without Modal's package and in the runtime's time."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hybrid_infer.calls.functions import FunctionName
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.simulator.functions import (
    Deployed,
    FunctionRegistry,
    Input,
    NoSuchFunction,
    Outcome,
    Refusal,
    State,
    Wrong,
)
from hybrid_infer.transport.functions import Cause, FunctionFailure, FunctionTimeout, Notice, Returned

_PLACE = "the simulator"
_LONGEST = 86_400.0
_WRONGS: Final[Mapping[Wrong, Cause]] = {
    "raised": "remote",
    "timeout": "timeout",
    "lost": "lost",
    "out_of_memory": "crashed",
    "init_failed": "crashed",
    "terminated": "crashed",
}
_REFUSALS: Final[Mapping[Refusal, tuple[Cause, str]]] = {
    "permission": ("permission", "You don't have permission to call this function"),
    "exhausted": ("exhausted", "Function input queue is full"),
    "throttled": ("exhausted", "Rate limit exceeded"),
    "unavailable": ("unavailable", "Service unavailable"),
    "internal": ("internal", "Internal error"),
    "invalid": ("invalid", "Invalid input"),
}


class SimulatedFunctions:
    """Carries calls to a registry. Several, in several threads, may share one. See `FunctionTransport`.

    What goes in and out is pickled, as on the way to Modal.

    Args:
        speed: simulated seconds per second of the runtime.
    """

    name = "simulator"

    def __init__(self, registry: FunctionRegistry, *, runtime: Runtime, speed: float = 1.0) -> None:
        self._registry = registry
        self._runtime = runtime
        self._speed = speed

    async def call(
        self,
        name: FunctionName,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        until: float,
        connect: float | None = None,
        notice: Notice | None = None,
    ) -> Returned:
        begun = self._begin(name, args, kwargs, until)
        handle = SimulatedSpawned(self, begun[0].id, begun)
        try:
            return Returned(await handle.get(until), handle.id)
        finally:
            handle.end("cancelled")  # where it is still running

    async def spawn(
        self,
        name: FunctionName,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        until: float,
        connect: float | None = None,
        notice: Notice | None = None,
    ) -> SimulatedSpawned:
        one, outcome = self._begin(name, args, kwargs, until)
        self._registry.spawned[one.id] = one, outcome
        return SimulatedSpawned(self, one.id, (one, outcome))

    async def stream(
        self,
        name: FunctionName,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        until: float,
        connect: float | None = None,
        notice: Notice | None = None,
    ) -> SimulatedItems:
        function = self._find(name, until)
        return SimulatedItems(self, function, _shipped(args), _shipped(dict(kwargs)))

    def spawned(self, id: str) -> SimulatedSpawned:
        return SimulatedSpawned(self, id, self._registry.spawned.get(id))

    async def aclose(self) -> None:
        return None

    def now(self) -> float:
        """Simulated seconds."""
        return self._runtime.now() * self._speed

    async def waited(self, moment: float, until: float) -> bool:
        """Sleep until a simulated moment; False if `until` comes first."""
        while (left := (moment - self.now()) / self._speed) > 0:
            time = until - self._runtime.now()
            if time <= 0:
                return False
            await self._runtime.sleep(min(left, time, _LONGEST))
        return True

    def begun(self, function: Deployed) -> Input:
        """A new input, unless the provider refuses it."""
        refusal = self._registry.refusal(function)
        if refusal is not None:
            cause, message = _REFUSALS[refusal]
            raise FunctionFailure(message, cause=cause, stage="send")
        return self._registry.begin(function, self.now())

    @property
    def registry(self) -> FunctionRegistry:
        return self._registry

    def _find(self, name: FunctionName, until: float) -> Deployed:
        if self._runtime.now() >= until:
            raise FunctionTimeout(stage="connect", place=_PLACE)
        try:
            return self._registry.find(str(name))
        except NoSuchFunction as error:
            message = str(error)
        raise FunctionFailure(message, cause="not_found", stage="look-up")

    def _begin(
        self, name: FunctionName, args: Sequence[Any], kwargs: Mapping[str, Any], until: float
    ) -> tuple[Input, Outcome]:
        function = self._find(name, until)
        if function.generator:
            raise FunctionFailure(f"{name} is a generator", cause="generator", stage="send")
        given, named = _shipped(tuple(args)), _shipped(dict(kwargs))
        one = self.begun(function)
        outcome = self._registry.outcome(function, given, named)
        one.due = one.began + outcome.after
        return one, outcome


class SimulatedSpawned:
    """A call that runs by itself."""

    def __init__(self, door: SimulatedFunctions, id: str, begun: tuple[Input, Outcome] | None) -> None:
        self.id = id
        self._door = door
        self._begun = begun

    async def get(self, until: float) -> Any:
        one, outcome = self._known()
        if one.state != "cancelled" and not await self._door.waited(one.began + outcome.after, until):
            raise FunctionTimeout(stage="wait", place=_PLACE, call_id=self.id)
        if one.state == "cancelled":
            raise FunctionFailure(
                "Function call was cancelled", cause="crashed", stage="wait", call_id=self.id
            )
        self.end("done" if outcome.wrong is None else "failed")
        if outcome.wrong is None:
            return _copied(outcome.value)
        message = outcome.message if outcome.error is None else str(outcome.error)
        raise FunctionFailure(
            message, cause=_WRONGS[outcome.wrong], stage="wait", remote=outcome.error, call_id=self.id
        )

    async def cancel(self, until: float) -> None:
        self.end("cancelled")

    def end(self, state: State) -> None:
        """Where it has not ended: now, or when it was due."""
        door, (one, outcome) = self._door, self._known()
        due = one.began if one.due is None else one.due
        if state == "cancelled" and door.now() >= due:
            state = "done" if outcome.wrong is None else "failed"
        door.registry.end(one, state, min(door.now(), due))

    def _known(self) -> tuple[Input, Outcome]:
        if self._begun is None:
            raise FunctionFailure(f"FunctionCall {self.id} not found", cause="not_found", stage="look-up")
        return self._begun


class SimulatedItems:
    """What a generator yields. As on Modal, it cannot be stopped from outside."""

    stoppable = False

    def __init__(self, door: SimulatedFunctions, function: Deployed, args: Any, kwargs: Any) -> None:
        self._door = door
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._input: Input | None = None
        self._items: Iterator[Any] = iter(())
        self._over = False

    async def next(self, until: float) -> tuple[Any] | None:
        if self._over:
            return None
        door, function = self._door, self._function
        if self._input is None:
            if not function.generator:
                self._over = True
                raise FunctionFailure(f"{function.name} is no generator", cause="not_generator", stage="send")
            self._input = door.begun(function)
            self._items = door.registry.items(function, self._args, self._kwargs)
        lasts = function.lasts(self._args, self._kwargs)
        if not await door.waited(door.now() + lasts, until):
            self.abandon()
            raise FunctionTimeout(stage="wait", place=_PLACE)
        try:
            value = next(self._items)
        except StopIteration:
            self._end("done")
            return None
        except Exception as error:
            self._end("failed")
            failure = FunctionFailure(str(error), cause="remote", stage="wait", remote=error)
        else:
            self._input.items += 1
            return (value,)
        raise failure

    async def aclose(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        if not self._over:
            self._end("left")

    def _end(self, state: State) -> None:
        self._over = True
        if self._input is not None:
            self._door.registry.end(self._input, state, self._door.now())


def _copied(value: Any) -> Any:
    """As it arrives at the other side of a wire."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - bytes that were made on this very line


def _shipped(value: Any) -> Any:
    """An argument, as it arrives at the function."""
    try:
        return _copied(value)
    except Exception as error:
        message = str(error)
    raise FunctionFailure(message, cause="argument", stage="send")
