"""All cases, fault by fault, in processes that do nothing else."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from faults.cases import real_cases, virtual_cases
from faults.oracle import judge
from faults.report import Row
from faults.running import memory_at_rest, play, right_answers

_AT_ONCE = 4
"""Faults over sockets at the same time: they mostly wait."""


def rows_of(fault: str, real: bool) -> list[Row]:
    """All cases of one fault, in virtual time or over real sockets."""
    rows: list[Row] = []
    with memory_at_rest():
        for case in real_cases(fault) if real else virtual_cases(fault):
            seen = play(case)
            rows.append(Row.of(case, seen, judge(case, seen, right_answers())))
    return rows


def all_rows(faults: Sequence[str], jobs: int) -> Iterator[list[Row]]:
    """The rows of each fault, those in virtual time first; each in a process that does nothing else."""
    spawned = multiprocessing.get_context("spawn")
    for real, at_once in ((False, jobs), (True, min(_AT_ONCE, 2 * jobs))):
        with ProcessPoolExecutor(at_once, mp_context=spawned) as pool:
            yield from pool.map(rows_of, faults, [real] * len(faults))
