"""Settling: one machine is divided among the calls of all processes, once their records are read together.

Each process can only divide a machine among its own calls (`prices.meter`). What several of them give away
together is too much then, wherever they were there at the same time; and no process alone knows what was idle.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush

from hybrid_infer.calls.machines import MachineReport, Role, StateChange
from hybrid_infer.prices.account import Account, Terms, Totals


def settle(
    terms: Terms,
    stays: Iterable[tuple[int, int, int]],
    roles: Sequence[Role],
    *,
    states: Iterable[StateChange] = (),
    marks: Sequence[int] = (),
) -> tuple[list[int], list[MachineReport]]:
    """The shares of calls from all processes that used one machine, and its reports.

    It is what an `Account` makes of the same events; millions of calls take seconds, and nothing is kept of a
    call but while it is there.

    Args:
        stays: end, group and begin of each, in the order of their begins. Each takes some time.
        roles: of the groups, which count from 1.
        states: what was known of the machine, from whomever; of several words at a moment the last counts.
        marks: moments in ascending order: there is a report for the time between any two. Without them there
            is one, from the first event to the last.

    Returns:
        the time given to each group, its cold starts included, in nanoseconds; and the reports. Shares of all
        groups add up to what the machine was used for; those of groups that were refused are 0.
    """
    return _Settling(terms, states, marks).through(stays, roles)


class _Settling(Account):
    """An account that is told everything at once."""

    __slots__ = ("_change", "_changes", "_marks", "_refused", "_spans", "_turn")

    def __init__(self, terms: Terms, states: Iterable[StateChange], marks: Sequence[int]) -> None:
        super().__init__(terms)
        self._changes = sorted(states, key=_at)
        self._change = 0
        self._marks = iter([*marks, sys.maxsize])
        self._turn = min(_first(self._changes), next(iter(marks), sys.maxsize))
        self._refused = 0
        self._spans: list[Totals] = []

    def through(
        self, stays: Iterable[tuple[int, int, int]], roles: Sequence[Role]
    ) -> tuple[list[int], list[MachineReport]]:
        """See `settle`."""
        shares = [0] * (len(roles) + 1)
        there: list[tuple[int, int, int]] = []  # a heap: who leaves next comes first
        source = iter(stays)
        coming = next(source, None)
        # What the account itself knows is up to date only where it is asked: `given` and `rest` are its own.
        given = rest = cold = inside = last = used = 0
        simple = False
        while coming is not None or there:
            if coming is None or (there and there[0][0] <= coming[2]):
                at, group, _ = heappop(there)
                sign = -1
            else:
                _, group, at = coming
                heappush(there, coming)
                coming, sign = next(source, None), 1
            if simple and inside and at < self._turn:
                used += at - last
                each, rest = divmod(rest + at - last, inside)
                given += each
            else:
                ...
        return shares[1:], []
