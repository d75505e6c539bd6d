"""Dates and times: days of a zone, clock changes included, and the last day of a range."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.query import day_start, parse, parse_instant
from opssentinal.query.instant import written

from .strategies import instants, refused, zones

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


def utc(text: str) -> datetime:
    """Read an ISO time as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day", "first", "after"),
    [
        (UTC, "2026-03-29", "2026-03-29T00:00", "2026-03-30T00:00"),
        (BERLIN, "2026-03-29", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        (BERLIN, "2026-10-25", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        (NEW_YORK, "2026-03-08", "2026-03-08T05:00", "2026-03-09T04:00"),  # 23 hours
        (NEW_YORK, "2026-11-01", "2026-11-01T04:00", "2026-11-02T05:00"),  # 25 hours
        (ZoneInfo("America/Sao_Paulo"), "2018-11-04", "2018-11-04T03:00", "2018-11-05T02:00"),  # no midnight
        (ZoneInfo("America/Havana"), "2026-11-01", "2026-11-01T04:00", "2026-11-02T05:00"),  # midnight twice
        (ZoneInfo("Asia/Kathmandu"), "2026-01-01", "2025-12-31T18:15", "2026-01-01T18:15"),
    ],
)
def test_a_day_is_the_day_of_its_zone(zone: ZoneInfo, day: str, first: str, after: str) -> None:
    """A bare date begins and ends with the day of the zone, however long clock changes make it."""
    assert parse_instant(day, zone) == utc(first)
    assert parse_instant(day, zone, end=True) == utc(after)
    both = parse(f"on:{day}", zone)
    assert (both.after, both.before) == (utc(first), utc(after))


def test_after_includes_the_day_and_before_does_not() -> None:
    """In the language `before:` a date ends at that day's first moment, in the zone."""
    assert parse("after:2026-01-01", BERLIN).after == utc("2025-12-31T23:00")
    assert parse("before:2026-01-02", BERLIN).before == utc("2026-01-01T23:00")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-10-25T02:30", "2026-10-25T00:30"),  # the clock shows it twice: the earlier
        ("2026-10-25T02:30+01:00", "2026-10-25T01:30"),
        ("2026-03-29T02:30", "2026-03-29T01:30"),  # the clock never shows it
        ("2026-01-31T09:30", "2026-01-31T08:30"),
        ("2026-01-31 09:30:15", "2026-01-31T08:30:15"),
        ("2026-01-31T09:30:00.123456Z", "2026-01-31T09:30:00.123456"),
        ("2026-01-31T09:30:00-05:00", "2026-01-31T14:30:00"),
    ],
)
def test_times(text: str, expected: str) -> None:
    """A time with an offset is itself; one without is the clock of the zone; `end` changes neither."""
    assert parse_instant(text, BERLIN) == utc(expected)
    assert parse_instant(text, BERLIN, end=True) == utc(expected)


def test_today_is_the_day_of_the_zone_not_of_utc() -> None:
    """At half past eleven in the evening UTC it is already tomorrow in Berlin."""
    now = utc("2026-06-30T23:30")
    assert parse_instant("today", UTC, now) == utc("2026-06-30T00:00")
    assert parse_instant("today", BERLIN, now) == utc("2026-06-30T22:00")
    assert parse_instant("Yesterday", BERLIN, now, end=True) == utc("2026-06-30T22:00")


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("now", timedelta()),
        ("30s", timedelta(seconds=30)),
        ("30m", timedelta(minutes=30)),
        ("24H", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("0d", timedelta()),
    ],
)
def test_relative_times(text: str, back: timedelta) -> None:
    """Relative times count back from now, a day as 24 hours in every zone and as a beginning or an end."""
    now = datetime(2026, 10, 26, 12, tzinfo=BERLIN)
    assert parse_instant(text, BERLIN, now, end=True) == now.astimezone(UTC) - back


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "7",
        "d",
        "-7d",
        "٧d",
        "7 d",
        "1.5h",
        "2026-13-01",
        "12:30",
        "\x00",
        "1" * 99,
        "1795000000",
        "20260101",
        "2026-W01",
        "2026-W01-1",
        "2026-01-01x10:00",
        "2026-01",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Anything else is an error with the forms to use."""
    assert "7d" in refused(parse_instant, text).hint


def test_a_naive_now_is_a_mistake_of_the_program() -> None:
    """Now without a zone is no user's fault: it is not an InvalidQuery."""
    with pytest.raises(ValueError, match="aware"):
        parse_instant("7d", now=datetime(2026, 1, 1))


@given(instants, zones, st.booleans())
def test_instants_survive_being_written(moment: datetime, zone: ZoneInfo, end: bool) -> None:
    """Whatever `written` writes is read as the same instant, as a beginning and as an end."""
    assert parse_instant(written(moment, zone, end=end), zone, end=end) == moment
    assert parse_instant(written(moment, zone, end=end, absolute=True), UTC, end=not end) == moment


@given(st.dates(date(1950, 1, 1), date(2040, 1, 1)), zones)
def test_days_follow_each_other_without_gap_or_overlap(day: date, zone: ZoneInfo) -> None:
    """The end of a day is the beginning of the next, and the instant before its beginning is of an earlier day."""
    first = day_start(day, zone)
    assert parse_instant(day.isoformat(), zone, end=True) == day_start(day + timedelta(days=1), zone)
    assert (first - timedelta(microseconds=1)).astimezone(zone).date() < day
    assert first.astimezone(zone).date() >= day


def test_fixed_offsets_are_zones_too() -> None:
    """A tzinfo without clock changes serves as well."""
    assert parse_instant("2026-01-01", timezone(timedelta(hours=-3))) == utc("2026-01-01T03:00")
