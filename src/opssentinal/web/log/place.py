"""Where the page is: everything it shows follows from this, and all of it is in the address.

`q` (terms and free text), `range` or `from`/`to`, `tz`. A time typed into the query bar moves into the range, so that
two places never say different times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import QueryDict
from django.urls import reverse

from opssentinal.errors import InvalidQuery
from opssentinal.query import FIELDS, Filter, from_params, written, zone_named
from opssentinal.query import format as format_query
from opssentinal.web.log.window import DEFAULT, RANGE_PARAMS, Window, preset_window, read_window

TERM_PARAMS = ("q", *FIELDS, *(f"-{name}" for name in FIELDS))


@dataclass(frozen=True)
class Place:
    """One state of the page. `terms` is the filter without its time range; `window` is the range."""

    terms: Filter
    window: Window
    zone: ZoneInfo
    default_zone: ZoneInfo

    @property
    def filter(self) -> Filter:
        """The whole filter."""
        return self.terms.between(self.window.after, self.window.before)

    @property
    def text(self) -> str:
        """The terms as the query bar shows them."""
        return format_query(self.terms, self.zone)

    @property
    def is_filtered(self) -> bool:
        """Whether more than a time range is asked for."""
        return bool(self.terms.terms or self.terms.text)

    def pairs(self) -> list[tuple[str, str]]:
        """Return the state as parameters; what is default is left out."""
        return [*([("q", self.text)] if self.is_filtered else []), *self.window.pairs(self.zone), *self._zone_pair()]

    def with_terms(self, terms: Filter) -> Place:
        """Return this place with other terms."""
        return replace(self, terms=terms)

    def with_window(self, window: Window) -> Place:
        """Return this place over another time range."""
        return replace(self, window=window)

    def url(self, *extra: tuple[str, str]) -> str:
        """Return the address of the page at this place."""
        return _address(log_path(), [*self.pairs(), *extra])

    def event_url(self, seq: int) -> str:
        """Return the address of an event's page, from which newer and older ones are those of this place."""
        return _address(f"{log_path()}{seq}/", self.pairs())

    def _zone_pair(self) -> list[tuple[str, str]]:
        return [] if self.zone.key == self.default_zone.key else [("tz", self.zone.key)]


@cache
def log_path() -> str:
    """Return the path of the page, which hundreds of links on it begin with."""
    return reverse("web:log")


def _address(path: str, pairs: list[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(pairs)}" if pairs else path


def only(terms: Filter, field: str, value: str) -> Filter:
    """Return the terms narrowed to one value of a field, in place of other values of it that were asked for."""
    rest = Filter(terms=tuple(term for term in terms.terms if term.field != field or term.negated), text=terms.text)
    return rest.including(field, value)


def read_place(params: QueryDict, default_zone: ZoneInfo, now: datetime) -> tuple[Place, InvalidQuery | None]:
    """Read the address. What cannot be understood is left at its default, and the first such error returned."""
    errors: list[InvalidQuery] = []
    zone, window, terms = default_zone, preset_window(DEFAULT, now), Filter()
    try:
        zone = zone_named(params.get("tz") or default_zone.key)
    except InvalidQuery as error:
        errors.append(error)
    try:
        window = read_window({name: params.get(name, "") for name in RANGE_PARAMS}, zone, now)
        if window.after is not None and window.before is not None and window.after >= window.before:
            # As the form shows it: a day that it ends with is within it, which a Filter does not know.
            raise InvalidQuery(
                f"The time range ends ({written(window.before, zone, end=True)}) before anything can be in it "
                f"(it begins {written(window.after, zone)}).",
                hint="Make the end later than the beginning.",
            )
    except InvalidQuery as error:
        errors.append(error)
        window = preset_window(DEFAULT, now)
    try:
        terms = from_params([(name, params.getlist(name)) for name in TERM_PARAMS if name in params], zone, now)
    except InvalidQuery as error:
        errors.append(error)
    if terms.after is not None or terms.before is not None:
        window = Window("", terms.after, terms.before)
    place = Place(terms.between(None, None), window, zone, default_zone)
    return place, errors[0] if errors else None
