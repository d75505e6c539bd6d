"""The Filter as named parameters: the address of a page, the query string of the API, the options of a command.

The names are the keys of the query language, each repeatable; `-actor=alice` excludes. `from` and `to` are the range as
people fill in forms: a bare date in `to` includes that day. `q` is a query text. Everything must hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final

from opssentinal.errors import InvalidQuery
from opssentinal.query import instant, language
from opssentinal.query.fields import FIELDS
from opssentinal.query.filter import Filter, Term

# Every name that `from_params` reads; what else a request may carry (a cursor, a limit, a zone) is the caller's.
PARAMS: Final = ("q", "from", "to", *FIELDS, *(f"-{name}" for name in FIELDS))


def from_params(
    params: Mapping[str, Sequence[str]] | Iterable[tuple[str, str | Sequence[str]]],
    tz: tzinfo = UTC,
    now: datetime | None = None,
) -> Filter:
    """Read a filter from parameters: pairs, or a mapping of names to lists (of Django, pass `request.GET.lists()`).

    * A field given several times, or several values of it, are alternatives; a value is taken whole, commas included.
    * `from` is inclusive. `to` is exclusive if it is a time; a bare date includes that day of `tz`.
    * `q` is read by `language.parse` and must hold besides the rest; several `q` must all hold.
    * Empty values are left out, as forms send them. Names that are not in PARAMS are ignored.

    Raises InvalidQuery; its detail begins with the parameter's name.
    """
    now = now or datetime.now(UTC)
    given = _by_name(params)
    found = Filter()
    for name, values in given.items():
        try:
            if name == "q":
                for text in values:
                    found &= language.parse(text, tz, now)
            elif name in ("from", "to"):
                found &= _bound(name, values, tz, now)
            else:
                found &= Filter(terms=(Term(name.removeprefix("-"), tuple(values), name.startswith("-")),))
        except InvalidQuery as error:
            raise InvalidQuery(error.detail, path=name, hint=error.hint, code=error.code) from error
    return found


def to_params(filter: Filter, tz: tzinfo = UTC) -> list[tuple[str, str]]:
    """Write a filter as parameters that `from_params` with the same zone reads as the same filter, in stable order."""
    written: list[tuple[str, str]] = []
    if filter.after is not None:
        written.append(("from", instant.written(filter.after, tz)))
    if filter.before is not None:
        written.append(("to", instant.written(filter.before, tz, end=True)))
    rest: list[Term] = []  # a further term of a field would be read as an alternative
    seen: set[tuple[str, bool]] = set()
    for term in filter.terms:
        if (term.field, term.negated) in seen:
            rest.append(term)
            continue
        seen.add((term.field, term.negated))
        name = f"-{term.field}" if term.negated else term.field
        written += [(name, value) for value in term.values]
    if text := language.format(Filter(terms=tuple(rest), text=filter.text), tz):
        written.append(("q", text))
    return written


def _by_name(
    params: Mapping[str, Sequence[str]] | Iterable[tuple[str, str | Sequence[str]]],
) -> dict[str, list[str]]:
    """Gather the values of each known name, in the order of PARAMS, so that the first error is always the same one."""
    given: dict[str, list[str]] = {}
    pairs: Iterable[tuple[str, str | Sequence[str]]]
    if isinstance(params, Mapping):
        # A QueryDict is a mapping that shows the last value only: silently a wider or another search.
        if any(isinstance(values, str) for values in params.values()):
            raise TypeError("from_params takes a mapping of names to lists of values; pass QueryDict.lists()")
        pairs = params.items()
    else:
        pairs = params
    for name, value in pairs:
        values = [value] if isinstance(value, str) else value
        given.setdefault(name, []).extend(each for each in values if each)
    return {name: given[name] for name in PARAMS if given.get(name)}


def _bound(name: str, values: list[str], tz: tzinfo, now: datetime) -> Filter:
    if len(set(values)) > 1:
        raise InvalidQuery("There are several.", hint=f"Give {name} once.")
    moment = instant.parse_instant(values[0], tz, now, end=name == "to")
    return Filter(before=moment) if name == "to" else Filter(after=moment)
