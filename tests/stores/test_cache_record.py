"""Stored answers as bytes: what comes back is what was kept under this very key, or nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.cached import Entry
from hybrid_infer.stores.cache_record import HEAD, head_of, pack, unpack
from stores.cache_samples import entry, key

MOMENTS = st.floats(min_value=0, max_value=1e11)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ENTRIES = st.builds(
    Entry,
    value=st.binary(max_size=3000),
    stored=MOMENTS,
    expires=st.none() | MOMENTS,
    target=NAMES,
    operation=NAMES,
    saved_nano=st.none() | st.integers(-(2**63), 2**63 - 1),
)


@given(st.binary(min_size=32, max_size=32), ENTRIES)
def test_an_entry_comes_back_as_it_was(name: bytes, kept: Entry) -> None:
    assert unpack(name, pack(name, kept)) == kept


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), ENTRIES)
def test_under_another_key_it_is_nothing(name: bytes, other: bytes, kept: Entry) -> None:
    assert unpack(other, pack(name, kept)) == (kept if other == name else None)


@given(ENTRIES, st.data())
def test_a_record_that_was_changed_anywhere_is_nothing(kept: Entry, data: st.DataObject) -> None:
    record = bytearray(pack(key(1), kept))
    place = data.draw(st.integers(0, len(record) - 1))
    record[place] ^= data.draw(st.integers(1, 255))
    assert unpack(key(1), bytes(record)) is None


@given(ENTRIES, st.data())
def test_a_record_that_was_cut_or_added_to_is_nothing(kept: Entry, data: st.DataObject) -> None:
    record = pack(key(1), kept)
    end = data.draw(st.integers(0, len(record) - 1))
    assert unpack(key(1), record[:end]) is None
    assert unpack(key(1), record + b"\0") is None


@given(st.binary(max_size=200))
def test_what_is_no_record_is_nothing(noise: bytes) -> None:
    assert unpack(key(1), noise) is None
    assert head_of(noise) is None


@given(ENTRIES)
def test_the_head_says_what_there_is_without_the_value(kept: Entry) -> None:
    head = head_of(pack(key(1), kept)[:HEAD])
    assert head is not None
    assert (head.stored, head.expires, head.saved_nano) == (kept.stored, kept.expires, kept.saved_nano)
    assert (head.target, head.operation, head.size) == (kept.target, kept.operation, len(kept.value))


def test_names_are_kept_as_far_as_statistics_need_them() -> None:
    long = unpack(key(1), pack(key(1), entry(target="t" * 5000, operation="\udc80")))
    assert long is not None
    assert (long.target, long.operation) == ("t" * 200, "?")
    assert head_of(pack(key(1), entry(target="é" * 5000, operation="o" * 500))[:HEAD]) is not None


@pytest.mark.parametrize("wrong", [{"saved_nano": 2**63}, {"saved_nano": -(2**63) - 1}, {"stored": math.nan}])
def test_a_number_that_is_none_or_beyond_all_measure_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the entry"):
        pack(key(1), entry(**wrong))


def test_an_entry_that_never_expires_says_so() -> None:
    assert unpack(key(1), pack(key(1), entry(expires=math.inf))) == entry(expires=None)
