"""Modal functions as they are named, asked and answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from hybrid_infer.calls.hybrid import Hybrid
from hybrid_infer.errors import InvalidCallError

T = TypeVar("T")

_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionName:
    """A deployed function: its app, and its own name or ``Class.method``.

    Attributes:
        app: the name of the deployed app.
        tag: the name of the function in it; for a method that of its class.
        method: the method, where the function is one.
        environment: the Modal environment; None is that of Modal's own configuration.
    """

    app: str
    tag: str
    method: str | None = None
    environment: str | None = None

    def __str__(self) -> str:
        return f"{self.app}/{self.tag}" if self.method is None else f"{self.app}/{self.tag}.{self.method}"


def function_name(text: object, *, environment: str | None = None) -> FunctionName:
    """Read ``"app/function"`` or ``"app/Class.method"``.

    Raises:
        InvalidCallError: it is neither.
    """
    app, slash, rest = text.strip().partition("/") if isinstance(text, str) else ("", "", "")
    tag, dot, method = rest.partition(".")
    parts = (app, tag, method) if dot else (app, tag)
    if not slash or not all(parts) or any(set(part) & set("/. \t\n") for part in parts):
        raise InvalidCallError(
            f"{_shown(text)} does not name a Modal function: write 'app/function', or 'app/Class.method' for "
            "the method of a class"
        )
    return FunctionName(app=app, tag=tag, method=method or None, environment=environment)


def _shown(text: object) -> str:
    shown = repr(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionAsk:
    """What one call of a function sends."""

    name: FunctionName
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any]


def function_body(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a Call of the operation ``functions``."""
    return {"function": name, "args": list(args), "kwargs": dict(kwargs)}


def function_ask(body: Mapping[str, Any], *, environment: str | None = None) -> FunctionAsk:
    """Read such a body.

    Raises:
        InvalidCallError: it names no function, or its arguments are not a list and a mapping.
    """
    name = function_name(body.get("function"), environment=environment)
    args: Any = body.get("args") or ()
    kwargs: Any = body.get("kwargs") or {}
    if not isinstance(args, list | tuple) or not isinstance(kwargs, Mapping):
        raise InvalidCallError(f"{name}: args is a list and kwargs a mapping")
    return FunctionAsk(
        name=name,
        args=tuple(cast("Sequence[Any]", args)),
        kwargs=cast("Mapping[str, Any]", kwargs),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionReply(Generic[T]):
    """What a function returned, as Python object, and what is known of the call."""

    value: T
    hybrid: Hybrid


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionItem:
    """One item that a generator function yielded: an event of a live reply, and the item may be None."""

    value: Any
