"""What is in a cache, added up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The entries of one operation at one target.

    Attributes:
        bytes: of the answers themselves.
        saved_nano: nano-dollars that one hit on each of them saves, of those where it is known.
        saved_unknown: for how many it is not.
    """

    operation: str
    target: str
    entries: int
    bytes: int
    saved_nano: int
    saved_unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A cache at one moment.

    Attributes:
        groups: the largest first.
        oldest, newest: seconds since 1970 when the first and the last of them were stored; None in an empty
            cache.
        expired: entries that are kept for outages alone, or wait to be removed.
        file_bytes: of the file and what belongs to it; None where there is none.
    """

    groups: tuple[Group, ...]
    oldest: float | None
    newest: float | None
    expired: int
    file_bytes: int | None

    @property
    def entries(self) -> int:
        return sum(group.entries for group in self.groups)

    @property
    def bytes(self) -> int:
        return sum(group.bytes for group in self.groups)


def largest_first(groups: Iterable[Group]) -> tuple[Group, ...]:
    return tuple(sorted(groups, key=lambda group: (-group.bytes, group.operation, group.target)))
