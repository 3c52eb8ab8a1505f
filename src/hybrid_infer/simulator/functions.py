"""Deployed functions of a simulated Modal, and what became of their calls. Pure: `now` is an argument."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

Wrong = Literal["raised", "timeout", "lost", "out_of_memory", "init_failed", "terminated"]
"""How an input ends that does not return: its code raised, it ran over its own limit, its worker went away,
the kernel killed it, its container did not start, or it was cancelled."""

Refusal = Literal["permission", "exhausted", "unavailable", "internal", "invalid", "throttled"]
"""How the provider refuses an input."""

State = Literal["running", "done", "failed", "cancelled", "left"]
"""``left``: a generator whose reader went away; what it costs after that nobody knows."""

_NAME = re.compile(r"[^/.\s]+/[^/.\s]+(\.[^/.\s]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One deployed function.

    Attributes:
        name: ``"app/function"`` or ``"app/Class.method"``.
        run: what it does; for a generator, what gives its items.
        generator: whether it is one.
        seconds: how long an input runs, or how long each item of a generator takes; a number, or a function
            of the arguments.
        timeout: its own limit in seconds.
        ends: how its inputs end instead of returning.
        refuses: how the provider refuses its inputs, and how many of them; None is all.
        gpu, gpus: the machine that its seconds are billed at.
    """

    name: str
    run: Callable[..., Any]
    generator: bool = False
    seconds: float | Callable[..., float] = 0.0
    timeout: float = 300.0
    ends: Wrong | None = None
    refuses: Refusal | None = None
    refusals: int | None = None
    gpu: str | None = None
    gpus: int = 1

    @property
    def app(self) -> str:
        return self.name.partition("/")[0]

    @property
    def tag(self) -> str:
        """What stands behind the app."""
        return self.name.partition("/")[2]

    def lasts(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> float:
        """Seconds that an input with these arguments runs, or that each item takes."""
        return self.seconds(*args, **kwargs) if callable(self.seconds) else self.seconds


@dataclass(slots=True, kw_only=True)
class Input:
    """One call of a function, as the simulated provider knows it. Times are those given as `now`."""

    id: str
    function: Deployed
    began: float
    ended: float | None = None
    state: State = "running"
    due: float | None = None
    """When it will have ended, where that is known."""
    items: int = 0
    """How many a generator has given."""

    def seconds(self, now: float) -> float:
        """How long it ran, or has run so far: what is billed."""
        end = now if self.ended is None else self.ended
        return (end if self.due is None else min(end, self.due)) - self.began


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What comes of an input: a value, or how it went wrong. `after` is in seconds from its beginning."""

    after: float
    value: Any = None
    wrong: Wrong | None = None
    error: BaseException | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUse:
    """What the inputs of one function are billed for: the seconds they ran."""

    name: str
    inputs: int
    seconds: float
    gpu: str | None
    gpus: int


class NoSuchFunction(LookupError):
    """Nothing of that name is deployed; says what is."""


@dataclass(kw_only=True)
class FunctionRegistry:
    """What is deployed, and every input that came.

    Args:
        defaults: whether the functions of `default_functions` are there.
    """

    defaults: bool = True
    deployed: dict[str, Deployed] = field(default_factory=dict[str, Deployed])
    inputs: list[Input] = field(default_factory=list[Input])
    refused: dict[str, int] = field(default_factory=dict[str, int])
    spawned: dict[str, tuple[Input, Outcome]] = field(default_factory=dict[str, "tuple[Input, Outcome]"])
    """Calls that run by themselves inside the process, by id."""

    def __post_init__(self) -> None:
        self._numbers = count(1)
        if self.defaults:
            from hybrid_infer.simulator.function_defaults import default_functions

            for function in default_functions():
                self.deployed.setdefault(function.name, function)

    def deploy(self, name: str, run: Callable[..., Any], **options: Any) -> Deployed:
        """Deploy a callable of your own under ``"app/function"`` or ``"app/Class.method"``.

        Args:
            options: the fields of `Deployed`; whether it is a generator is seen from `run`.

        Raises:
            ValueError: the name is not one.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not 'app/function' or 'app/Class.method'")
        generator = options.pop("generator", inspect.isgeneratorfunction(run))
        function = Deployed(name=name, run=run, generator=generator, **options)
        self.deployed[name] = function
        return function

    def find(self, name: str) -> Deployed:
        """The function of that name.

        Raises:
            NoSuchFunction: there is none.
        """
        found = self.deployed.get(name)
        if found is None:
            app = name.partition("/")[0]
            there = [known.tag for known in self.deployed.values() if known.app == app]
            hint = f"app {app!r} has {', '.join(there)}" if there else f"no app {app!r} is deployed"
            raise NoSuchFunction(f"{name} is not deployed; {hint}")
        return found

    def methods(self, app: str, cls: str) -> tuple[Deployed, ...]:
        """The methods of a class."""
        return tuple(one for one in self.deployed.values() if one.name.startswith(f"{app}/{cls}."))

    def refusal(self, function: Deployed) -> Refusal | None:
        """How the provider refuses the next input, if it does. Each refusal counts."""
        so_far = self.refused.get(function.name, 0)
        if function.refuses is None or (function.refusals is not None and so_far >= function.refusals):
            return None
        self.refused[function.name] = so_far + 1
        return function.refuses

    def begin(self, function: Deployed, now: float) -> Input:
        """An input arrives, and runs."""
        one = Input(id=f"fc-{next(self._numbers):08d}", function=function, began=now)
        self.inputs.append(one)
        return one

    def outcome(self, function: Deployed, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Outcome:
        """Run a plain function, and say when its caller hears of it."""
        lasts = function.lasts(args, kwargs)
        if function.ends is not None or lasts > function.timeout:
            return _ended(function, lasts)
        try:
            return Outcome(after=lasts, value=function.run(*args, **kwargs))
        except Exception as error:
            return Outcome(
                after=lasts, wrong="raised", error=error, message=f"{type(error).__name__}: {error}"
            )

    def items(self, function: Deployed, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Any]:
        """What a generator gives, one by one; each takes `Deployed.lasts` seconds."""
        return iter(function.run(*args, **kwargs))

    def end(self, one: Input, state: State, now: float) -> None:
        """An input ends; only its first end counts."""
        if one.state == "running":
            one.state, one.ended = state, now

    def find_input(self, id: str) -> Input | None:
        """The input of that id."""
        return next((one for one in self.inputs if one.id == id), None)

    def running(self) -> tuple[Input, ...]:
        """The inputs that run now, and cost."""
        return tuple(one for one in self.inputs if one.state == "running")

    def use(self, now: float) -> tuple[FunctionUse, ...]:
        """What is billed until `now`, for each function that was called."""
        used: dict[str, list[Input]] = {}
        for one in self.inputs:
            used.setdefault(one.function.name, []).append(one)
        return tuple(
            FunctionUse(
                name=name,
                inputs=len(inputs),
                seconds=sum(one.seconds(now) for one in inputs),
                gpu=inputs[0].function.gpu,
                gpus=inputs[0].function.gpus,
            )
            for name, inputs in used.items()
        )


def _ended(function: Deployed, lasts: float) -> Outcome:
    if function.ends is None or function.ends == "timeout":
        return Outcome(
            after=min(lasts or function.timeout, function.timeout),
            wrong="timeout",
            message=f"Task's current input hit its timeout of {function.timeout:g}s",
        )
    said = {
        "raised": "it raised",
        "lost": "The worker running this input was preempted",
        "out_of_memory": "Container ran out of memory and was killed by the kernel",
        "init_failed": "Container failed to start: the image's entrypoint exited with 1",
        "terminated": "Function call was cancelled",
    }
    return Outcome(after=lasts, wrong=function.ends, message=said[function.ends])
