"""Schedules: when a machine is wanted, from a line of text. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

from hybrid_infer.endpoints.schedule_text import CronLine, WindowLine, parse_line

HORIZON = timedelta(days=31)
"""How far ahead a change is looked for."""

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_LOOKS = (timedelta(minutes=2), timedelta(hours=2), timedelta(days=1))

Occurrence: TypeAlias = tuple[datetime, datetime]
"""From and until, UTC; the end is no longer in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a machine is wanted. Made by `parse_schedule`; moments are aware datetimes of any zone.

    Times are wall times of the zone. One that does not exist, because the clock is put forward, is the moment
    of the jump; one that exists twice is the first of the two.
    """

    text: str
    rules: tuple[WindowLine | CronLine, ...]

    def wanted(self, at: datetime) -> bool:
        """Whether it is wanted at that moment."""
        return any(end is not None for end in self._ends(at.astimezone(UTC)))

    def next_change(self, at: datetime) -> datetime:
        """The first moment (UTC) after `at` when `wanted` is another; a month after `at` where it is the same
        until then."""
        begin = now = at.astimezone(UTC)
        horizon = begin + HORIZON
        if not self.wanted(now):
            return min((_next_begin(rule, now, horizon) for rule in self.rules), default=horizon)
        while now < horizon:
            ends = [end for end in self._ends(now) if end is not None]
            if not ends:
                return now
            now = max(ends)
        return horizon

    def due(self, at: datetime, lead: float) -> bool:
        """Whether it is wanted, or will be within `lead` seconds, so that it has to be started now."""
        if self.wanted(at):
            return True
        return self.wanted(soon := self.next_change(at)) and soon <= at + timedelta(seconds=lead)

    def __str__(self) -> str:
        return self.text

    def _ends(self, now: datetime) -> list[datetime | None]:
        """For each rule until when it wants it; None where it does not now."""
        return [_end(rule, now) for rule in self.rules]


def parse_schedule(text: str | Sequence[str]) -> Schedule:
    """Read a schedule: lines separated by ``;``, or a list of them. It is wanted when any of them wants it.

    - ``Mon-Fri 08:00-19:00 Europe/Berlin``: days, from-until, zone (UTC where none is named);
    - ``Sat,Sun 10:00-02:00``: until two o'clock of the day after;
    - ``daily 07:00-24:00``;
    - ``cron 0 8 * * 1-5 for 11h Europe/Berlin``: five fields of cron, and for how long (``90m``, ``1h30m``,
      ``2d``). Needs the ``schedules`` extra.

    Raises:
        ValueError: a sentence that says what is wrong and what may stand there.
    """
    lines = [text] if isinstance(text, str) else list(text)
    parts = [part.strip() for line in lines for part in line.split(";") if part.strip()]
    if not parts:
        raise ValueError('a schedule is empty; write e.g. "Mon-Fri 08:00-19:00 Europe/Berlin"')
    return Schedule(text="; ".join(parts), rules=tuple(parse_line(part) for part in parts))


def moment(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """The moment (UTC) at which the clocks of a zone show so many minutes past midnight; the first of two,
    and the jump where they never do."""
    wall = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)
    early, late = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    if early <= late and late.astimezone(zone).replace(tzinfo=None) == wall:
        return late
    if early > late:  # shown twice: fold 0 is the first
        return late
    # Never shown: the jump lies between the two readings.
    before = early.astimezone(zone).utcoffset()
    while late - early > _SECOND:
        middle = early + (late - early) // 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)


def _end(rule: WindowLine | CronLine, now: datetime) -> datetime | None:
    """Until when a rule wants it that wants it now."""
    if isinstance(rule, CronLine):
        last = _last_tick(rule, now)
        return None if last is None else last + rule.lasts
    return max((end for begin, end in _around(rule, now, 1) if begin <= now < end), default=None)


def _next_begin(rule: WindowLine | CronLine, now: datetime, horizon: datetime) -> datetime:
    """When a rule that does not want it now will; `horizon` at the latest."""
    if isinstance(rule, CronLine):
        return min(next((tick for tick in rule.ticks(now) if tick > now), horizon), horizon)
    found = (begin for begin, _ in _around(rule, now, HORIZON.days) if now < begin < horizon)
    return min(found, default=horizon)


def _around(rule: WindowLine, now: datetime, days: int) -> list[Occurrence]:
    """Occurrences that begin between two days before `now` and so many days after it."""
    first = now.astimezone(rule.zone).date() - 2 * _DAY
    found: list[Occurrence] = []
    for ahead in range(days + 4):
        day = first + ahead * _DAY
        if day.weekday() in rule.days:
            begin, end = moment(day, rule.begin, rule.zone), moment(day, rule.end, rule.zone)
            if begin < end:
                found.append((begin, end))
    return found


def _last_tick(rule: CronLine, now: datetime) -> datetime | None:
    """The last moment of a cron line, of those that are less than `lasts` ago."""
    for ago in (
        *(span for span in _LOOKS if span < rule.lasts),
        rule.lasts,
    ):  # nearby first: it may be every minute
        last: datetime | None = None
        for tick in rule.ticks(now - ago):
            if tick > now:
                break
            last = tick
        if last is not None:
            return last
    return None
