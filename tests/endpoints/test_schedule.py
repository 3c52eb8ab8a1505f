"""When a machine is wanted, from a line of text."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.endpoints.schedule import HORIZON, parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")
FORWARD = datetime(2026, 3, 29)
"""At 02:00 (01:00 UTC) Berlin's clocks show 03:00."""
BACK = datetime(2026, 10, 25)
"""At 03:00 (01:00 UTC) Berlin's clocks show 02:00 again."""
OFFICE = "Mon-Fri 08:00-19:00 Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def changes(text: str, start: datetime, count: int) -> list[str]:
    """The next changes: UTC, with + where it is wanted from then on."""
    schedule, at, found = parse_schedule(text), start, list[str]()
    for _ in range(count):
        at = schedule.next_change(at)
        found.append(f"{at:%d %H:%M}{'+' if schedule.wanted(at) else '-'}")
    return found


def test_office_hours_are_wall_time_of_the_zone() -> None:
    """Friday evening until Monday morning, over the change to summer time: the hours in Berlin stay."""
    found = changes(OFFICE, utc("2026-03-27 12:00"), 4)
    assert found == ["27 18:00-", "30 06:00+", "30 17:00-", "31 06:00+"]
    schedule = parse_schedule(OFFICE)
    assert schedule.wanted(datetime(2026, 3, 27, 8, 0, tzinfo=BERLIN))
    assert not schedule.wanted(datetime(2026, 3, 27, 19, 0, tzinfo=BERLIN))
    assert not schedule.wanted(datetime(2026, 3, 28, 12, 0, tzinfo=BERLIN))


def test_hours_may_end_on_the_day_after() -> None:
    found = changes("Sat,Sun 10:00-02:00 UTC", utc("2026-11-06 12:00"), 5)
    assert found == ["07 10:00+", "08 02:00-", "08 10:00+", "09 02:00-", "14 10:00+"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("daily 07:00-22:00", ["02 07:00+", "02 22:00-", "03 07:00+"]),
        ("Fri-Mon 07:00-22:00", ["02 07:00+", "02 22:00-", "06 07:00+"]),
        ("Monday, wed 7:00 - 8:00", ["02 07:00+", "02 08:00-", "04 07:00+"]),
        ("Mon 07:00-09:00; Mon 08:00-10:00;", ["02 07:00+", "02 10:00-", "09 07:00+"]),
        ("Mon 07:00-09:00; Mon 09:00-10:00", ["02 07:00+", "02 10:00-", "09 07:00+"]),
        ("Mon 20:00-24:00; Tue 00:00-01:00", ["02 20:00+", "03 01:00-", "09 20:00+"]),
        ("cron 0 8 * * 1-5 for 11h", ["02 08:00+", "02 19:00-", "03 08:00+"]),
        ("CRON: */30 8 * * mon for 1h30m utc", ["02 08:00+", "02 10:00-", "09 08:00+"]),
        ("cron 0 0 1,15 * * for 2d", ["03 00:00-", "15 00:00+", "17 00:00-"]),
    ],
)
def test_what_may_be_written(text: str, expected: list[str]) -> None:
    """From Sunday, 1 November 2026, on."""
    assert changes(text, utc("2026-11-01 23:00"), 3) == expected


def test_a_list_of_lines_is_their_union() -> None:
    both = parse_schedule(["Mon 07:00-08:00", "Tue 07:00-08:00; Wed 07:00-08:00"])
    assert str(both) == "Mon 07:00-08:00; Tue 07:00-08:00; Wed 07:00-08:00"
    assert [both.wanted(utc(f"2026-11-0{day} 07:30")) for day in (2, 3, 4, 5)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # 02:30 does not exist: it begins at the jump. Ends that do not exist are at the jump, too.
        ("daily 02:30-04:00 Europe/Berlin", ["29 01:00+", "29 02:00-"]),
        ("daily 01:00-02:30 Europe/Berlin", ["29 00:00+", "29 01:00-"]),
        ("cron 30 2 * * * for 1h Europe/Berlin", ["29 01:00+", "29 02:00-"]),
        # All of it does not exist: nothing that day.
        ("daily 02:15-02:45 Europe/Berlin", ["30 00:15+", "30 00:45-"]),
    ],
)
def test_a_time_that_does_not_exist_is_the_jump(text: str, expected: list[str]) -> None:
    assert changes(text, FORWARD.replace(tzinfo=BERLIN), 2) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("daily 02:30-04:00 Europe/Berlin", ["25 00:30+", "25 03:00-", "26 01:30+"]),
        ("daily 01:00-02:30 Europe/Berlin", ["24 23:00+", "25 00:30-", "26 00:00+"]),
        ("daily 02:15-02:45 Europe/Berlin", ["25 00:15+", "25 00:45-", "26 01:15+"]),
        ("cron 30 2 * * * for 15m Europe/Berlin", ["25 00:30+", "25 00:45-", "26 01:30+"]),
    ],
)
def test_a_time_that_exists_twice_counts_once(text: str, expected: list[str]) -> None:
    """The first of the two."""
    assert changes(text, BACK.replace(tzinfo=BERLIN), 3) == expected


def test_what_never_changes_is_looked_at_again_in_a_month() -> None:
    start = utc("2026-11-02 08:00")
    for text in ("daily 00:00-24:00", "cron 0 0 29 2 * for 1h"):
        assert parse_schedule(text).next_change(start) == start + HORIZON


