"""The query strings of the API: read strictly, and documented from the same table that reads them.

A name that is not known is refused rather than ignored: a misspelt filter would silently answer another question.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.http import HttpRequest

from opssentinal.errors import InvalidInput
from opssentinal.query import FIELDS, PARAMS, Filter, from_params, zone_named

LIMIT_DEFAULT = 50
LIMIT_MAX = 1_000


class Param(NamedTuple):
    """One parameter besides the filter's: its JSON schema is what it is documented as."""

    name: str
    description: str
    schema: dict[str, Any]

    def documented(self) -> dict[str, Any]:
        """The parameter object of OpenAPI."""
        return {"name": self.name, "in": "query", "description": self.description, "schema": self.schema}


def whole(name: str, description: str, low: int, high: int | None = None, default: int | None = None) -> Param:
    """A parameter that is a whole number."""
    schema: dict[str, Any] = {"type": "integer", "minimum": low}
    if high is not None:
        schema["maximum"] = high
    if default is not None:
        schema["default"] = default
    return Param(name, description, schema)


LIMIT = whole("limit", "How many to return at most.", 1, LIMIT_MAX, LIMIT_DEFAULT)
CURSOR = Param("cursor", "Where the page before ended: its `next_cursor`.", {"type": "string"})
TZ = Param(
    "tz", "The time zone that days are counted in, such as `Europe/Berlin`.", {"type": "string", "default": "UTC"}
)


def refuse_unknown(request: HttpRequest, known: Iterable[str]) -> None:
    """Raise InvalidInput for a parameter that is none of `known`, naming the nearest."""
    refuse_unknown_names(request.GET, known)


def refuse_unknown_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise InvalidInput for a name that is none of `known`, naming the nearest."""
    names = set(known)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, sorted(names), 1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(sorted(names))}."
            if not names:
                hint = "This address takes none."
            raise InvalidInput("There is no such parameter.", path=name[:64], hint=hint, code="unknown_parameter")


def one(request: HttpRequest, param: Param) -> str | None:
    """The value of a parameter that may be given once; None if it is not given."""
    values = request.GET.getlist(param.name)
    if len(values) > 1:
        raise InvalidInput("is given more than once", path=param.name)
    return values[0] if values and values[0] else None


def number(request: HttpRequest, param: Param) -> int | None:
    """The value of a whole-number parameter within its bounds, or its default."""
    text = one(request, param)
    if text is None:
        return param.schema.get("default")
    low, high = param.schema["minimum"], param.schema.get("maximum", 2**63 - 1)
    try:
        value = int(text) if len(text) < 20 and text.lstrip("-").isdecimal() and text.isascii() else None
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise InvalidInput(f"must be a whole number from {low} to {high}", path=param.name)
    return value


def zone(request: HttpRequest) -> ZoneInfo:
    """The time zone asked for. Raises InvalidQuery for a name that is none."""
    return zone_named(one(request, TZ) or "UTC", path="tz")


def filter_of(request: HttpRequest, *further: Param, tz: tzinfo = UTC, now: datetime | None = None) -> Filter:
    """The filter of a request that may also carry `further` parameters. Raises InvalidInput and InvalidQuery."""
    refuse_unknown(request, (*PARAMS, *(param.name for param in further)))
    return from_params(request.GET.lists(), tz, now)


def documented_filter() -> list[dict[str, Any]]:
    """The filter's parameters as OpenAPI describes them."""
    listed: list[dict[str, Any]] = [
        Param("q", "A query, as in the query bar: `actor:alice -outcome:success`.", {"type": "string"}).documented(),
        Param(
            "from", "Events that occurred at or after this time; RFC 3339, a date, or `7d`.", {"type": "string"}
        ).documented(),
        Param(
            "to", "Events that occurred before this time; a bare date includes that day.", {"type": "string"}
        ).documented(),
    ]
    for field in FIELDS.values():
        item: dict[str, Any] = {"type": "string"}
        if field.choices:
            item["enum"] = list(field.choices)
        schema = {"type": "array", "items": item}
        repeated = {"style": "form", "explode": True}
        listed.append(Param(field.name, f"{field.matches}; repeatable.", schema).documented() | repeated)
        listed.append(Param(f"-{field.name}", f"Not: {field.matches}; repeatable.", schema).documented() | repeated)
    return listed
