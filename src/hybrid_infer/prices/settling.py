"""Settling: one machine is divided among the calls of all processes, once their records are read together.

Each process can only divide a machine among its own calls (`prices.meter`). What several of them give away
together is too much then, wherever they were there at the same time; and none of them knows what was idle.
"""

from __future__ import annotations

import sys
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from operator import itemgetter
from typing import TypeAlias

from hybrid_infer.calls.machines import MachineReport, Role, StateChange
from hybrid_infer.calls.money import NANO
from hybrid_infer.prices.account import Account, Terms, Totals

Stay: TypeAlias = tuple[int, int, int]
"""End, group and begin."""

_END = (0, 0, sys.maxsize - 1)
"""Comes after all stays: by then everybody has left."""


def settle(
    terms: Terms,
    stays: Iterable[Stay],
    roles: Sequence[Role],
    *,
    states: Sequence[StateChange] = (),
    marks: Sequence[int] = (),
    alike: Sequence[int] | None = None,
) -> tuple[list[int], list[MachineReport]]:
    """The shares of calls from all processes that used one machine, and what the machine cost.

    It is what an `Account` makes of the same events. Of millions of calls it takes seconds, and nothing is
    kept of a call but while it is there.

    Args:
        stays: end, group and begin of each, in the order of their begins. Each takes some time.
        roles: of the groups, which count from 1.
        states: what was known of the machine, from whomever; the last word counts.
        marks: moments in ascending order: there is a report of the time between any two. Without them there
            is one, from the first event to the last.
        alike: for each group a number. The times of groups of one number need not be told apart: one of them
            may be given what is the others'. That takes half as long, where the machine is mostly theirs.

    Returns:
        the time given to each group, cold starts included, in nanoseconds: all of it together is what was
        attributed, and groups that were refused are given nothing. And the reports.
    """
    one_replica = all(state.serving in (None, 1) and not state.starting for state in states)
    if alike is not None and one_replica and terms.concurrency is None and set(roles) <= {"call"}:
        stays = _as_one(stays, alike)
    return _Settling(terms, states, marks).through(stays, roles)


def _as_one(stays: Iterable[Stay], alike: Sequence[int]) -> Iterator[Stay]:
    """Stays that follow without a gap become one, where all of them are alike: while one replica is busy, how
    many are there makes no difference to what they are given together."""
    kept: list[Stay] = []
    since = until = -sys.maxsize
    number, mixed = 0, False
    for stay in stays:
        ended, group, began = stay
        if began >= until:
            if kept:
                yield until, kept[0][1], since
                kept.clear()
            since, until, number, mixed = began, ended, alike[group - 1], False
            kept.append(stay)
            continue
        if ended > until:
            until = ended
        if mixed:
            yield stay
        elif alike[group - 1] == number:
            kept.append(stay)
        else:
            mixed = True
            yield from kept
            kept.clear()
            yield stay
    if kept:
        yield until, kept[0][1], since