def test_a_start_is_due_before_the_hours_begin() -> None:
    """Also of hours that are shorter than the start takes, and none is while nothing is wanted soon."""
    schedule = parse_schedule("Mon 08:00-08:05")
    due = [schedule.due(utc(f"2026-11-02 {time}"), 600.0) for time in ("07:49", "07:50", "08:04", "08:05")]
    assert due == [False, True, True, False]
    assert not parse_schedule("cron 0 0 29 2 * for 1h").due(utc("2026-11-02 08:00"), HORIZON.total_seconds())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'a schedule is empty; write e.g. "Mon-Fri'),
        (" ; ", "a schedule is empty"),
        ("Mon-Fri", '"Mon-Fri" has no hours such as 08:00-19:00; write "Mon-Fri 08:00'),
        ("Mno-Fri 8:00-9:00", 'no such day as "mno"; did you mean "Mon"?'),
        ("dayly 8:00-9:00", 'did you mean "daily"?'),
        ("8:00-9:00", 'names no days; write "daily"'),
        ("Mon-Fri-Sat 8:00-9:00", 'has days "mon-fri-sat"'),
        ("daily 25:00-26:00", "no such time as 25:00; hours are 00:00 to 24:00"),
        ("daily 8:60-9:00", "no such time as 8:60"),
        ("daily 8:00-8:00", "begins when it ends; write 00:00-24:00 for the whole day"),
        ("daily 24:00-08:00", "begins at 24:00"),
        (
            "daily 8:00-9:00 Europe/Berln",
            'no such time zone as "Europe/Berln"; did you mean "Europe/Berlin"?',
        ),
        ("daily 8:00-9:00 ../etc", "no such time zone"),
        ("daily 8:00-9:00 UTC x", 'ends in "UTC x"'),
        ("Mon 8:00-9:00, Tue 8:00-9:00", "put ; between two lines"),
        ("cron 0 8 * * 1-5", "does not say for how long"),
        ("cron 0 8 * * for 1h", r"no cron expression \(4 fields\); write minute, hour"),
        ("cron 0 8 * * 9 for 1h", r"\(bad day-of-week\)"),
        ("cron 0 8 * * 1 for", 'lasts ""; write 1m to 31d'),
        ("cron 0 8 * * 1 for 0h", 'lasts "0h"'),
        ("cron 0 8 * * 1 for 32d", 'lasts "32d"'),
    ],
)
def test_what_is_wrong_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse_schedule(text)
    assert "\n" not in str(caught.value)


def test_cron_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    assert str(parse_schedule(OFFICE)) == OFFICE
    with pytest.raises(ValueError, match=r'pip install "hybrid-infer\[schedules\]"'):
        parse_schedule("cron 0 8 * * 1-5 for 11h")


DAYS = ["daily", "Mon-Fri", "Sat,Sun", "Sun", "Fri-Mon"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
TIMES = st.integers(0, 24 * 4 - 1).map(lambda quarter: f"{quarter // 4:02}:{quarter % 4 * 15:02}")
WINDOWS = st.tuples(st.sampled_from(DAYS), TIMES, TIMES, st.sampled_from(ZONES)).filter(
    lambda w: w[1] != w[2]
)
CRONS = st.tuples(
    st.sampled_from(["0 8 * * 1-5", "30 2 * * *", "15 1 * * 0", "*/20 2 * * *", "0 */6 * * *"]),
    st.sampled_from(["20m", "1h", "11h", "26h"]),
    st.sampled_from(ZONES),
)
LINES = st.one_of(
    WINDOWS.map(lambda w: f"{w[0]} {w[1]}-{w[2]} {w[3]}"),
    CRONS.map(lambda c: f"cron {c[0]} for {c[1]} {c[2]}"),
)
MOMENTS = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),
    # Around the changes of the clocks, where things go wrong.
    st.sampled_from(
        [FORWARD, BACK, datetime(2026, 3, 8), datetime(2026, 11, 1), datetime(2026, 4, 5)]
    ).flatmap(lambda day: st.datetimes(day - timedelta(hours=36), day + timedelta(hours=36))),
).map(lambda at: at.replace(tzinfo=UTC))


@given(st.lists(LINES, min_size=1, max_size=3), MOMENTS, st.floats(0, 0.999))
def test_between_two_changes_it_is_wanted_or_it_is_not(lines: list[str], at: datetime, share: float) -> None:
    """At the change it is another, unless the change is the end of the month that is looked at."""
    schedule = parse_schedule(lines)
    now = schedule.wanted(at)
    change = schedule.next_change(at)
    assert at < change <= at + HORIZON
    assert schedule.wanted(at + (change - at) * share) == now
    assert schedule.wanted(change - timedelta(microseconds=1)) == now
    assert change == at + HORIZON or schedule.wanted(change) != now


@given(WINDOWS, st.datetimes(datetime(2026, 5, 1), datetime(2026, 8, 31)))
def test_away_from_the_changes_it_is_what_the_clock_shows(
    window: tuple[str, str, str, str], wall: datetime
) -> None:
    days, begin, end, zone = window
    schedule = parse_schedule(f"{days} {begin}-{end} {zone}")
    named = {"daily": range(7), "Mon-Fri": range(5), "Sat,Sun": (5, 6), "Sun": (6,), "Fri-Mon": (4, 5, 6, 0)}
    shown, day = f"{wall:%H:%M}", wall.weekday()
    if begin < end:
        expected = day in named[days] and begin <= shown < end
    else:
        expected = (day in named[days] and shown >= begin) or ((day - 1) % 7 in named[days] and shown < end)
    assert schedule.wanted(wall.replace(tzinfo=ZoneInfo(zone))) == expected
