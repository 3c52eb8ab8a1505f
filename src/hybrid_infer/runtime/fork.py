"""What a process does not take over from the one it was forked from."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

_inherited: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def mend_after_fork(thing: T, mend: Callable[[T], None]) -> T:
    """Have `mend(thing)` called in every child process, as long as `thing` lives; returns `thing`.

    `mend` must not hold on to `thing`, or it would never be collected.
    """
    _inherited[thing] = mend
    return thing


def _mend_all() -> None:
    for thing, mend in list(_inherited.items()):
        mend(thing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mend_all)
