"""The lines of a schedule: what may stand in them, and what is said of those that are wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

FORMS = (
    '"Mon-Fri 08:00-19:00 Europe/Berlin", "Sat,Sun 10:00-02:00", "daily 07:00-22:00" '
    'or "cron 0 8 * * 1-5 for 11h Europe/Berlin"'
)

MOST = timedelta(days=31)
"""The longest that a cron line may last."""

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NAMES = {name: place for place, day in enumerate(_DAYS) for name in (day, day[:3])}
_DASH = r"[-\u2013]"  # people paste the long one
_WINDOW = re.compile(rf"(\d{{1,2}}):(\d{{2}})\s*{_DASH}\s*(\d{{1,2}}):(\d{{2}})")
_LASTS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?")
_FULL_DAY = 24 * 60
_CRON_FIELDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLine:
    """From `begin` until `end` on some days: minutes after midnight of the day on which it begins, by the
    clocks of `zone`. An end beyond 24 hours is on the day after. Monday is 0."""

    days: frozenset[int]
    begin: int
    end: int
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class CronLine:
    """From each moment of `fields` for as long as `lasts`."""

    fields: str
    lasts: timedelta
    zone: ZoneInfo

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """The moments (UTC) after a moment, in order, until there is none for 50 years."""
        from cronsim import CronSim

        for tick in CronSim(self.fields, after.astimezone(self.zone)):
            yield tick.astimezone(UTC)


def parse_line(line: str) -> WindowLine | CronLine:
    """Read one line.

    Raises:
        ValueError: a sentence that says what is wrong and what may stand there.
    """
    words = line.split()
    if re.fullmatch(r"cron:?", words[0], re.IGNORECASE):
        return _cron(line, words[1:])
    found = _WINDOW.search(line)
    if found is None:
        raise _wrong(line, "has no hours such as 08:00-19:00", f"write {FORMS}")
    begin, end = _minutes(line, found[1], found[2]), _minutes(line, found[3], found[4])
    if begin == end:
        raise _wrong(line, "begins when it ends", "write 00:00-24:00 for the whole day")
    if begin == _FULL_DAY:
        raise _wrong(line, "begins at 24:00", "write 00:00 and the day after")
    days = _days(line, line[: found.start()])
    zone = _zone(line, line[found.end() :].split())
    return WindowLine(days=days, begin=begin, end=end if end > begin else end + _FULL_DAY, zone=zone)


def _cron(line: str, words: list[str]) -> CronLine:
    words_ahead = [word.lower() for word in words]
    if "for" not in words_ahead:
        raise _wrong(line, "does not say for how long", 'write e.g. "cron 0 8 * * 1-5 for 11h Europe/Berlin"')
    place = words_ahead.index("for")
    fields, rest = words[:place], words[place + 1 :]
    lasts = _lasts(line, rest[0] if rest else "")
    zone = _zone(line, rest[1:])
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise _wrong(
            line,
            "needs the cronsim package",
            'pip install "hybrid-infer[schedules]", or write days and hours',
        ) from None
    reason = "" if len(fields) == _CRON_FIELDS else f"{len(fields)} fields"
    try:
        CronSim(" ".join(fields), datetime(2026, 1, 1, tzinfo=zone))
    except CronSimError as error:
        reason = reason or str(error).lower()
    if reason:
        raise _wrong(
            line, f"is no cron expression ({reason})", "write minute, hour, day of month, month, day of week"
        )
    return CronLine(fields=" ".join(fields), lasts=lasts, zone=zone)


def _lasts(line: str, text: str) -> timedelta:
    found = _LASTS.fullmatch(text.lower())
    days, hours, minutes = (int(part or 0) for part in (found.groups() if found else ("", "", "")))
    lasts = timedelta(days=min(days, 1000), hours=min(hours, 10_000), minutes=min(minutes, 100_000))
    if not timedelta(0) < lasts <= MOST:
        raise _wrong(line, f'lasts "{text}"', "write 1m to 31d, e.g. 90m, 11h, 1h30m or 2d")
    return lasts


def _minutes(line: str, hours: str, minutes: str) -> int:
    total = int(hours) * 60 + int(minutes)
    if total > _FULL_DAY or int(minutes) >= 60:
        raise _wrong(line, f"has no such time as {hours}:{minutes}", "hours are 00:00 to 24:00")
    return total


def _days(line: str, text: str) -> frozenset[int]:
    words = text.strip().rstrip(",").lower()
    if words in ("daily", "every day"):
        return frozenset(range(7))
    if not words:
        raise _wrong(line, "names no days", 'write "daily", "Mon-Fri" or "Sat,Sun"')
    found: set[int] = set()
    for part in re.split(rf"\s*,\s*|\s+(?!{_DASH})(?<!{_DASH}\s)", words):
        first, *others = re.split(rf"\s*{_DASH}\s*", part)
        begin = _day(line, first)
        end = _day(line, others[0]) if others else begin
        if len(others) > 1:
            raise _wrong(line, f'has days "{part}"', 'write "daily", "Mon-Fri" or "Sat,Sun"')
        found.update((begin + ahead) % 7 for ahead in range((end - begin) % 7 + 1))
    return frozenset(found)


def _day(line: str, name: str) -> int:
    if name in _NAMES:
        return _NAMES[name]
    near = get_close_matches(name, [*_NAMES, "daily"], n=1, cutoff=0.5)
    hint = f'did you mean "{near[0].capitalize() if near[0] in _NAMES else near[0]}"?' if near else ""
    raise _wrong(line, f'has no such day as "{name}"', hint or 'write "daily", "Mon-Fri" or "Sat,Sun"')


def _zone(line: str, words: list[str]) -> ZoneInfo:
    """The zone that ends a line; UTC where there is none."""
    name = words[0] if words else "UTC"
    if len(words) > 1:
        raise _wrong(
            line, f'ends in "{" ".join(words)}"', "one zone may stand at the end; put ; between two lines"
        )
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # ZoneInfoNotFoundError is a KeyError
        pass
    known = {zone.lower(): zone for zone in available_timezones()}
    if name.lower() in known:
        return ZoneInfo(known[name.lower()])
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    hint = f'did you mean "{known[near[0]]}"?' if near else 'write e.g. "Europe/Berlin" or "UTC"'
    if not known:
        hint = "this machine has no list of time zones: pip install tzdata"
    raise _wrong(line, f'has no such time zone as "{name}"', hint)


def _wrong(line: str, what: str, hint: str) -> ValueError:
    return ValueError(f'the schedule "{line}" {what}; {hint}')
