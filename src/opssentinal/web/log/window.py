"""The time range of the page: a preset that ends now, or a range of its own, in the zone that people chose."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from opssentinal.errors import InvalidQuery
from opssentinal.events.model import rfc3339
from opssentinal.query import Filter, parse_instant, to_params, zone_names


class Preset(NamedTuple):
    """A range that ends now: its key in the address, its title, how a sentence says it, and its length (None: all)."""

    key: str
    title: str
    words: str
    span: timedelta | None


PRESETS: dict[str, Preset] = {
    preset.key: preset
    for preset in (
        Preset("15m", "15 min", "the last 15 minutes", timedelta(minutes=15)),
        Preset("24h", "24 h", "the last 24 hours", timedelta(hours=24)),
        Preset("7d", "7 d", "the last 7 days", timedelta(days=7)),
        Preset("30d", "30 d", "the last 30 days", timedelta(days=30)),
        Preset("90d", "90 d", "the last 90 days", timedelta(days=90)),
        Preset("1y", "1 y", "the last year", timedelta(days=365)),
        Preset("all", "All", "all time", None),
    )
}
DEFAULT = "7d"
# Presets end this much after now: clocks of others run ahead a little. What lies beyond has a wrong time.
CLOCK_AHEAD = timedelta(minutes=5)
RANGE_PARAMS = ("range", "from", "from_time", "from_exact", "to", "to_time", "to_exact")


# The form's last day is the one before the midnight at which a range ends.
_SHIFTS = {"from": timedelta(), "to": timedelta(days=1)}


class Window(NamedTuple):
    """`after <= occurred_at < before` in UTC; `preset` is a key of PRESETS, empty for a range of its own."""

    preset: str
    after: datetime | None = None
    before: datetime | None = None

    def pairs(self, zone: ZoneInfo) -> list[tuple[str, str]]:
        """Return the range as parameters of the address; nothing for the default."""
        if self.preset:
            return [] if self.preset == DEFAULT else [("range", self.preset)]
        return to_params(Filter(after=self.after, before=self.before), zone)

    def words(self, zone: ZoneInfo) -> str:
        """Say the range within a sentence: “the last 7 days”, “10 Jul 2023”, “10 Jul 2023 14:00 – 15:00”."""
        if self.preset:
            return PRESETS[self.preset].words
        return range_words(self.after, self.before, zone)

    def phrase(self, zone: ZoneInfo) -> str:
        """Say the range as a sentence ends with it: “in the last 7 days”, “on 10 Jul 2023”, “from … to …”."""
        words = self.words(zone)
        if self.preset:
            return f"in {words}"
        if self.after is None or self.before is None:
            return words
        first, *last = words.split(" – ")
        return f"from {first} to {last[0]}" if last else f"on {first}"

    def wider(self) -> Window | None:
        """Return a range four times as long around the same middle, or None where an end is open."""
        if self.preset or self.after is None or self.before is None:
            return None
        more = (self.before - self.after) * 3 / 2
        try:
            wider = Filter(after=self.after - more, before=self.before + more)
        except (OverflowError, InvalidQuery):
            return None
        return Window("", wider.after, wider.before)


def preset_window(key: str, now: datetime) -> Window:
    """Return the range of a preset that ends at `now`, give or take CLOCK_AHEAD; all time is open at both ends."""
    if key not in PRESETS:
        raise InvalidQuery(f"There is no range “{key[:20]}”.", hint=f"Ranges are {', '.join(PRESETS)}.")
    span = PRESETS[key].span
    return Window(key, now - span, now + CLOCK_AHEAD) if span else Window(key)


def window_around(after: datetime, before: datetime) -> Window | None:
    """Return the range as far as an address can say it: open where `before` lies beyond its years, None where both do.

    Senders' clocks may stand there: the log holds what it took before it refused such times.
    """
    try:
        return Window("", after, Filter(after=after, before=before).before)
    except InvalidQuery:
        pass
    try:
        return Window("", Filter(after=after).after)
    except InvalidQuery:
        return None


def read_window(params: Mapping[str, str], zone: ZoneInfo, now: datetime) -> Window:
    """Read `from`/`to` (with `from_time`/`to_time` as forms send them), else `range`, else the default.

    The fields of a form show whole seconds of a clock that may show an hour twice. So it also sends the instants it was
    filled with, as `from_exact`/`to_exact`, and they hold where people left the fields as they were.
    """
    given = {name for name in ("from", "to", "from_time", "to_time") if params.get(name, "").strip()}
    for name, clock in (("from", "from_time"), ("to", "to_time")):
        if clock in given and name not in given:
            raise InvalidQuery(
                f"The time {params[clock].strip()[:20]} has no date.", hint="Choose its date too, or clear the time."
            )
    if not given:
        return preset_window(params.get("range") or DEFAULT, now)
    return Window("", _bound("from", params, zone, now), _bound("to", params, zone, now))


def _bound(name: Literal["from", "to"], params: Mapping[str, str], zone: ZoneInfo, now: datetime) -> datetime | None:
    day, clock = params.get(name, "").strip(), params.get(f"{name}_time", "").strip()
    if not day:
        return None
    if exact := params.get(f"{name}_exact", "").strip():
        moment = parse_instant(exact, zone, now)
        shown_day, shown_clock = _fields(moment, zone, _SHIFTS[name])
        if (day, clock) == (shown_day, shown_clock) or (day, f"{clock}:00") == (shown_day, shown_clock):
            return moment
    return parse_instant(f"{day}T{clock}" if clock else day, zone, now, end=name == "to")


class FormValues(NamedTuple):
    """What the date and time fields of the form show for a range; dates include the last day, as people count."""

    from_day: str = ""
    from_time: str = ""
    from_exact: str = ""
    to_day: str = ""
    to_time: str = ""
    to_exact: str = ""


def form_values(window: Window, zone: ZoneInfo) -> FormValues:
    """Return the fields of a range; a preset leaves them empty, so that choosing a zone alone keeps the preset."""
    if window.preset:
        return FormValues()
    (day, clock), (end_day, end_clock) = (
        _fields(window.after, zone, _SHIFTS["from"]),
        _fields(window.before, zone, _SHIFTS["to"]),
    )
    return FormValues(day, clock, _exact(window.after), end_day, end_clock, _exact(window.before))


def typed_values(params: Mapping[str, str]) -> FormValues | None:
    """Return the fields as they were sent; None where no range of its own was asked for."""
    day, clock, end_day, end_clock = (params.get(name, "").strip() for name in ("from", "from_time", "to", "to_time"))
    return FormValues(day, clock, "", end_day, end_clock) if day or clock or end_day or end_clock else None


def _exact(moment: datetime | None) -> str:
    return rfc3339(moment) if moment else ""


def _fields(moment: datetime | None, zone: ZoneInfo, whole_day_shift: timedelta) -> tuple[str, str]:
    if moment is None:
        return "", ""
    local = moment.astimezone(zone)
    if (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0):
        return (local - whole_day_shift).date().isoformat(), ""
    return local.date().isoformat(), local.strftime("%H:%M:%S")


def range_words(after: datetime | None, before: datetime | None, zone: ZoneInfo) -> str:
    """Say a range shortly, whole days without clocks."""
    if after is None and before is None:
        return "all time"
    start, end = after and after.astimezone(zone), before and before.astimezone(zone)
    if start is None or end is None:
        return f"since {_moment(start)}" if start else f"before {_moment(end)}"
    if _is_midnight(start) and _is_midnight(end):
        last = end - timedelta(days=1)
        return _day(start) if start.date() == last.date() else f"{_day(start)} – {_day(last)}"
    if start.date() == end.date():
        return f"{_day(start)} {_clock(start)} – {_clock(end)}"
    return f"{_moment(start)} – {_moment(end)}"


def _is_midnight(local: datetime) -> bool:
    return (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0)


def _day(local: datetime) -> str:
    return f"{local.day} {local:%b %Y}"


def _clock(local: datetime) -> str:
    return f"{local:%H:%M:%S}" if local.second or local.microsecond else f"{local:%H:%M}"


def _moment(local: datetime | None) -> str:
    if local is None:
        return ""
    return _day(local) if _is_midnight(local) else f"{_day(local)} {_clock(local)}"


@cache
def zone_options() -> SafeString:
    """Return the zones as options of a list: hundreds, and the same on every page."""
    return format_html_join("", "<option>{}</option>", ((name,) for name in zone_names()))