class _Settling(Account):
    """An account that is told everything at once."""

    __slots__ = ("_next", "_refused", "_spans", "_turns", "_window")

    def __init__(self, terms: Terms, states: Iterable[StateChange], marks: Sequence[int]) -> None:
        super().__init__(terms)
        turns: list[tuple[int, StateChange | None]] = [(change.at, change) for change in states]
        self._turns = sorted([*turns, *((at, None) for at in marks)], key=itemgetter(0))
        self._next = 0
        self._refused = 0
        self._spans: list[Totals] = []
        self._window = round((terms.window or 0.0) * NANO)

    def through(self, stays: Iterable[Stay], roles: Sequence[Role]) -> tuple[list[int], list[MachineReport]]:
        """See `settle`."""
        shares = [0] * (len(roles) + 1)
        some_differ = any(role != "call" for role in roles)
        there: list[Stay] = []  # in order: who leaves next comes first
        leave = there.pop
        # Nearly all of the time one replica is busy. Until `soon` that is so, and the time is divided right
        # here; the account is told later: of millions of calls each step counts. Cold starts are in `given`.
        given = rest = inside = last = paused = idle = 0
        window = self._window
        soon, first = -1, sys.maxsize
        for stay in chain(stays, [_END]):
            ended, group, began = stay
            while first <= began:
                leaver = leave(0)[1]
                if first >= soon:
                    given, rest, soon = self._reach(first, given, rest, inside, last, paused, idle)
                    paused = idle = 0
                elif inside == 1:
                    given += rest + first - last
                    rest = 0
                else:
                    each, rest = divmod(rest + first - last, inside)
                    given += each
                last = first
                first = there[0][0] if there else sys.maxsize
                if some_differ and (role := roles[leaver - 1]) != "call":
                    soon = -1
                    if role == "wait":
                        self._waiting -= 1
                        shares[leaver] += self._cold_given
                        continue
                    self._refused -= 1
                inside -= 1
                shares[leaver] += given
            if stay is _END:
                break
            if began >= soon:
                given, rest, soon = self._reach(began, given, rest, inside, last, paused, idle)
                paused = idle = 0
            elif inside > 1:
                each, rest = divmod(rest + began - last, inside)
                given += each
            elif inside:
                given += rest + began - last
                rest = 0
            else:
                passed = began - last
                paused += passed
                idle += passed if passed < window else window
            last = began
            insort(there, stay)  # few are there at a time: a heap takes longer
            if ended < first:
                first = ended
            if some_differ and (role := roles[group - 1]) != "call":
                soon = -1
                if role == "wait":
                    self._waiting += 1
                    shares[group] -= self._cold_given
                    continue
                self._refused += 1
            inside += 1
            shares[group] -= given
        self._tell(given, rest, inside, last, paused, idle)
        if self._turns:
            self._go_on(self._turns[-1][0])
        for group, role in enumerate(roles, 1):
            if role == "refused":
                shares[group] = 0
        if not self._spans:
            return shares[1:], [self.report(self._last, settled=True)]
        return shares[1:], [self._report(*span, settled=True) for span in pairwise(self._spans)]

    def advance(self, at: int) -> None:
        """As always; but who is refused is known here, and the time is nobody's from the beginning."""
        given, cold = self._given, self._cold_inside
        super().advance(at)
        if self._refused:
            self._take_back((self._given - given) * self._refused, (self._cold_inside - cold) * self._refused)

    def _reach(
        self, at: int, given: int, rest: int, inside: int, last: int, paused: int, idle: int
    ) -> tuple[int, int, int]:
        """Let time pass until `at`: what everybody has been given, and until when it is simple."""
        self._tell(given, rest, inside, last, paused, idle)
        self._go_on(at)
        soon = self._turn() if self._is_simple() else -1
        return self._given + self._cold_inside, self._rest, soon

    def _tell(self, given: int, rest: int, inside: int, last: int, paused: int, idle: int) -> None:
        """What has come about since the account was told last.

        Args:
            paused: for so long nobody was there; in between one replica was busy.
            idle: as much of it as the window of a container covers.
        """
        self._given, self._rest, self._calls = given - self._cold_inside, rest, inside
        if self._since is None or last <= self._last:
            return
        used = last - self._last - paused
        self._last = last
        self._busy += used
        if self._serving is not None:
            self._idle += paused
            return
        self._assumed += used
        if self._terms.window is None:
            self._unknown += paused
        else:
            self._idle += idle
            self._assumed += paused
            self._up_until = [last]

    def _go_on(self, at: int) -> None:
        """Let time pass until `at`, with whatever comes on the way."""
        while self._turn() <= at:
            moment, change = self._turns[self._next]
            self._next += 1
            if change is None:
                self._spans.append(self.totals(moment))
            else:
                self.set_state(change.serving, change.starting, moment)
        self.advance(at)

    def _turn(self) -> int:
        """The next moment at which there is something to do besides coming and going."""
        return self._turns[self._next][0] if self._next < len(self._turns) else sys.maxsize

    def _is_simple(self) -> bool:
        """While calls are there, one replica is busy and nothing else costs anything."""
        if self._refused or self._waiting:
            return False
        terms = self._terms
        if self._serving is not None:
            return self._serving == 1 and (self._starting == 0 or not terms.cold_start)
        return terms.window is None or (terms.concurrency is None and len(self._up_until) <= 1)
