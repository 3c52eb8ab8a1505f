"""A connection belongs to the event loop in which it was opened, and so does what is read from it."""

from __future__ import annotations

import asyncio

from hybrid_infer.errors import EventLoopError


def is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the caller runs in this loop. A coroutine that is collected runs in none."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def check(loop: asyncio.AbstractEventLoop) -> None:
    """Called before an answer of this loop is read on.

    Raises:
        EventLoopError: the caller runs in another loop.
    """
    if not is_running(loop):
        raise EventLoopError(
            "this answer belongs to the event loop in which it was asked for: read it to its end there, "
            "or ask again with a client of this loop"
        )
