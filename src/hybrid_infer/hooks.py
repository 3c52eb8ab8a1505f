"""Hooks: functions of the user's that are told when a machine or the way of the calls changes.

Decorators on a client register them (``@client.hooks.on_ready``), and settings name them (``[hooks]``, with
``package.module:function``). What a hook raises is logged and counted, and never fails a call.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

from hybrid_infer.calls.call import ModeChoice
from hybrid_infer.errors import ConfigurationError, InvalidCallError
from hybrid_infer.runtime.base import Guard
from hybrid_infer.settings import Settings
from hybrid_infer.settings.wording import as_written, quoted

log = logging.getLogger("hybrid_infer")

HookName = Literal[
    "before_warm",
    "after_warm",
    "on_cold_start",
    "on_ready",
    "on_idle",
    "before_stop",
    "on_switch",
    "on_overflow",
]
HOOKS: tuple[HookName, ...] = get_args(HookName)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEvent:
    """What a hook is told. What does not apply is None.

    Attributes:
        name: of the hook, e.g. ``"on_ready"``.
        at: when it happened (UTC).
        mode: where it happened; of `on_switch` the new mode.
        before: of `on_switch`, the mode before it.
        model: the name that the application uses, or else the provider's.
        target: the machine: mode and model, as `reply.hybrid.target`, e.g. ``"modal/llm"``.
        seconds: what it took: of `on_ready` since the machine was found cold, of `after_warm` since it began,
            of `on_idle` since the last call, of `on_overflow` (when it ends) since it began.
        overflowing: of `on_overflow`, whether it begins or ends.
        reason: why, in one line; empty where there is nothing to say.
        state: what the provider says of the machine (an `EndpointState`), where it was asked.
    """

    name: HookName
    at: datetime
    mode: ModeChoice | None = None
    before: ModeChoice | None = None
    model: str | None = None
    target: str | None = None
    seconds: float | None = None
    overflowing: bool | None = None
    reason: str = ""
    state: Any = None


Hook: TypeAlias = Callable[[HookEvent], object]
F = TypeVar("F", bound=Hook)


class _Firing:
    """One firing, as what runs within it sees it; tasks that outlive it are within it no longer."""

    __slots__ = ("name", "outer", "running")

    def __init__(self, name: HookName, outer: _Firing | None) -> None:
        self.name = name
        self.outer = outer
        self.running = True


_within: ContextVar[_Firing | None] = ContextVar("hybrid_infer_hook", default=None)


class Hooks:
    """The hooks of a client and of its copies (`with_options`), called in the order they were registered.

    Each of the methods named as a hook registers a function of one `HookEvent`, and returns it: it may be
    used as a decorator. A function is registered once, however often it is given.

    In `AsyncClient` a hook may be `async`; one that is not is called in the event loop, so it has to be
    quick. In `Client` it is called in the thread in which it happens. In both, whatever it happens in goes on
    when the hook has ended.

    Raises:
        InvalidCallError: what is registered cannot be called, is a generator, or is `async` in `Client`.
    """

    def __init__(self, guard: Guard, *, takes_async: bool) -> None:
        self._guard = guard
        self._takes_async = takes_async
        self._functions: dict[HookName, list[Hook]] = {name: [] for name in HOOKS}
        self._failures: dict[HookName, int] = {}

    def before_warm(self, function: F) -> F:
        """Before a machine is brought up: `target`, `mode`, `model`, `state`."""
        return self._register("before_warm", function)

    def after_warm(self, function: F) -> F:
        """It answers, `seconds` after that began; or it does not, and `reason` says why."""
        return self._register("after_warm", function)

    def on_cold_start(self, function: F) -> F:
        """A call found the machine cold: once, until it is up again. `reason` has the provider's words."""
        return self._register("on_cold_start", function)

    def on_ready(self, function: F) -> F:
        """The first call was answered after that, `seconds` after the machine was found cold."""
        return self._register("on_ready", function)

    def on_idle(self, function: F) -> F:
        """No call came for `seconds`."""
        return self._register("on_idle", function)

    def before_stop(self, function: F) -> F:
        """Before a machine is stopped."""
        return self._register("before_stop", function)

    def on_switch(self, function: F) -> F:
        """New calls go to `mode`, and no longer to `before`."""
        return self._register("on_switch", function)

    def on_overflow(self, function: F) -> F:
        """In mode ``hybrid`` calls begin to overflow to `target`, or (not `overflowing`) have ceased to."""
        return self._register("on_overflow", function)

    @property
    def failures(self) -> Mapping[HookName, int]:
        """How often hooks of each name failed, of those that did."""
        with self._guard:
            return dict(self._failures)

    def wants(self, name: HookName) -> bool:
        """Whether there is a hook of this name, to spare the making of an event that nobody is told."""
        return bool(self._functions[name])

    async def fire(self, event: HookEvent) -> None:
        """Call the hooks of `event.name`, one after another; `async` ones are awaited.

        In the blocking client this never suspends. An event of the same name from within is dropped, with a
        warning: a hook may call the client.
        """
        functions = self._functions[event.name]
        if not functions:
            return
        outer = _within.get()
        if _running(outer, event.name):
            log.warning("%s happened within a hook of that name; no hook is called", event.name)
            return
        firing = _Firing(event.name, outer)
        token = _within.set(firing)
        try:
            for function in tuple(functions):
                try:
                    result = function(event)
                    if inspect.isawaitable(result):
                        await self._awaitable(result)
                except Exception:
                    self._failed(event.name, function)
        finally:
            firing.running = False
            try:
                _within.reset(token)
            except ValueError:
                pass  # closed by the garbage collector, in another context

    def _awaitable(self, result: Any) -> Any:
        if self._takes_async:
            return result
        if inspect.iscoroutine(result):
            result.close()  # else Python warns that it was never awaited
        raise InvalidCallError("the hook returned something to be awaited; use AsyncClient for that")

    def _failed(self, name: HookName, function: Hook) -> None:
        with self._guard:
            self._failures[name] = self._failures.get(name, 0) + 1
        log.warning("hook %s failed: %s", name, _called(function), exc_info=True)

    def _register(self, name: HookName, function: F) -> F:
        refusal = self.refusal(function)
        if refusal is not None:
            raise InvalidCallError(f"hooks.{name}: {_called(function)} {refusal}")
        if function not in self._functions[name]:
            self._functions[name].append(function)
        return function

    def refusal(self, function: object) -> str | None:
        """Why this cannot be a hook of this client, to be put after its name; None where it can."""
        if not callable(function):
            return "is no function"
        code = (function, type(function).__call__)
        if any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in code):
            return "is a generator: to call it does nothing; give a function without yield"
        if not self._takes_async and any(inspect.iscoroutinefunction(one) for one in code):
            return "is async, and Client has no event loop; give a plain function, or use AsyncClient"
        return None


