"""What Modal's autoscaler is asked and told about one function, class or server, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from hybrid_infer.calls.functions import FunctionName
from hybrid_infer.endpoints.errors import (
    EndpointConflictError,
    EndpointError,
    EndpointForbiddenError,
    EndpointNotFoundError,
    EndpointUnreachableError,
    QuotaError,
)
from hybrid_infer.errors import InvalidCallError
from hybrid_infer.transport.functions import Cause, FunctionFailure, FunctionTimeout

T = TypeVar("T")

ACCOUNT_HINT: Final = (
    "use an account token (ak-…, as-…) with write access to the Modal environment: MODAL_TOKEN_ID and "
    "MODAL_TOKEN_SECRET, or a profile of `modal setup`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledName:
    """A deployed object that is scaled: a function, a class or a server of an app.

    Attributes:
        method: of a class, where one was named; methods are scaled together.
        server: it was named as a `modal.Server`.
    """

    app: str
    tag: str
    method: str | None = None
    server: bool = False

    def __str__(self) -> str:
        return f"{self.app}/{self.tag}" if self.method is None else f"{self.app}/{self.tag}.{self.method}"


def scaled_name(name: FunctionName) -> ScaledName:
    """The object behind a function's name."""
    return ScaledName(app=name.app, tag=name.tag, method=name.method)


def server_name(text: str) -> ScaledName:
    """Read ``"app/Server"``.

    Raises:
        InvalidCallError: it is something else.
    """
    app, slash, tag = text.strip().partition("/")
    if not (slash and app and tag) or any(set(part) & set("/. \t\n") for part in (app, tag)):
        raise InvalidCallError(f"{text!r} does not name a Modal server: write 'app/Server'")
    return ScaledName(app=app, tag=tag, server=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Settings of the autoscaler. `maximum` None: no bound of its own. `window`: seconds a container stays
    up without requests; None is unknown."""

    minimum: int
    maximum: int | None
    window: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runners:
    """What ``get_current_stats()`` counts: inputs that wait, containers, inputs that run.

    Whether containers that still load are among `runners` Modal does not say (docs and package, 1.6.4).
    """

    backlog: int
    runners: int
    inputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What one container asks for, as ``info()`` tells it: GPU, physical cores and GiB; None is unknown.

    Modal bills CPU and memory by what is used, where that is more.
    """

    gpu: str | None
    gpus: int
    cpu: float | None
    memory: float | None
    nonpreemptible: bool = False
    regions: tuple[str, ...] = ()


class Autoscaler(Protocol):
    """Modal's autoscaler, for one object. `until` is `Runtime.now()` at which waiting is over.

    All raise `FunctionFailure` and `FunctionTimeout`; see `refusal`.
    """

    async def bounds(self, until: float) -> Bounds: ...

    async def scale(self, until: float, *, minimum: int, maximum: int | None = None) -> Bounds:
        """Set the minimum, and the maximum where one is given. What is set lasts until the next deploy."""
        ...

    async def runners(self, until: float) -> Runners: ...

    async def container(self, until: float) -> Container: ...

    async def aclose(self) -> None: ...


Connect: TypeAlias = Callable[[], Autoscaler]
"""Makes a new one; it is closed after each operation."""

_KINDS: Final[dict[Cause, tuple[type[EndpointError], str, str | None]]] = {
    "authentication": (EndpointForbiddenError, "the account token is missing or wrong", ACCOUNT_HINT),
    "permission": (EndpointForbiddenError, "the account token may not do this", ACCOUNT_HINT),
    "not_found": (
        EndpointNotFoundError,
        "nothing of this name is deployed",
        "deploy it (`modal deploy`), or correct the name; `modal app list` shows what there is",
    ),
    "conflict": (EndpointConflictError, "it was changed at the same time", None),
    "unavailable": (EndpointUnreachableError, "Modal's control plane cannot at the moment", None),
    "internal": (EndpointUnreachableError, "Modal's control plane failed", None),
    "connection": (EndpointUnreachableError, "Modal's control plane cannot be reached", None),
}


def refusal(error: FunctionFailure | FunctionTimeout, where: str) -> EndpointError:
    """The error in our words."""
    said = str(error)
    if isinstance(error, FunctionTimeout):
        return EndpointUnreachableError(
            "Modal's control plane did not answer in time", where=where, said=said
        )
    if error.cause == "exhausted":
        # A rate and a quota come as the same status (modal 1.6.4); only the words differ.
        rate = "rate" in said.lower() or "throttl" in said.lower()
        if rate:
            return EndpointUnreachableError("Modal throttles the account", where=where, said=said)
        return QuotaError("the account's quota has no room for it", where=where, said=said)
    kind, message, hint = _KINDS.get(error.cause, (EndpointError, "Modal refused it", None))
    return kind(message, where=where, said=said, code=error.cause, hint=hint)


async def scaled(autoscaler: Autoscaler, replicas: int, until: float) -> str | None:
    """Have the autoscaler keep at least so many; says what was done, None where it was so.

    The upper bound is raised where it is in the way.
    """
    before = await autoscaler.bounds(until)
    replicas = max(0, replicas)
    if before.minimum == replicas:
        return None
    raised = before.maximum is not None and before.maximum < replicas
    await autoscaler.scale(until, minimum=replicas, maximum=replicas if raised else None)
    return f"keep at least {replicas}" + (f", and at most {replicas}" if raised else "")


class _Translated:
    """An autoscaler whose failures are errors of our tree."""

    def __init__(self, autoscaler: Autoscaler, where: str) -> None:
        self._autoscaler = autoscaler
        self._where = where

    async def bounds(self, until: float) -> Bounds:
        return await self._asked(self._autoscaler.bounds(until))

    async def scale(self, until: float, *, minimum: int, maximum: int | None = None) -> Bounds:
        return await self._asked(self._autoscaler.scale(until, minimum=minimum, maximum=maximum))

    async def runners(self, until: float) -> Runners:
        return await self._asked(self._autoscaler.runners(until))

    async def container(self, until: float) -> Container:
        return await self._asked(self._autoscaler.container(until))

    async def aclose(self) -> None:
        await self._autoscaler.aclose()

    async def _asked(self, asked: Coroutine[Any, Any, T]) -> T:
        try:
            return await asked
        except (FunctionFailure, FunctionTimeout) as error:
            wrong = refusal(error, self._where)
        raise wrong


def translated(connect: Connect, where: str) -> Autoscaler:
    """A new autoscaler that raises `EndpointError`s."""
    return _Translated(connect(), where)
