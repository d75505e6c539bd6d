"""Generators of values, filters, zones and instants, shared by the tests of the query room."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from opssentinal.errors import InvalidQuery
from opssentinal.query import FIELDS, Filter, Phrase, Term

ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "America/Sao_Paulo",
        "America/Havana",
        "Australia/Lord_Howe",
    )
]
zones = st.sampled_from(ZONES)

# What the languages give a meaning to is much more frequent than in arbitrary text.
characters = st.one_of(
    st.sampled_from(list('\\\\**"",,::--  ab()%_=&')),
    st.characters(exclude_categories=("Cc", "Cs")),
)
words = st.sampled_from(["AND", "OR", "NOT", "-", "\\", "\\\\", "a\\*b", "CORP\\alice", "İ", "ß", "actor:x", "7d"])
values = st.one_of(st.text(characters, min_size=1, max_size=12), words)
phrases = st.builds(Phrase, st.one_of(values.filter(lambda text: text.strip("*")), words), st.booleans())

instants = st.datetimes(datetime(1901, 1, 2), datetime(9996, 12, 30), timezones=st.just(UTC)) | st.builds(
    lambda day, zone: day.replace(tzinfo=zone).astimezone(UTC),
    st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)).map(
        lambda moment: moment.replace(hour=0, minute=0, second=0, microsecond=0)
    ),
    zones,
)

networks = st.one_of(
    st.ip_addresses().map(str),
    st.builds(
        lambda address, cut: str(ipaddress.ip_network((address, max(address.max_prefixlen - cut, 0)), strict=False)),
        st.ip_addresses(),
        st.integers(0, 128),
    ),
    st.ip_addresses(v=4).map(lambda address: f"::ffff:{address}"),
)


def _values_of(name: str) -> st.SearchStrategy[str]:
    if choices := FIELDS[name].choices:
        return st.sampled_from(choices)
    return {"ip": networks, "id": st.uuids().map(str)}.get(name, values)


terms = st.sampled_from(list(FIELDS)).flatmap(
    lambda name: st.builds(
        Term, st.just(name), st.lists(_values_of(name), min_size=1, max_size=4).map(tuple), st.booleans()
    )
)


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    """Any filter: several terms of one field, both signs, any text, no, one or both bounds."""
    after, before = draw(st.none() | instants), draw(st.none() | instants)
    if after is not None and before is not None and after >= before:
        after, before = (before, after) if before < after else (after, None)
    return Filter(
        after,
        before,
        tuple(draw(st.lists(terms, max_size=6))),
        tuple(draw(st.lists(phrases, max_size=3))),
    )


def refused(call: object, *args: object, **options: object) -> InvalidQuery:
    """Call and return the InvalidQuery it raises, which must say what to do; anything else fails the test."""
    assert callable(call)
    try:
        result = call(*args, **options)
    except InvalidQuery as error:
        assert error.detail and error.hint, f"no hint: {error!r}"
        assert error.hint[-1] in '.")', error.hint
        return error
    raise AssertionError(f"accepted: {args} gave {result}")
