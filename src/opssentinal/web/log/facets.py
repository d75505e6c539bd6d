"""The rail beside the table: the most frequent values of some fields, each a link that asks for it or leaves it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from opssentinal.events.catalogue import CATEGORIES, EVENT_TYPES, category_of
from opssentinal.events.sentences import visible
from opssentinal.query import pieces
from opssentinal.query.fields import from_event
from opssentinal.search.answers import FacetValue
from opssentinal.web.log.place import Place

FIELDS = ("action", "actor", "target_type", "outcome", "ip", "source", "tenant")
VALUES_MAX = 40
_OTHER_VALUES_MAX = 15  # of fields other than event types
_TITLES = {
    "action": "Event type",
    "actor": "Actor",
    "target_type": "Target type",
    "outcome": "Outcome",
    "ip": "IP address",
    "source": "Source",
    "tenant": "Tenant",
}
_SHOWN_AT_FIRST = 6
_TYPES_SHOWN_AT_FIRST = 16
_OTHER = "Other"


class FacetRow(NamedTuple):
    """One value. `state` is "included", "excluded" or empty; `url` asks for it, or takes the present state away."""

    label: str
    hint: str
    events: int
    state: str
    url: str
    exclude_url: str


class FacetGroup(NamedTuple):
    """Values under a title (empty outside event types); `more` are the rarer ones, folded away."""

    title: str
    rows: list[FacetRow]
    more: list[FacetRow]


class Facet(NamedTuple):
    """One field of the rail."""

    field: str
    title: str
    groups: list[FacetGroup]


def facets(place: Place, counted: Mapping[str, list[FacetValue]]) -> list[Facet]:
    """Return the rail for counted values; a field without any is left out."""
    found = []
    for field in FIELDS:
        values = counted.get(field, [])[: VALUES_MAX if field == "action" else _OTHER_VALUES_MAX]
        values = values + _asked_for(place, field, values)
        if not values:
            continue
        groups = _by_category(place, values) if field == "action" else [_group("", place, field, values)]
        found.append(Facet(field, _TITLES[field], groups))
    return found


def _asked_for(place: Place, field: str, counted: list[FacetValue]) -> list[FacetValue]:
    """Values that the filter names and that are not among those counted, so that they can be taken back here as well."""
    known = {from_event(field, value.value) for value in counted}
    named = [value for term in place.terms.terms if term.field == field for value in term.values if value not in known]
    plain = [parts[0] for parts in map(pieces, named) if len(parts) == 1]
    return [FacetValue(value=text, count=0) for text in plain if not (field == "ip" and "/" in text)]


def _by_category(place: Place, values: list[FacetValue]) -> list[FacetGroup]:
    groups: list[FacetGroup] = []
    for category, title in (*CATEGORIES.items(), (None, _OTHER)):
        inside = [value for value in values if category_of(value.value) == category]
        if inside:
            groups.append(
                _group(
                    title,
                    place,
                    "action",
                    inside,
                    shown=_SHOWN_AT_FIRST if groups and not category else _TYPES_SHOWN_AT_FIRST,
                )
            )
    return groups


def _group(
    title: str, place: Place, field: str, values: Iterable[FacetValue], shown: int = _SHOWN_AT_FIRST
) -> FacetGroup:
    rows = [_row(place, field, value) for value in values]
    # A value that is asked for stays in sight, however rare it is.
    first = [row for at, row in enumerate(rows) if at < shown or row.state]
    return FacetGroup(title, first, [row for row in rows if row not in first])


def _row(place: Place, field: str, value: FacetValue) -> FacetRow:
    term_value = from_event(field, value.value)
    state = ""
    for term in place.terms.terms:
        if term.field == field and term_value in term.values:
            state = "excluded" if term.negated else "included"
    if state:
        url = place.with_terms(place.terms.without(field, term_value, state == "excluded")).url()
    else:
        url = place.with_terms(place.terms.including(field, value.value)).url()
    exclude_url = "" if state == "excluded" else place.with_terms(place.terms.excluding(field, value.value)).url()
    label, hint = _label(field, value)
    return FacetRow(label, hint, value.count, state, url, exclude_url)


def _label(field: str, value: FacetValue) -> tuple[str, str]:
    """What the row says, and what it says on hover."""
    text = visible(value.value)
    if field == "action" and value.value in EVENT_TYPES:
        return EVENT_TYPES[value.value].title, text
    if field == "outcome":
        return text.capitalize(), text
    label = visible(value.label) if value.label else text
    return label, text
