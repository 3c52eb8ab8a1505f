"""What only a collection of garbage would free: what the work of a block leaves in reference cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

ROUNDS = 3
"""Threads that other tests left behind may make garbage meanwhile, but not in every round."""


@contextmanager
def counted(found: list[int]) -> Iterator[None]:
    """Appends how many objects a collection finds after the block."""
    gc.collect()
    gc.disable()
    try:
        yield
        found.append(gc.collect())
    finally:
        gc.enable()
