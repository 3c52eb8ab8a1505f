"""The client leaves calls to the ledger as bare rows: they say the same as records with names."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_infer.calls.call import Attempt, Call, Wait
from hybrid_infer.calls.money import Cost, Usage
from hybrid_infer.calls.records import CallRecord, call_record, new_id
from hybrid_infer.calls.reply import Facts
from hybrid_infer.calls.rows import CallRows, call_rows
from hybrid_infer.stores.ledger.batch import tag_hash
from hybrid_infer.stores.ledger.reader import LedgerReader
from stores.ledger_samples import COST, UNKNOWN, WALL, ended, rate, target, write

NUMBERS = st.none() | st.integers(0, 10**6)
USAGES = st.none() | st.builds(
    Usage,
    input_tokens=NUMBERS,
    output_tokens=NUMBERS,
    cached_tokens=NUMBERS,
    reasoning_tokens=NUMBERS,
    estimated=st.booleans(),
)
TARGETS = st.sampled_from(
    [target(), target("modal", gpu="H100"), target("modal", model=None, simulated=True)]
)
ATTEMPTS = st.builds(
    Attempt,
    target=TARGETS,
    started=st.floats(100, 101),
    ended=st.none() | st.floats(101, 103),
    status=st.none() | st.just(200),
    verdict=st.sampled_from(["success", "retry", None]),
    error=st.none() | st.just("OverloadedError"),
    lost=st.booleans(),
    billed=st.sampled_from([True, False, None]),
    request_id=st.none() | st.just("r"),
    usage=USAGES,
    machine_ns=st.none() | st.integers(0, 10**9),
    cold_ns=st.none() | st.integers(0, 10**9),
)
WAITS = st.builds(
    Wait,
    target=TARGETS,
    started=st.floats(100, 101),
    ended=st.floats(101, 102),
    cold_ns=st.integers(0, 10**9),
    machine_nano=st.none(),
)
COSTS = st.sampled_from([COST, UNKNOWN, replace(COST, estimated=True, priced_at=None)])


@st.composite
def calls(draw: st.DrawFn) -> tuple[tuple[Call, Facts | None, Cost], dict[str, Any]]:
    """A call that has ended, and everything that is told about it besides."""
    call = ended(
        *draw(st.lists(ATTEMPTS, max_size=3)),
        stream=draw(st.booleans()),
        purpose=draw(st.sampled_from([None, "minutes"])),
        candidates=draw(st.sampled_from([(), (target(),)])),
    )
    tally = call.tally
    tally.waits.extend(draw(st.lists(WAITS, max_size=2)))
    tally.cold_start, tally.restarts = draw(st.booleans()), draw(st.integers(0, 1))
    tally.queue_wait, tally.cold_wait = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    tally.started, tally.latency = draw(st.floats(-8000, 102)), draw(st.none() | st.floats(-0.001, 9))
    facts = draw(
        st.none()
        | st.builds(Facts, model=st.just("m"), usage=USAGES, first_token=st.none() | st.floats(100, 102))
    )
    told = {
        "outcome": draw(st.sampled_from(["success", "abandoned", "RateLimitError"])),
        "now": 102.0,
        "wall": WALL,
        "rate": rate,
        "id": new_id(),
        "final": draw(st.booleans()),
        "cache": draw(st.sampled_from([None, "hit", "miss"])),
        "saved": draw(st.sampled_from([None, Decimal("0.5")])),
        "tag": draw(st.sampled_from([None, "mine"])),
    }
    return (call, facts, draw(COSTS)), told


def dumped(path: Path) -> list[str]:
    db = sqlite3.connect(path)
    try:
        return list(db.iterdump())
    finally:
        db.close()


def read(path: Path) -> tuple[dict[str, CallRecord], bytes]:
    with LedgerReader(path) as reader:
        (salt,) = next(reader.query("SELECT value FROM meta WHERE name = 'salt'"))
        return {record.id: record for record in reader.calls()}, salt


@given(st.lists(calls(), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_bare_rows_leave_the_file_that_records_leave(
    made: list[tuple[tuple[Call, Facts | None, Cost], dict[str, Any]]],
) -> None:
    """To the last sum; and what is read from it is what was recorded, the tag as a hash."""
    records = [call_record(*call, **told) for call, told in made]
    rows = [call_rows(*call, **told) for call, told in made]
    assert all(isinstance(one, CallRows) for one in rows)
    with TemporaryDirectory() as folder:
        named, bare = Path(folder, "named.sqlite"), Path(folder, "bare.sqlite")
        write(named, [])
        shutil.copy(named, bare)
        write(named, records)
        write(bare, rows)
        assert dumped(bare) == dumped(named)
        found, salt = read(bare)
    for record in records:
        hashed = None if record.tag is None else tag_hash(record.tag, salt)
        assert found[record.id] == replace(record, tag=None, tag_hash=hashed)


SUMS = (
    *("calls", "failed", "attempts", "input_tokens", "output_tokens", "cached_tokens", "tokens_unknown"),
    *("cost_nano", "cost_unknown", "cost_estimated", "estimated_nano"),
    *("cold_starts", "cache_hits", "saved_nano"),
)


@given(st.lists(calls(), min_size=1, max_size=12))
@settings(max_examples=15, deadline=None)
def test_the_sums_are_those_of_the_rows(
    made: list[tuple[tuple[Call, Facts | None, Cost], dict[str, Any]]],
) -> None:
    records = [call_record(*call, **told) for call, told in made]
    with TemporaryDirectory() as folder:
        path = Path(folder, "l.sqlite")
        write(path, [call_rows(*call, **told) for call, told in made])
        with LedgerReader(path) as reader:
            (found,) = reader.query(f"SELECT {', '.join(f'sum({name})' for name in SUMS)} FROM totals")
            assert sum(row[0] for row in reader.query("SELECT calls FROM latencies")) == sum(
                record.outcome == "success" for record in records
            )
    assert dict(zip(SUMS, found, strict=True)) == {
        "calls": len(records),
        "failed": sum(record.outcome == "RateLimitError" for record in records),
        "attempts": sum(len(record.tries) for record in records),
        "input_tokens": sum(record.input_tokens or 0 for record in records),
        "output_tokens": sum(record.output_tokens or 0 for record in records),
        "cached_tokens": sum(record.cached_tokens or 0 for record in records),
        "tokens_unknown": sum(None in (record.input_tokens, record.output_tokens) for record in records),
        "cost_nano": sum(record.cost_nano or 0 for record in records),
        "cost_unknown": sum(record.cost_nano is None for record in records),
        "cost_estimated": sum(record.cost_estimated for record in records),
        "estimated_nano": sum((record.cost_nano or 0) * record.cost_estimated for record in records),
        "cold_starts": sum(record.cold_start for record in records),
        "cache_hits": sum(record.cache == "hit" for record in records),
        "saved_nano": sum(record.saved_nano or 0 for record in records),
    }
