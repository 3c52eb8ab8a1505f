"""The time of a machine that several processes use is divided among all of their attempts."""

from __future__ import annotations

import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_infer.calls.records import CallRecord
from hybrid_infer.prices.account import Terms
from hybrid_infer.prices.meter import Meter, Stay
from hybrid_infer.prices.settling import settle
from hybrid_infer.stores.ledger.settling import Settled
from stores.ledger_samples import HOUR, RATE, SECOND, WALL_NS, on_machine, simple, summarise, write

NANO = 10**9

intervals = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 30)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    max_size=12,
)


def shares(spans: list[tuple[int, int]]) -> list[int]:
    """The share of each attempt, by nanoseconds."""
    lasting = [(ended, n, began) for n, (began, ended) in enumerate(spans, 1) if ended > began]
    lasting.sort(key=lambda stay: stay[2])
    return settle(Terms(), lasting, ["call"] * len(spans))[0]


def exact(spans: list[tuple[int, int]]) -> list[Fraction]:
    """Each attempt's share: between two events nothing changes."""
    found = [Fraction(0)] * len(spans)
    moments = sorted({moment for span in spans for moment in span})
    for since, until in pairwise(moments):
        inside = [n for n, (began, end) in enumerate(spans) if began <= since and until <= end]
        for n in inside:
            found[n] += Fraction(until - since, len(inside))
    return found


@given(intervals)
def test_shares_add_up_to_the_busy_time_and_each_is_right_to_a_few_nanoseconds(
    given: list[tuple[int, int]],
) -> None:
    found, wanted = shares(given), exact(given)
    assert sum(found) == sum(wanted)
    for share, right in zip(found, wanted, strict=True):
        assert abs(share - right) < len(given) + 1
    thousandfold = shares([(began * 1000, end * 1000) for began, end in given])
    for share, right in zip(thousandfold, wanted, strict=True):
        assert abs(share - 1000 * right) < len(given) + 1


@given(intervals)
def test_what_one_process_alone_saw_is_what_its_meter_gave(given: list[tuple[int, int]]) -> None:
    meter = Meter(threading.Lock())
    stays: dict[int, Stay] = {}
    lasting = [(began, end) for began, end in given if end > began]
    # At one moment ends come first: which of two calls gets a nanosecond more depends on that.
    events = [(began, True, n) for n, (began, _) in enumerate(lasting)]
    events += [(end, False, n) for n, (_, end) in enumerate(lasting)]
    for at, begins, n in sorted(events):
        if begins:
            stays[n] = meter.enter(at / NANO)
        else:
            meter.leave(stays[n], at / NANO)
    assert shares(lasting) == [stays[n].machine_ns for n in range(len(lasting))]


def second(at: float) -> int:
    return WALL_NS + round(at * SECOND)


def test_a_summary_counts_shared_time_once_and_says_so(tmp_path: Path) -> None:
    """Process a has the machine from 0 to 4 s, process b from 2 to 6 s: it is busy for 6 s, not for 8."""
    path = tmp_path / "l.sqlite"
    write(path, [on_machine("a", second(0), second(4), 4 * SECOND, purpose="first")])
    write(path, [on_machine("b", second(2), second(6), 4 * SECOND, purpose="second")])
    found = summarise([path], by="purpose")
    assert found.settled == (Settled(machine="modal h m", processes=2, seen=8.0, busy=6.0),)
    hourly = Fraction(RATE, HOUR)
    assert [int(line.cost * NANO) for line in found.lines] == [round(3 * SECOND * hourly)] * 2
    assert [line.estimated for line in found.lines] == [line.cost for line in found.lines]


def test_what_is_recorded_stands_where_one_process_had_the_machine(tmp_path: Path) -> None:
    """Also where another one had it later, as after a restart, or another machine."""
    path = tmp_path / "l.sqlite"
    records = [
        on_machine("a", second(0), second(4), 4 * SECOND),
        on_machine("b", second(4), second(6), 2 * SECOND),
        on_machine("c", second(1), second(3), 2 * SECOND, machine="modal other m"),
    ]
    write(path, records)
    found = summarise([path])
    assert found.settled == ()
    assert int(found.totals[0].cost * NANO) == sum(record.cost_nano or 0 for record in records)


def test_attempts_that_cost_nothing_known_take_their_time_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    priced = on_machine("a", second(0), second(2), 2 * SECOND)
    unpriced = on_machine("b", second(0), second(2), 2 * SECOND, rate=None)
    unbilled = on_machine("c", second(0), second(2), 2 * SECOND, cost_nano=0)
    unbilled.tries[0].billed = False
    write(path, [priced, unpriced, unbilled, simple(began_ns=second(0))])
    found = summarise([path], by="mode")
    by_mode = {line.name: line for line in found.lines}
    assert int(by_mode["modal"].cost * NANO) == round(Fraction(2 * SECOND, 3) * Fraction(RATE, HOUR))
    assert by_mode["modal"].cost_unknown == 1
    assert int(by_mode["together-serverless"].cost * NANO) == 12_345


def test_files_of_one_ledger_are_settled_together(tmp_path: Path) -> None:
    """What ran across the change of files is in both."""
    old, new = tmp_path / "l-20261020T123000Z.sqlite", tmp_path / "l.sqlite"
    write(new, [on_machine("x", second(-90), second(-80), 10 * SECOND, machine="modal another m")])
    write(old, [on_machine("a", second(0), second(4), 4 * SECOND)])
    write(new, [on_machine("b", second(0), second(4), 4 * SECOND)])
    (settled,) = summarise([old, new]).settled
    assert (settled.seen, settled.busy, settled.processes) == (8.0, 4.0, 2)


lives = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 5000), st.integers(0, 4000), st.sampled_from("pq")),
    min_size=1,
    max_size=25,
)


@given(lives)
@settings(max_examples=25)
def test_the_cost_of_all_lines_is_that_of_the_busy_time(given: list[tuple[str, int, int, str]]) -> None:
    """Whatever each process saw for itself, by its own meter."""
    milli = SECOND // 1000
    spans = [(WALL_NS + began * milli, WALL_NS + (began + took) * milli) for _, began, took, _ in given]
    records: list[CallRecord] = []
    for process in "abc":
        own = [n for n, (of, *_) in enumerate(given) if of == process]
        for n, share in zip(own, shares([spans[n] for n in own]), strict=True):
            records.append(on_machine(process, *spans[n], share, purpose=given[n][3]))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "l.sqlite"
        write(path, records)
        found = summarise([path], by="purpose")
    wanted = {"p": Fraction(0), "q": Fraction(0)}
    for right, (_, _, _, purpose) in zip(exact(spans), given, strict=True):
        wanted[purpose] += right * Fraction(RATE, HOUR)
    for line in found.lines:
        # Each call's cost was rounded to a nano-dollar, and each share to some nanoseconds.
        assert abs(line.cost * NANO - round(wanted[line.name or ""])) <= len(given) + 1
    busy = sum(exact(spans), Fraction(0))
    if found.settled:
        assert round(found.settled[0].busy * NANO) == busy
