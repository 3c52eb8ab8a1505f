"""What was written can be read, added up, merged and exported."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_infer.calls.machines import StateRecord, WaitRecord
from hybrid_infer.calls.money import Usage, usd
from hybrid_infer.calls.records import CallRecord, Correction, correction, unix_ns
from hybrid_infer.calls.reply import Facts
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.stores.ledger.buckets import bucket, middle, percentile
from hybrid_infer.stores.ledger.export import export_columns, export_rows
from hybrid_infer.stores.ledger.merging import Merged, merge
from hybrid_infer.stores.ledger.reader import LedgerReader, ledger_files
from hybrid_infer.stores.ledger.summary import By, Line, Summary
from stores.ledger_samples import (
    COST,
    HOUR,
    RATE,
    SECOND,
    UNKNOWN,
    WALL,
    WALL_NS,
    attempt,
    ended,
    on_machine,
    record,
    simple,
    summarise,
    target,
    write,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "l.sqlite"


def everything(path: Path) -> tuple[list[CallRecord], list[Correction]]:
    with LedgerReader(path) as reader:
        return list(reader.calls()), list(reader.corrections())


def test_records_are_read_as_they_were_written(path: Path) -> None:
    """With all their attempts, those that came with a correction too; of the tag only a hash."""
    usage = Usage(input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=2, estimated=True)
    hedged = ended(
        attempt(target("modal", gpu="H100"), machine_ns=7, usage=usage),
        attempt(target(), lost=True, billed=None),
        stream=True,
        purpose="minutes",
    )
    first = record(hedged, Facts(model="m", usage=usage, first_token=101.0), tag="mine", final=False)
    late = replace(first.tries[1], number=2)
    wait = WaitRecord(
        call=first.id,
        number=0,
        began_ns=1,
        ended_ns=9,
        machine="modal h m",
        machine_ns=7,
        rate=None,
    )
    first.waits = (wait,)
    waits = (replace(wait, number=1, rate=5),)
    corrected = correction(first, UNKNOWN, reason="a hedge", wall=WALL, tries=(late,), waits=waits)
    other = simple(began_ns=first.began_ns + 1)
    write(path, [other, first, corrected])
    (read, read_other), (read_correction,) = everything(path)
    assert read.tag_hash is not None
    assert read == replace(first, tag=None, tag_hash=read.tag_hash)
    assert read_other == other
    assert read_correction == corrected


def test_equal_tags_have_equal_hashes_in_one_ledger_and_only_there(path: Path) -> None:
    for number, place in enumerate([path, path.with_name("other")]):
        write(place, [simple(tag="a"), simple(tag="a"), simple(tag=f"b{number}"), simple()])
    (first, again, unlike, none), (elsewhere, *_) = (
        everything(p)[0] for p in (path, path.with_name("other"))
    )
    assert first.tag_hash == again.tag_hash != unlike.tag_hash
    assert none.tag_hash is None
    assert elsewhere.tag_hash != first.tag_hash


def test_calls_of_a_span_of_time_come_in_the_order_they_began(path: Path) -> None:
    records = [simple(began_ns=WALL_NS + number * 7 % 1000) for number in range(1200)]
    write(path, records)
    with LedgerReader(path) as reader:
        found = [call.began_ns for call in reader.calls(since=WALL_NS + 10, until=WALL_NS + 900)]
    wanted = [r.began_ns for r in records if WALL_NS + 10 <= r.began_ns < WALL_NS + 900]
    assert found == sorted(wanted)


def test_a_reader_sees_the_file_as_it_was_when_it_was_opened(path: Path) -> None:
    write(path, [simple()])
    with LedgerReader(path) as reader:
        write(path, [simple()])
        assert (reader.count(), len(list(reader.calls()))) == (1, 1)
    assert len(everything(path)[0]) == 2


def test_a_ledger_can_be_read_in_a_folder_that_cannot_be_written(path: Path) -> None:
    write(path, [simple()])
    path.with_name("l.sqlite.lock").unlink()
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        assert len(everything(path)[0]) == 1
    finally:
        path.parent.chmod(0o700)


def test_the_files_of_a_ledger_come_in_the_order_of_time(path: Path) -> None:
    old = ["l-20261020T080000Z.sqlite", "l-20261020T080000Z-2.sqlite", "l-20261020T080000Z-10.sqlite"]
    for name in ["l-20261021T080000Z.sqlite", *reversed(old), "l-notes.sqlite", "l.sqlite", "l.sqlite.lock"]:
        path.with_name(name).touch()
    names = [file.name for file in ledger_files(path)]
    assert names == [*old, "l-20261021T080000Z.sqlite", "l.sqlite"]


def naive(records: Sequence[CallRecord | Correction], by: By | None) -> dict[tuple[str | None, bool], Any]:
    """The sums, call by call."""
    calls = {one.id: one for one in records if isinstance(one, CallRecord)}
    costs = {one.id: (one.cost_nano, one.cost_estimated) for one in calls.values()}
    attempts = Counter({one.id: len(one.tries) for one in calls.values()})
    corrections = Counter[str]()
    for one in records:
        if isinstance(one, Correction):
            costs[one.call] = one.cost_nano, one.cost_estimated
            attempts[one.call] += len(one.tries)
            corrections[one.call] += 1
    groups: dict[tuple[str | None, bool], Counter[str]] = {}
    for one in calls.values():
        name = unix_day(one.began_ns) if by == "day" else getattr(one, by) if by else None
        sums = groups.setdefault((name, one.simulated), Counter())
        cost, doubted = costs[one.id]
        sums["calls"] += 1
        sums["failed"] += one.outcome not in ("success", "abandoned")
        sums["attempts"] += attempts[one.id]
        sums["corrections"] += corrections[one.id]
        for kind in ("input_tokens", "output_tokens", "cached_tokens", "cost_nano", "saved_nano"):
            sums[kind] += (cost if kind == "cost_nano" else getattr(one, kind)) or 0
        sums["tokens_unknown"] += one.input_tokens is None or one.output_tokens is None
        sums["cost_unknown"] += cost is None
        sums["cost_estimated"] += doubted
        sums["estimated_nano"] += (cost or 0) * doubted
        sums["cold_starts"] += one.cold_start
        sums["cache_hits"] += one.cache == "hit"
    return groups


def unix_day(ns: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // SECOND)).date().isoformat()


def sums_of(line: Line) -> Counter[str]:
    money = {"cost_nano": line.cost, "estimated_nano": line.estimated, "saved_nano": line.saved}
    names = ("calls", "failed", "attempts", "corrections", "input_tokens", "output_tokens", "cached_tokens")
    more = ("tokens_unknown", "cost_unknown", "cost_estimated", "cold_starts", "cache_hits")
    found = Counter({name: getattr(line, name) for name in (*names, *more)})
    found.update({name: int(amount * SECOND) for name, amount in money.items()})
    return found


maybe = st.one_of(st.none(), st.integers(0, 1000))
fields = st.fixed_dictionaries(
    {
        "began_ns": st.integers(0, 50).map(lambda n: WALL_NS + n * HOUR),
        "mode": st.sampled_from(["modal", "together-serverless", None]),
        "model": st.sampled_from(["m", "n", None]),
        "purpose": st.sampled_from([None, "p"]),
        "simulated": st.booleans(),
        "outcome": st.sampled_from(["success", "abandoned", "OverloadedError"]),
        "input_tokens": maybe,
        "output_tokens": maybe,
        "cached_tokens": maybe,
        "cost_nano": maybe,
        "cost_estimated": st.booleans(),
        "cold_start": st.booleans(),
        "cache": st.sampled_from([None, "hit", "miss"]),
        "saved_nano": maybe,
    }
)
costs = st.builds(
    lambda amount, doubt: replace(COST, amount=None if amount is None else usd(amount), estimated=doubt),
    maybe,
    st.booleans(),
)


@given(st.lists(st.tuples(fields, st.lists(costs, max_size=2)), max_size=20), st.data())
@settings(max_examples=40)
def test_sums_are_those_of_the_rows(
    given: list[tuple[dict[str, Any], list[Any]]], data: st.DataObject
) -> None:
    """Whatever the batches and files, and wherever the corrections of a call stand. A merge of all the files
    has the same sums, and merging again changes nothing."""
    records: list[CallRecord | Correction] = []
    for changes, known_later in given:
        made = simple(**changes)
        records.append(made)
        previous = None
        for cost in known_later:
            late = replace(made.tries[0], number=1 + (previous is not None))
            previous = correction(made, cost, reason="r", wall=WALL, previous=previous, tries=(late,))
            records.append(previous)
    with TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("l-20261020T080000Z.sqlite", "l.sqlite")]
        cut = data.draw(st.integers(0, len(records)))
        for file, some in zip(files, (records[:cut], records[cut:]), strict=True):
            half = len(some) // 2
            write(file, some[:half])
            write(file, some[half:])
        merged = Path(folder) / "merged.sqlite"
        assert merge(files, merged) == Merged(written=len(records), known=0)
        assert merge(files, merged) == Merged(written=0, known=len(records))
        for by in (None, "mode", "model", "purpose", "day"):
            wanted = naive(records, by)
            for places in (files, [merged]):
                found = summarise(places, by=by)
                assert {(line.name, line.simulated): sums_of(line) for line in found.lines} == wanted
                assert sum(line.calls for line in found.totals) == len(given)


def test_unknown_cost_is_counted_and_never_nothing(path: Path) -> None:
    write(path, [simple(), simple(cost_nano=None)])
    (total,) = summarise([path]).totals
    assert (total.calls, total.cost, total.cost_unknown) == (2, Decimal("0.000012345"), 1)


def test_percentiles_are_of_calls_that_succeeded(path: Path) -> None:
    took = [simple(latency_ns=number * SECOND // 100) for number in range(1, 101)]
    write(path, [*took, simple(latency_ns=900 * SECOND, outcome="APITimeoutError")])
    (total,) = summarise([path]).totals
    assert total.p50 == pytest.approx(0.5, rel=0.04)
    assert total.p95 == pytest.approx(0.95, rel=0.04)
    write(path.with_name("none"), [simple(outcome="APITimeoutError")])
    (none,) = summarise([path.with_name("none")]).totals
    assert (none.p50, none.p95) == (None, None)


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_classes_of_durations_ascend_and_are_narrow(first: int, second: int) -> None:
    low, high = sorted((first, second))
    assert bucket(low) <= bucket(high)
    assert abs(middle(bucket(low)) - low) <= low * 0.032
    assert percentile([(bucket(low), 1)], 95) == middle(bucket(low))


def hours(found: Summary) -> int:
    return sum(line.calls for line in found.totals)


def test_a_summary_of_some_hours_or_days(path: Path) -> None:
    """A call belongs to the hour it began in. Machine time that lasted into the hours is shared as it was."""
    day = datetime(2026, 10, 20, tzinfo=UTC)
    write(path, [simple(began_ns=unix_ns(day + timedelta(hours=n)) - 1) for n in range(1, 49)])
    assert hours(summarise([path], since=day, until=day + timedelta(days=1))) == 24
    assert hours(summarise([path], since=day + timedelta(hours=5))) == 43
    assert hours(summarise([path], until=day)) == 0
    lines = summarise([path], by="day").lines
    assert [(line.name, line.calls) for line in lines] == [("2026-10-20", 24), ("2026-10-21", 24)]
    with pytest.raises(ValueError, match="not at a full hour"):
        summarise([path], since=day + timedelta(minutes=1))


def test_the_hours_before_take_part_in_the_sharing_of_a_machine(path: Path) -> None:
    noon = unix_ns(datetime(2026, 10, 20, 12, tzinfo=UTC))
    before = on_machine("a", noon - 5 * SECOND, noon + 5 * SECOND, 10 * SECOND)
    after = on_machine("b", noon, noon + 5 * SECOND, 5 * SECOND)
    write(path, [before, after])
    (settled,) = summarise([path], since=datetime(2026, 10, 20, 12, tzinfo=UTC)).settled
    assert (settled.seen, settled.busy) == (5.0, 2.5)


def test_a_merge_brings_a_copy_up_to_date(path: Path) -> None:
    """A copy that was made between a call and its correction gets the correction, and the late attempt."""
    made = simple()
    late = replace(made.tries[0], number=1)
    fixed = correction(made, UNKNOWN, reason="r", wall=WALL, tries=(late,))
    copy = path.with_name("copy.sqlite")
    write(copy, [made])
    write(path, [made, fixed], losses=[("p", 1, 7, "why")])
    assert merge([path], copy) == Merged(written=1, known=1)
    assert merge([path], copy) == Merged(written=0, known=2)
    assert everything(copy) == everything(path)
    assert summarise([copy]) == summarise([path])
    assert summarise([copy]).lost == 7


def test_states_of_machines_are_kept_and_merged(path: Path) -> None:
    """Of several words at one moment the last counts."""

    def state(at_ns: int, serving: int | None, process: str = "p") -> StateRecord:
        return StateRecord(
            process=process,
            machine="modal h m",
            at_ns=at_ns,
            serving=serving,
            starting=1,
            rate=RATE,
            simulated=False,
        )

    write(path, [state(2, 1), simple(), state(2, 3), state(1, None)])
    write(path, [state(2, 4), state(3, 0, "q")])
    copy = path.with_name("copy.sqlite")
    for _ in range(2):
        merge([path], copy)
    for place in (path, copy):
        with LedgerReader(place) as reader:
            assert list(reader.states()) == [state(1, None), state(2, 4), state(3, 0, "q")]


def test_a_ledger_is_not_merged_into_itself(path: Path) -> None:
    write(path, [simple()])
    with pytest.raises(ConfigurationError, match="into itself"):
        merge([path.parent / "." / path.name], path)


def test_a_merge_into_what_cannot_be_written_is_an_error_of_ours(path: Path) -> None:
    write(path, [simple()])
    with pytest.raises(ConfigurationError, match="cannot be written"):
        merge([path], path / "inside")


def test_exported_rows_have_a_time_and_dollars(path: Path) -> None:
    made = on_machine("a", WALL_NS + 123_456, WALL_NS + SECOND, SECOND, tag="t")
    fixed = correction(made, COST, reason="r", wall=WALL)
    write(path, [made, fixed])
    rows: dict[str, dict[str, Any]] = {}
    with LedgerReader(path) as reader:
        for kind in ("calls", "attempts", "corrections"):
            (row,) = export_rows(reader, kind)
            rows[kind] = dict(zip(export_columns(kind), row, strict=True))
    call, tried, corrected = rows.values()
    assert (call["time"], call["began_ns"]) == ("2026-10-20T12:30:00.250123+00:00", made.began_ns)
    assert (call["cost_usd"], call["saved_usd"], call["simulated"]) == (usd(made.cost_nano or 0), None, False)
    assert call["id"] == tried["call"] == corrected["call"] == made.id
    assert (tried["machine"], tried["billed"], tried["machine_ns"]) == ("modal h m", True, SECOND)
    assert (corrected["time"], corrected["cost_usd"]) == ("2026-10-20T12:30:00.250000+00:00", COST.amount)
    assert "tag" not in call


def test_a_write_that_fails_leaves_no_trace(path: Path) -> None:
    write(path, [simple()])
    before = summarise([path], by="model")
    with pytest.raises(sqlite3.IntegrityError):
        write(path, [one := simple(model="new"), simple(), one])
    assert summarise([path], by="model") == before
