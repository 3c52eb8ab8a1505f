"""Calling deployed functions: what carries a call to them, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from hybrid_infer.calls.functions import FunctionName

Cause = Literal[
    "connection",
    "authentication",
    "permission",
    "not_found",
    "invalid",
    "conflict",
    "exhausted",
    "unavailable",
    "internal",
    "generator",
    "not_generator",
    "argument",
    "result",
    "expired",
    "remote",
    "timeout",
    "lost",
    "crashed",
    "closed",
]
"""What went wrong, in words that are no library's:

- connection: no way to the provider, or the way was lost;
- authentication, permission, not_found, invalid, conflict: the provider refuses the request;
- exhausted: a quota or a rate of the account;
- unavailable, internal: the provider failed;
- generator: the function is one, and was called like a plain function; not_generator: the other way round;
- argument, result: this process cannot write the one, or read the other;
- expired: the result is no longer kept;
- remote: the function's own code raised; timeout: it ran longer than its own limit;
- lost: the machine under it went away; crashed: its container could not start, or was stopped;
- closed: this side closed the transport.
"""

Notice: TypeAlias = Callable[[str], None]

Stage = Literal["connect", "look-up", "send", "wait", "cancel"]
"""How far a call has come: opening the connection, finding the function, sending the input, waiting for what
comes of it; or that it is being cancelled. Nothing runs, and nothing is billed, before ``send``."""


class FunctionFailure(Exception):
    """The call did not end well. Free of credentials."""

    def __init__(
        self,
        message: str,
        *,
        cause: Cause,
        stage: Stage,
        remote: BaseException | None = None,
        call_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.cause: Cause = cause
        self.stage: Stage = stage
        self.remote = remote
        self.call_id = call_id


class FunctionTimeout(Exception):
    """The moment given as `until`, or the connect timeout, passed."""

    def __init__(self, *, stage: Stage, place: str, call_id: str | None = None) -> None:
        doing = {
            "connect": f"no connection to {place}",
            "look-up": f"{place} did not say in time where the function is",
            "send": f"{place} did not take the input in time",
            "wait": "the function did not answer in time",
            "cancel": f"{place} did not confirm in time that the call is cancelled",
        }
        super().__init__(doing[stage])
        self.stage: Stage = stage
        self.call_id = call_id


class Returned(NamedTuple):
    """What a function returned, and the provider's id of the call."""

    value: Any
    call_id: str


class Items(Protocol):
    """What a generator function yields, one by one."""

    async def next(self, until: float) -> tuple[Any] | None:
        """The next item, in a tuple of one since it may be None; None at the end.

        Raises:
            FunctionTimeout: `until` passed. The stream cannot be read on.
            FunctionFailure: it broke, or the function raised.
        """
        ...

    async def aclose(self) -> None:
        """Stop reading."""
        ...

    def abandon(self) -> None:
        """Stop reading, from a finaliser: takes no lock, waits for nothing."""
        ...

    @property
    def stoppable(self) -> bool:
        """Whether closing stops the function, too."""
        ...


class Spawned(Protocol):
    """A call that runs by itself."""

    @property
    def id(self) -> str:
        """The provider's id of the call."""
        ...

    async def get(self, until: float) -> Any:
        """What it returned; as often as one likes, while the provider keeps it.

        Raises:
            FunctionTimeout: it is not ready. It goes on, and may be asked again.
            FunctionFailure: it did not end well.
        """
        ...

    async def cancel(self, until: float) -> None:
        """Stop it; what runs is interrupted, what waits in the queue never runs."""
        ...


class FunctionTransport(Protocol):
    """Carries calls to functions. With a blocking runtime it never suspends; with tasks it is awaited.

    `until` is `Runtime.now()` at which waiting is over, over connecting, finding the function, sending and
    waiting. `connect` is the seconds that opening a connection may take. `notice` is told, from any thread,
    what happened on the way that the outcome does not show. When a call's time is over, when its task is
    cancelled or its thread interrupted, the input is cancelled at the provider.
    """

    name: str
    """What carries the calls, for `describe()`."""

    async def call(
        self,
        name: FunctionName,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        until: float,
        connect: float | None = None,
        notice: Notice | None = None,
    ) -> Returned: ...

    async def spawn(
        self,
        name: FunctionName,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        until: float,
        connect: float | None = None,
        notice: Notice | None = None,
    ) -> Spawned: ...

    async def stream(
        self,
        name: FunctionName,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        until: float,
        connect: float | None = None,
        notice: Notice | None = None,
    ) -> Items:
        """Begin to read what a generator yields. Nothing is sent before the first `next`."""
        ...

    def spawned(self, id: str) -> Spawned:
        """The handle of a call made earlier, maybe by another process."""
        ...

    async def aclose(self) -> None: ...
