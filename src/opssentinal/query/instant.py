"""Instants as people write them: dates, RFC 3339 times and relative times, in the zone they mean.

A filter holds instants in UTC; this is the only place where a date or "7d" becomes one. A bare date is a day of the
given zone and begins at that zone's midnight, or where a clock change skips midnight, when the clock first shows the day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from opssentinal.errors import InvalidQuery
from opssentinal.query.fields import shown
from opssentinal.years import FILTER_YEAR_MAX, FILTER_YEAR_MIN

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_HINT = (
    "Write a date (2026-01-31), a time (2026-01-31T09:30 or with Z or an offset), today, yesterday, now, "
    "or how long ago: 30m, 24h, 7d, 2w."
)


def zone_named(name: str, *, path: str = "") -> ZoneInfo:
    """Return the zone of a name of the time-zone database, such as Europe/Berlin.

    Raises InvalidQuery with `path`, which names the parameter where there is no telling from the rest.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a name may be a folder, or lead out of it
        raise InvalidQuery(
            f"There is no time zone “{shown(name)}”.",
            path=path,
            hint="Write it as the time-zone database does, such as Europe/Berlin.",
        ) from error


@cache
def zone_names() -> tuple[str, ...]:
    """Return the zones to choose from: UTC and the places of the time-zone database, without its old aliases."""
    places = {
        name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "US/", "SystemV/"))
    }
    return ("UTC", *sorted(places))


def parse_instant(text: str, tz: tzinfo = UTC, now: datetime | None = None, *, end: bool = False) -> datetime:
    """Read a date, a time or a relative time and return the instant it means, in UTC.

    A bare date (also `today`, `yesterday`) is its first instant in `tz`, with `end` the first instant after it, so that
    a range includes its last day. A time without an offset is the clock of `tz`, the earlier one where the clock shows
    it twice. `now` is the instant relative times count back from: aware, by default the clock. Raises InvalidQuery.
    """
    now = now or datetime.now(UTC)
    if now.tzinfo is None:
        raise ValueError("now must be an aware datetime")
    now = now.astimezone(UTC)  # in a zone with clock changes, datetime would count back on the clock, not in time
    try:
        day = _day(text, tz, now)
        if day is not None:
            return _within(day_start(day + timedelta(days=1) if end else day, tz), text)
        moment = _relative(text, now) or _time(text)
        return _within(moment.replace(tzinfo=tz) if moment.tzinfo is None else moment, text)
    except OverflowError as error:
        raise _out_of_range(text) from error
    except ValueError as error:
        raise InvalidQuery(f"“{shown(text)}” is no date or time.", hint=_HINT) from error


def day_bounds(text: str, tz: tzinfo = UTC, now: datetime | None = None) -> tuple[datetime, datetime]:
    """Read a bare date and return its first instant and the first one after it, in UTC. Raises InvalidQuery."""
    first, after = parse_instant(text, tz, now), parse_instant(text, tz, now, end=True)
    if first == after:
        raise InvalidQuery(f"“{shown(text)}” is no day of its own.", hint="on: takes a date such as 2026-01-31.")
    return first, after


def day_start(day: date, tz: tzinfo) -> datetime:
    """Return the first instant of a day in a zone, in UTC."""
    # Where midnight is skipped, fold=0 takes the offset before the change, which makes it the moment of the change.
    return datetime.combine(day, time(), tz).astimezone(UTC)


def written(instant: datetime, tz: tzinfo = UTC, *, end: bool = False, absolute: bool = False) -> str:
    """Write an instant as `parse_instant` reads it with the same `tz` and `end`: a bare date where it is one.

    With `absolute` it is always a time with its offset, which means the same in every zone.
    """
    local = instant.astimezone(tz)
    if not absolute and day_start(local.date(), tz) == instant:
        return (local.date() - timedelta(days=1) if end else local.date()).isoformat()
    text = local.isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def checked(moment: datetime) -> datetime:
    """Return an aware datetime in UTC, refusing naive ones and years that no clock will show."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InvalidQuery(
            "A time of a filter has no zone.", hint="Write it with Z or an offset: 2026-01-31T09:30:00Z."
        )
    return _within(moment, moment.isoformat())


def _within(moment: datetime, said: str) -> datetime:
    try:
        utc = moment.astimezone(UTC)
    except OverflowError as error:
        raise _out_of_range(said) from error
    if not FILTER_YEAR_MIN <= utc.year <= FILTER_YEAR_MAX:
        raise _out_of_range(said)
    return utc


def _out_of_range(said: str) -> InvalidQuery:
    return InvalidQuery(
        f"“{shown(said)}” is out of range.",
        hint=f"Use a time in the years {FILTER_YEAR_MIN} to {FILTER_YEAR_MAX}; leave the bound out for no limit.",
    )


def _day(text: str, tz: tzinfo, now: datetime) -> date | None:
    """Return the day a text names, or None where it names an instant (or nothing)."""
    word = text.lower()
    if word in ("today", "yesterday"):
        return now.astimezone(tz).date() - timedelta(days=word == "yesterday")
    try:
        return date.fromisoformat(text) if _begins_with_date(text) else None
    except ValueError:
        return None


def _time(text: str) -> datetime:
    """Read a date and time, naive or not. RFC 3339, Section 5.6; seconds, fractions and offset may be missing."""
    if not _begins_with_date(text) or text[10:11] not in ("T", "t", " "):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _begins_with_date(text: str) -> bool:
    # fromisoformat also takes ISO 8601's weeks, unseparated digits (a number of seconds would pass) and any separator.
    return text[4:8:3] == "--"


def _relative(text: str, now: datetime) -> datetime | None:
    """Return the instant of `now` or of a count with a unit, or None for anything else."""
    word = text.lower()
    if word == "now":
        return now
    count, unit = word[:-1], _UNITS.get(word[-1:])
    if unit is None or not (count.isascii() and count.isdigit() and len(count) <= 9):
        return None
    return now - int(count) * unit
