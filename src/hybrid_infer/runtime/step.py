"""Running a coroutine that never suspends, in one step and without an event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from hybrid_infer.errors import ForeignAwaitError

T = TypeVar("T")


def step(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` to its end.

    Raises:
        ForeignAwaitError: it awaited something that suspends. The error is raised at that very `await`, so
            that its traceback names the place.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # StopIteration carries Any
    error = ForeignAwaitError(
        f"the blocking client met an await on {type(awaited).__name__}, which needs an event loop: "
        f"{_place(coroutine)}. Use AsyncClient there, or a blocking counterpart of what is awaited."
    )
    try:
        coroutine.throw(error)
    finally:
        coroutine.close()
    raise error


def _place(coroutine: Any) -> str:
    """File and line of the innermost coroutine that waits."""
    inner = coroutine
    while getattr(getattr(inner, "cr_await", None), "cr_frame", None) is not None:
        inner = inner.cr_await
    frame = inner.cr_frame
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