def _running(firing: _Firing | None, name: HookName) -> bool:
    while firing is not None:
        if firing.running and firing.name == name:
            return True
        firing = firing.outer
    return False


def _called(function: object) -> str:
    """What a function is called, for messages."""
    name = getattr(function, "__qualname__", None)
    return f"{getattr(function, '__module__', '?')}.{name}" if isinstance(name, str) else repr(function)


def hooks_of(settings: Settings, guard: Guard, *, takes_async: bool) -> Hooks:
    """The hooks that the settings name, imported.

    Raises:
        ConfigurationError: naming each that cannot be imported, or cannot be a hook of this client.
    """
    hooks, problems = Hooks(guard, takes_async=takes_async), list[str]()
    for name in HOOKS:
        for written in cast("tuple[str, ...]", getattr(settings.hooks, name)):
            function, problem = _imported(written)
            if problem is None and (refusal := hooks.refusal(function)) is not None:
                problem = f"it {refusal}"
            if problem is None:
                getattr(hooks, name)(function)
            else:
                where = as_written(f"hooks.{name}", settings.sources[f"hooks.{name}"])
                problems.append(f"{where}={quoted(written)}: {problem}; {_ALLOWED}")
    if problems:
        raise ConfigurationError(problems)
    return hooks


_ALLOWED = "must be package.module:function, a function that takes one HookEvent"


def _imported(written: str) -> tuple[object, str | None]:
    """What ``package.module:function`` stands for, or why there is no such thing."""
    module, _, path = written.partition(":")
    try:
        found: object = import_module(module)
    except Exception as error:  # it runs code of the user's, which may raise anything
        return None, f"{module} cannot be imported: {type(error).__name__}: {error}"
    for step in path.split("."):
        try:
            found = getattr(found, step)
        except AttributeError:
            return None, f"{module} has no {path} (where it makes the client itself: define it above that)"
    return found, None
