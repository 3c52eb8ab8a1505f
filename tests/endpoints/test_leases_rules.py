"""What the minimum of a machine shall be: the rules alone, for all there is to know."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from endpoints.machines import MACHINE
from hybrid_infer.endpoints.leases import GRACE, believed, decide, settled, wanted
from hybrid_infer.stores.leases.base import Lease, Note, note_of, note_text

NOW = 1000.0
SMALL = st.integers(0, 4)
NOTES = st.builds(
    Note,
    original=SMALL,
    set_to=SMALL,
    setting=st.lists(SMALL, max_size=2).map(tuple),
    left=st.booleans(),
    at=st.floats(0, NOW),
)
LEASES = st.lists(
    st.builds(
        Lease,
        id=st.uuids().map(str),
        machine=st.just(MACHINE),
        holder=st.just("a"),
        replicas=st.integers(1, 4),
        expires=st.sampled_from([NOW - 1, NOW, NOW + 1]),
        kind=st.just("asked"),
        why=st.just("test"),
    ),
    max_size=3,
)


@given(LEASES)
def test_an_expired_lease_counts_for_nothing(leases: list[Lease]) -> None:
    live = [lease.replicas for lease in leases if lease.expires > NOW]
    assert wanted(leases, NOW) == max(live, default=0)


@given(st.none() | NOTES, LEASES, SMALL, st.booleans())
def test_what_is_set_is_what_leases_need_or_what_was_before(
    note: Note | None, leases: list[Lease], current: int, asked: bool
) -> None:
    step = decide(note, leases, current, asked=asked, now=NOW)
    needed = wanted(leases, NOW)
    if step.target is not None:
        assert step.target == max(step.original, needed)
        assert step.original in (current, current if note is None else note.original)
    if step.note is not None:
        assert needed
        assert step.note == note or step.note.original == step.original
    if not needed:
        assert step.note is None


@given(NOTES, LEASES, SMALL)
def test_a_minimum_of_somebody_else_is_touched_only_for_who_asks(
    note: Note, leases: list[Lease], current: int
) -> None:
    """Nobody asks: it stays. A machine that is back at what it was before may be told so once more."""
    if note.ours(current) and not note.left:
        return
    step = decide(note, leases, current, asked=False, now=NOW)
    assert step.target is None or (step.target == current == note.original and not wanted(leases, NOW))


@given(NOTES, LEASES, SMALL)
def test_after_a_step_there_is_nothing_left_to_do(note: Note, leases: list[Lease], current: int) -> None:
    step = decide(note, leases, current, asked=False, now=NOW)
    assert settled(step.note, leases, NOW)
    after = current if step.target is None else step.target
    again = decide(step.note, leases, after, asked=False, now=NOW)
    assert (again.target, again.note, again.warning) == (None, step.note, None)


@given(st.none() | NOTES)
def test_a_note_is_read_as_it_was_written(note: Note | None) -> None:
    assert note_of(note_text(note)) == note


def test_only_a_recent_change_is_doubted() -> None:
    note = Note(original=0, set_to=1, setting=(2,), at=NOW)
    assert [believed(note, minimum, NOW + 1) for minimum in (0, 1, 2, 3)] == [False, True, True, False]
    assert believed(note, 3, NOW + GRACE)
    assert believed(None, 3, NOW)
