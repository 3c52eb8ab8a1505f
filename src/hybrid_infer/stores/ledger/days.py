"""What a ledger has of each day, mode and model, and what it knows that it lacks: to compare with a bill."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from heapq import merge
from pathlib import Path
from typing import Any

from hybrid_infer.calls.bills import Gaps, MachineDay, Recorded, Stopped
from hybrid_infer.calls.records import PROCESS_LENGTH, unix_ns
from hybrid_infer.stores.ledger.machines import Machine, machines
from hybrid_infer.stores.ledger.reader import LedgerReader
from hybrid_infer.stores.ledger.schema import HOUR_NS
from hybrid_infer.stores.ledger.settling import Divide

_DAY_NS = 24 * HOUR_NS
_FIRST = date(1970, 1, 1)
_SILENT = HOUR_NS
"""For so long a process must have been silent at the end to count as stopped."""

_LINES = """SELECT hour / 24, mode, model, sum(calls), sum(cost_nano), sum(cost_unknown), sum(estimated_nano)
  FROM totals WHERE hour >= ? AND hour < ? AND simulated = ? AND mode IS NOT NULL GROUP BY 1, 2, 3"""
_TOKENS = f"""SELECT a.began_ns / {_DAY_NS}, k.mode, k.model, sum(a.input_tokens), sum(a.output_tokens),
    sum(a.cached_tokens), sum(k.billed IS NULL OR a.input_tokens IS NULL)
  FROM attempt_rows a JOIN attempt_kinds k ON k.id = a.kind
    JOIN call_rows c ON c.id = a.call JOIN call_kinds d ON d.id = c.kind
  WHERE a.began_ns >= ? AND a.began_ns < ? AND d.simulated = ? AND k.billed IS NOT 0 GROUP BY 1, 2, 3"""
_CALLS = """SELECT c.id, c.began_ns, d.mode, d.model, c.cost_nano FROM call_rows c
  JOIN call_kinds d ON d.id = c.kind WHERE c.began_ns < ? AND d.simulated = ? ORDER BY c.id"""
_LOSSES = f"SELECT at_ns / {_DAY_NS}, records FROM losses WHERE at_ns >= ? AND at_ns < ?"


def days(
    files: Sequence[Path], since: date, until: date, *, divide: Divide, simulated: bool = False
) -> tuple[list[Recorded], Gaps]:
    """Everything from `since` on and before `until`, UTC.

    Args:
        simulated: the calls that were simulated, and no others.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    low, high = _ns(since), _ns(until)
    found: dict[tuple[date, str, str], Recorded] = {}

    def line(day: int, mode: str, model: str | None) -> Recorded:
        key = _FIRST + timedelta(days=day), mode, model or ""
        return found.setdefault(key, Recorded(day=key[0], mode=mode, model=key[2]))

    def keep(record: Recorded) -> None:
        found[record.day, record.mode, record.model] = record

    with ExitStack() as stack:
        readers = [stack.enter_context(LedgerReader(file)) for file in files]
        for reader in readers:
            for day, mode, model, calls, nano, unknown, estimated in reader.query(
                _LINES, (low // HOUR_NS, high // HOUR_NS, simulated)
            ):
                had = line(day, mode, model)
                keep(
                    replace(
                        had,
                        calls=had.calls + calls,
                        cost_nano=had.cost_nano + nano,
                        cost_unknown=had.cost_unknown + unknown,
                        estimated_nano=had.estimated_nano + estimated,
                    )
                )
            for day, mode, model, into, out, cached, unsure in reader.query(_TOKENS, (low, high, simulated)):
                had = line(day, mode, model)
                keep(
                    replace(
                        had,
                        input_tokens=had.input_tokens + (into or 0),
                        output_tokens=had.output_tokens + (out or 0),
                        cached_tokens=had.cached_tokens + (cached or 0),
                        unsure=had.unsure + unsure,
                    )
                )
        gaps = _gaps(readers, low, high, simulated)
    marks = [_ns(since + timedelta(days=n)) for n in range((until - since).days + 1)]
    for machine in machines(files, marks, divide=divide):
        if machine.simulated is simulated:
            for n, report in enumerate(_machine_days(machine)):
                if report is not None:
                    had = line((since - _FIRST).days + n, machine.mode, machine.model)
                    keep(replace(had, host=machine.host, machine=report))
    return sorted(found.values(), key=lambda one: (one.day, one.mode, one.model)), gaps


def _machine_days(machine: Machine) -> Iterator[MachineDay | None]:
    """None where it was not there."""
    before = 0
    for report, starts, at_end in zip(machine.reports, machine.starts, machine.up_at_end, strict=True):
        total = report.total
        nothing = report.attributed.ns == 0 and (not machine.followed or (total is not None and not total.ns))
        yield (
            None
            if nothing
            else MachineDay(
                total_ns=None if total is None else total.ns,
                total_nano=None if total is None else total.nano,
                used_ns=report.attributed.ns,
                used_nano=report.attributed.nano,
                nano_per_hour=machine.rate,
                runs=starts + before,
                followed=machine.followed,
            )
        )
        before = at_end


def _gaps(readers: Sequence[LedgerReader], low: int, high: int, simulated: bool) -> Gaps:
    missing, lost = Counter[date](), Counter[date]()
    for reader in readers:
        for day, records in reader.query(_LOSSES, (low, high)):
            lost[_FIRST + timedelta(days=day)] += records
    stopped: list[Stopped] = []
    rows = merge(*(reader.query(_CALLS, (high, simulated)) for reader in readers))
    for process, calls in _by_process(rows):
        number, before = -1, calls[0][1]
        for id, began, *_ in calls:
            now = int(id[PROCESS_LENGTH:], 16)
            if now > number + 1:  # on one of the days between the two
                for day in range(max(before, low) // _DAY_NS, began // _DAY_NS + 1):
                    missing[_FIRST + timedelta(days=day)] += now - number - 1
            number, before = now, began
        stopped += _stopped(process, calls, high)
    return Gaps(missing=missing, lost=lost, stopped=tuple(stopped))


def _by_process(rows: Iterable[Any]) -> Iterator[tuple[str, list[Any]]]:
    calls: list[Any] = []
    for row in rows:
        if calls and calls[-1][0][:PROCESS_LENGTH] != row[0][:PROCESS_LENGTH]:
            yield calls[0][0][:PROCESS_LENGTH], calls
            calls = []
        calls.append(row)
    if calls:
        yield calls[0][0][:PROCESS_LENGTH], calls


def _stopped(process: str, calls: Sequence[Any], high: int) -> Iterator[Stopped]:
    began = min(call[1] for call in calls)
    last = max(call[1] for call in calls)
    if last > high - _SILENT:
        return
    spent: dict[tuple[str, str], int] = defaultdict(int)
    for _, _, mode, model, nano in calls:
        if mode is not None:
            spent[mode, model or ""] += nano or 0
    hours = max(last - began, HOUR_NS)
    for (mode, model), nano in spent.items():
        yield Stopped(
            process=process, last_ns=last, mode=mode, model=model, nano_per_hour=nano * HOUR_NS // hours
        )


def _ns(day: date) -> int:
    return unix_ns(datetime(day.year, day.month, day.day, tzinfo=UTC))
