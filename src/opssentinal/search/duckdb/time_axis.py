"""The time axis of a histogram: round steps, and days that begin at midnight of the reader's zone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date, datetime, tzinfo
from math import gcd
from typing import Final, NamedTuple

from opssentinal.events.model import from_us, to_us
from opssentinal.query import day_start
from opssentinal.search.answers import Bucket, Histogram

_DAY_S: Final = 86_400
_STEPS_S: Final = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200,
    *(days * _DAY_S for days in (1, 2, 7, 14, 28, 91, 182, 364, 3640, 36_400, 364_000, 3_640_000)),
)  # fmt: skip
# Room for a zone at both ends of the calendar.
_FIRST_DAY, _LAST_DAY = 2, date.max.toordinal() - 1


class Axis(NamedTuple):
    """Bucket starts in µs, the end of the last one, the width, and the grain (µs) in which the engine is to count."""

    starts_us: list[int]
    end_us: int
    step_s: int
    grain_us: int


def axis(first_us: int, end_us: int, buckets: int, tz: tzinfo) -> Axis:
    """Lay at most `buckets` + 1 round steps over [first_us, end_us), which must not be empty."""
    span_s = (end_us - first_us) / 1_000_000
    step_s = next((step for step in _STEPS_S if span_s / step <= buckets), _STEPS_S[-1])
    if step_s < _DAY_S:
        # Aligned to the clock of the zone as it stands at the beginning; a clock change within shifts nothing.
        offset = from_us(first_us).astimezone(tz).utcoffset()
        offset_us = int(offset.total_seconds()) * 1_000_000 if offset else 0
        step_us = step_s * 1_000_000
        start = (first_us + offset_us) // step_us * step_us - offset_us
        starts = list(range(start, end_us, step_us))
        return Axis(starts, starts[-1] + step_us, step_s, step_us)
    days = step_s // _DAY_S
    # Counted from a Monday, so that weeks begin on one.
    ordinal = (from_us(first_us).astimezone(tz).date().toordinal() - 1) // days * days + 1
    starts = [_day_us(ordinal, tz)]
    while ordinal + days <= _LAST_DAY:
        ordinal += days
        edge = _day_us(ordinal, tz)
        if edge >= end_us:
            return Axis(starts, edge, step_s, _grain_us(starts, edge))
        starts.append(edge)
    return Axis(starts, end_us, step_s, _grain_us(starts, end_us))  # the calendar ends first


def _grain_us(starts_us: list[int], end_us: int) -> int:
    """The widest grain that fits every bucket: a day, or an hour where the clock was changed by one."""
    return gcd(*(start - starts_us[0] for start in starts_us[1:])) or end_us - starts_us[0]


def _day_us(ordinal: int, tz: tzinfo) -> int:
    return to_us(day_start(date.fromordinal(max(ordinal, _FIRST_DAY)), tz))


def histogram(axis: Axis, counts: Iterable[tuple[int, str, int]], first: datetime, end: datetime) -> Histogram:
    """Put the engine's (grain number from the axis' start, outcome, count) into buckets."""
    buckets = [Bucket(from_us(start)) for start in axis.starts_us]
    origin = axis.starts_us[0]
    for grain, outcome, count in counts:
        bucket = buckets[max(bisect_right(axis.starts_us, origin + grain * axis.grain_us) - 1, 0)]
        setattr(bucket, outcome, getattr(bucket, outcome) + count)
    return Histogram(first, end, axis.step_s, buckets)
