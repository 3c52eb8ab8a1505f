"""Background work at the end of a process and around a fork: it is done first, and goes on afterwards."""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar


class InBackground(Protocol):
    """Has a thread of its own, which works on one file.

    `close` does what is to be done and ends the thread, within so many seconds; the next use begins it anew.
    `hold` ends it before a fork: a thread is not there in the child, and what it has open belongs to the
    parent. `go_on` is called after the fork, in the parent.
    """

    def close(self, timeout: float = ...) -> object: ...
    def hold(self) -> None: ...
    def go_on(self) -> None: ...


Thing = TypeVar("Thing", bound=InBackground)


class OnePerFile(Generic[Thing]):
    """What a process has one of for each file.

    Args:
        last_wait: seconds that the end of the process waits for all of them together.
    """

    def __init__(self, last_wait: float) -> None:
        self._last_wait = last_wait
        self._things: dict[Path, Thing] = {}
        atexit.register(self._close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._hold, after_in_parent=self._go_on)

    def at(self, path: str | os.PathLike[str], make: Callable[[Path], Thing]) -> Thing:
        """The one of this file, the same for all who ask."""
        place = Path(path).expanduser().absolute()
        return self._things.setdefault(place, make(place))

    def _close(self) -> None:
        end = time.monotonic() + self._last_wait
        for thing in list(self._things.values()):
            thing.close(max(0.0, end - time.monotonic()))

    def _hold(self) -> None:
        for thing in list(self._things.values()):
            thing.hold()

    def _go_on(self) -> None:
        for thing in list(self._things.values()):
            thing.go_on()


def close_with_worker(close: Callable[[], object]) -> bool:
    """Have `close` called at the end of a process that multiprocessing began: those end without `atexit`, and
    have finalizers of their own. False where this is none."""
    util = sys.modules.get("multiprocessing.util")
    if util is None or sys.modules["multiprocessing.process"].parent_process() is None:
        return False
    util.Finalize(None, close, exitpriority=0)
    return True


def wait_until(true: Callable[[], bool], end: float) -> bool:
    """Whether it became true by `end` on the monotonic clock. Without a lock: a fork may come anywhere."""
    while not true():
        if time.monotonic() >= end:
            return False
        time.sleep(0.001)
    return True
