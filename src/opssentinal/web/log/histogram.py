"""The geometry of the histogram: bars stacked by outcome, each a link that zooms in, and the marks of its time axis.

Widths are percentages and heights pixels, so the SVG stretches with the page and its patterns and letters do not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from opssentinal.search.answers import Bucket, Histogram
from opssentinal.web.log.place import Place
from opssentinal.web.log.window import range_words, window_around

HEIGHT_PX = 84
_GAP = 0.16  # of a bar's slot
_VISIBLE_PX = 2.0  # a single failure among thousands still shows
_TICKS_MAX = 8
# From the ground up: what is usual at the bottom, what matters on top where its edge is seen.
STACK = ("success", "unknown", "denied", "failure")
_STEPS_S = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000)  # fmt: skip


class Segment(NamedTuple):
    """One outcome's part of a bar, in pixels from the top."""

    outcome: str
    y: str
    height: str


class Bar(NamedTuple):
    """One bucket; x and width in percent. An empty one has no segments and no link."""

    slot_x: str
    slot_width: str
    x: str
    width: str
    label: str
    url: str
    segments: list[Segment]


class Tick(NamedTuple):
    """A mark of the time axis, in percent."""

    x: str
    text: str


class Legend(NamedTuple):
    """One outcome in all of the range."""

    outcome: str
    title: str
    events: int
    url: str


class HistogramView(NamedTuple):
    """What the template draws."""

    bars: list[Bar]
    ticks: list[Tick]
    legend: list[Legend]
    total: int
    highest: int
    step: str
    height: int = HEIGHT_PX


def histogram_view(place: Place, histogram: Histogram, now: datetime) -> HistogramView | None:
    """Lay out a histogram; None if it has no buckets, as over all time of an empty log.

    That of a preset ends with the bar of `now`, or with the last that has events of clocks that run a little ahead.
    """
    buckets = histogram.buckets
    if not buckets:
        return None
    ends = [*(bucket.start for bucket in buckets[1:]), histogram.end]
    if place.window.preset:
        shown = max((at for at, bucket in enumerate(buckets) if bucket.start <= now or bucket.total), default=0) + 1
        buckets, ends = buckets[:shown], ends[:shown]
    highest = max(bucket.total for bucket in buckets)
    slot = 100 / len(buckets)
    bars = [
        _bar(place, bucket, end, at * slot, slot, highest)
        for at, (bucket, end) in enumerate(zip(buckets, ends, strict=True))
    ]
    legend = []
    for outcome in ("success", "failure", "denied", "unknown"):
        count = sum(getattr(bucket, outcome) for bucket in buckets)
        url = place.with_terms(place.terms.including("outcome", outcome)).url()
        legend.append(Legend(outcome, outcome.capitalize(), count, url))
    return HistogramView(
        bars, ticks([bucket.start for bucket in buckets], ends[-1], place.zone), legend,
        sum(entry.events for entry in legend), highest, step_words(histogram.step_s),
    )  # fmt: skip


def _bar(place: Place, bucket: Bucket, end: datetime, slot_x: float, slot: float, highest: int) -> Bar:
    segments: list[Segment] = []
    bottom = float(HEIGHT_PX)
    for outcome in STACK:
        if count := getattr(bucket, outcome):
            height = max(count / highest * (HEIGHT_PX - 3 * _VISIBLE_PX), _VISIBLE_PX)
            bottom -= height
            segments.append(Segment(outcome, f"{bottom:.1f}", f"{height:.1f}"))
    label = range_words(bucket.start, end, place.zone) + ": "
    counts = [
        f"{getattr(bucket, name):,} {name}"
        for name in ("success", "failure", "denied", "unknown")
        if getattr(bucket, name)
    ]
    label += ", ".join(counts) if counts else "nothing"
    url = place.with_window(window_around(bucket.start, end) or place.window).url() if bucket.total else ""
    return Bar(
        f"{slot_x:.3f}",
        f"{slot:.3f}",
        f"{slot_x + slot * _GAP / 2:.3f}",
        f"{slot * (1 - _GAP):.3f}",
        label,
        url,
        segments,
    )


def ticks(starts: list[datetime], end: datetime, zone: ZoneInfo) -> list[Tick]:
    """Return marks where the clock of the zone passes a round time, a handful of them."""
    span_s = (end - starts[0]).total_seconds()
    step = next((step for step in _STEPS_S if span_s / step <= _TICKS_MAX), _STEPS_S[-1])
    found: list[Tick] = []
    previous: int | None = None
    for at, start in enumerate(starts):
        local = start.astimezone(zone)
        wall_s = int(local.replace(tzinfo=UTC).timestamp())
        passed = wall_s // step
        is_round = wall_s % step == 0 if previous is None else passed != previous
        previous = passed
        x = 100 * at / len(starts)
        if is_round and 2 <= x <= 97:
            found.append(Tick(f"{x:.3f}", _tick_text(local, step)))
    return found


def _tick_text(local: datetime, step_s: int) -> str:
    if step_s >= 2592000:
        return f"{local:%b %Y}"
    if step_s >= 86400 or (local.hour, local.minute, local.second) == (0, 0, 0):
        return f"{local.day} {local:%b}"
    return f"{local:%H:%M:%S}" if step_s < 60 else f"{local:%H:%M}"


def step_words(step_s: float) -> str:
    """Say the width of a bar: “1 hour”, “30 minutes”."""
    for unit_s, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if step_s >= unit_s:
            count = step_s / unit_s
            number = f"{count:.0f}" if count == int(count) else f"{count:.1f}"
            return f"{number} {unit}" + ("" if number == "1" else "s")
    return f"{step_s * 1000:.0f} milliseconds"
