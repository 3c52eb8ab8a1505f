"""What this process wrote to Together's control plane, so that a read that is late is not believed. Pure.

A read after a write may show the state before it for some seconds: a list without what was just made, a
deployment that was not scaled, an endpoint that was deleted. What a write returned is newer than a read that
shows the etag from before that write.
"""

from __future__ import annotations

import math

from hybrid_infer.endpoints.together_view import Deployment, View
from hybrid_infer.runtime.base import Guard

LATE = 60.0
"""Seconds for which a read that does not show what was made is a late one, also after one that did."""


class Memory:
    """Of one endpoint. Several operations, in several threads, may share it.

    Args:
        guard: a lock of its own.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._view: View | None = None
        self._deployments: dict[str, Deployment] = {}
        self._old: dict[str, set[str]] = {}
        self._new: dict[str, float] = {}
        self._deleted: set[str] = set()

    def made(self, what: View | Deployment, now: float) -> None:
        """Made at `now`: reads may not show it for a while."""
        with self._guard:
            self._new[what.id] = now
            self._keep(what)

    def wrote(self, before: View | Deployment, now: View | Deployment) -> None:
        """Changed: what reads with the etag of `before` show is `now`."""
        with self._guard:
            if before.etag is not None and before.etag != now.etag:
                self._old.setdefault(now.id, set()).add(before.etag)
            self._keep(now)

    def deleted(self, id: str) -> None:
        """Gone, whatever reads show."""
        with self._guard:
            self._deleted.add(id)

    def endpoint(self, read: View | None, now: float) -> View | None:
        """The endpoint, better known than by a read (without its deployments)."""
        with self._guard:
            if read is None:
                kept = self._view
                if kept is None or kept.id in self._deleted or not self._is_new(kept.id, now):
                    return None
                return kept
            if read.id in self._deleted:
                return None
            kept = self._view if self._view is not None and self._view.id == read.id else None
            if kept is not None and read.etag in self._old.get(read.id, ()):
                return kept
            return read

    def deployments(self, read: tuple[Deployment, ...], now: float) -> tuple[Deployment, ...]:
        """The deployments, better known than by a read."""
        with self._guard:
            known = {each.id: each for each in read}
            for id, kept in self._deployments.items():
                shown = known.get(id)
                late = shown is not None and shown.etag in self._old.get(id, ())
                if late or (shown is None and self._is_new(id, now)):
                    known[id] = kept
            return tuple(each for id, each in known.items() if id not in self._deleted)

    def _is_new(self, id: str, now: float) -> bool:
        return now - self._new.get(id, -math.inf) < LATE

    def _keep(self, what: View | Deployment) -> None:
        if isinstance(what, View):
            self._view = what
        else:
            self._deployments[what.id] = what
