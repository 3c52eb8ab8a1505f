"""What the minimum of a machine shall be, given the leases on it and what we did to it before. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybrid_infer.stores.leases.base import Lease, Note

GRACE = 60.0
"""Seconds after a change of ours for which a provider may still show the minimum before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about the minimum of a machine.

    Attributes:
        target: have the provider set it; None leaves the provider alone.
        original: what the note says of the minimum before us, while the target is being set.
        note: what is to be noted when that is done; None is no note.
        warning: what somebody should know; None where all is as expected.
    """

    target: int | None
    original: int
    note: Note | None
    warning: str | None = None


def wanted(leases: Sequence[Lease], now: float) -> int:
    """The replicas that live leases need together: the most of one. 0 without any."""
    return max((lease.replicas for lease in leases if lease.live(now)), default=0)


def settled(note: Note | None, leases: Sequence[Lease], now: float) -> bool:
    """Whether nothing is to be done, by what we know without asking the provider."""
    if note is None:
        return True
    needed = wanted(leases, now)
    if not needed:
        return False
    return note.left or (not note.setting and note.set_to == max(note.original, needed))


def believed(note: Note | None, current: int, now: float) -> bool:
    """Whether a minimum found at the provider needs no second look.

    One that is none of ours was set by somebody else, or the provider shows us the past: then it is ours a
    moment later.
    """
    return note is None or note.left or note.ours(current) or now - note.at >= GRACE


def decide(note: Note | None, leases: Sequence[Lease], current: int, *, asked: bool, now: float) -> Decision:
    """What to do.

    The minimum is that of before, or what leases need, whichever is more; without a lease it is that of
    before, if it still is what we set. A minimum that somebody else set is theirs, and becomes the one of
    before as soon as somebody asks anew.

    Args:
        current: the minimum at the provider.
        asked: somebody asks for the machine now, so that a minimum of somebody else may be raised.
        now: seconds since 1970.
    """
    needed = wanted(leases, now)
    if note is None:
        if not (asked and needed):
            return Decision(target=None, original=current, note=None)
        return _towards(current, current, needed, now, None)
    theirs = not note.left and not note.ours(current)
    warning = None
    if theirs and current != note.original:
        known = " or ".join(str(ours) for ours in dict.fromkeys((note.set_to, *note.setting)))
        warning = f"its minimum is {current}, and not {known} as we set it: somebody else changed it"
    if not needed:
        if note.left or warning is not None:
            return Decision(
                target=None, original=current, note=None, warning=warning and f"{warning}, and it is left so"
            )
        # Also where it seems to be restored: the provider may show the past.
        unchanged = note.set_to == note.original == current and not note.setting
        return Decision(target=None if unchanged else note.original, original=note.original, note=None)
    if note.left or theirs:
        if asked:
            again = warning and f"{warning}, and that is what it will be set to at the end"
            return _towards(current, current, needed, now, again)
        kept = Note(original=current, set_to=current, left=True, at=now)
        gone = warning or (
            None if note.left else f"its minimum is back at {current}: somebody else changed it"
        )
        return Decision(
            target=None,
            original=current,
            note=note if note.left else kept,
            warning=gone and f"{gone}, and it is left so until somebody asks for the machine again",
        )
    return _towards(note.original, current, needed, now, None, unfinished=bool(note.setting))


def _towards(
    original: int, current: int, needed: int, now: float, warning: str | None, *, unfinished: bool = False
) -> Decision:
    target = max(original, needed)
    note = None if target == original else Note(original=original, set_to=target, at=now)
    left_alone = target == current and not unfinished
    return Decision(target=None if left_alone else target, original=original, note=note, warning=warning)
