"""The test of single events agrees with the naive meaning of a filter and with the search engine itself."""

from __future__ import annotations

import sys
import time
import unicodedata
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opssentinal.events.model import Change, Context, Event, Target
from opssentinal.formats.matching import folded, matcher
from opssentinal.query import Filter, Phrase, Term, parse
from opssentinal.search.duckdb import DuckDBStore
from opssentinal.search.interruption import Interruption
from tests.query.strategies import filters as any_filters
from tests.search.events import bundle_of, erased, event, events
from tests.search.naive import matching
from tests.search.test_conformance import filters


@given(st.lists(events(), max_size=8), st.one_of(filters(), any_filters()))
def test_agrees_with_the_naive_meaning(log: list[Event], filter: Filter) -> None:
    """For every event and every filter, the answer is that of the evaluation that the search stores are tested against."""
    recorded = list(bundle_of(log).events())
    assert list(map(matcher(filter), recorded)) == [bool(matching([each], filter)) for each in recorded]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(events(), min_size=1, max_size=12), st.lists(filters(), min_size=1, max_size=5))
def test_agrees_with_the_search_engine(
    tmp_path_factory: pytest.TempPathFactory, log: list[Event], asked: list[Filter]
) -> None:
    """What a query finds on the page is what an integration with that query is sent."""
    bundle = bundle_of(log)
    store = DuckDBStore(Path(tmp_path_factory.mktemp("index")) / "index", memory_mb=128, threads=1)
    try:
        store.ingest([bundle])
        for filter in asked:
            found = store.page(filter, 100, None, "newest", None, Interruption()).events
            assert {each.seq for each in found} == {each.seq for each in bundle.events() if matcher(filter)(each)}
    finally:
        store.close()


@given(st.lists(events(), min_size=1, max_size=4), filters())
def test_erased_parts_match_like_absent_ones(log: list[Event], filter: Filter) -> None:
    """An event without its who and what is tested all the same, as the naive meaning has it."""
    every = set(range(len(log)))
    recorded = list(erased(bundle_of(log), every, every).events())
    assert list(map(matcher(filter), recorded)) == [bool(matching([each], filter)) for each in recorded]


def test_lower_case_is_that_of_the_search_engine() -> None:
    """Every character that both know is folded alike, so that an E-mail address in any script is found by both."""
    rows = duckdb.sql(
        f"SELECT chr(n::INT), lower(chr(n::INT)) FROM range(1, {sys.maxunicode + 1}) t(n) WHERE n NOT BETWEEN 55296 AND 57343"
    ).fetchall()
    known = ((char, lower) for char, lower in rows if unicodedata.category(char) != "Cn")
    differing = {char: (lower, folded(char)) for char, lower in known if lower != folded(char)}
    assert differing == {}
    assert folded("ΟΔΟΣ İ") == "οδοσ i"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("action:login.*", True),
        ("-action:login.*", False),
        ("category:authentication", True),
        ("is:sensitive", False),
        ("ip:10.0.0.0/8", True),
        ("ip:::/0", False),
        ("target:bob,incident_2", True),
        ("target:incident", False),
        ("ua:*FIREFOX*", True),
        ("tenant:*", False),
        ('"before\\"quote"', True),
        ("after:2026-03-27 before:2026-03-28T00:00", True),
        ("before:2026-03-27", False),
    ],
)
def test_examples(query: str, expected: bool) -> None:
    """A few queries as people write them."""
    made = event(
        context=Context(ip="10.2.3.4", user_agent="Mozilla Firefox"),
        targets=[Target("incident", "incident_1"), Target("user", "u", "Bob")],
        changes=[Change("note", 'before"quote', None)],
    )
    (recorded,) = bundle_of([made]).events()
    assert matcher(parse(query))(recorded) is expected


def test_a_pattern_of_many_stars_is_answered_at_once() -> None:
    """However many wildcards, a long text is looked through once: nobody can stop a follower with a filter."""
    (recorded,) = bundle_of([event(message="a" * 4000, context=Context(user_agent="a" * 2000))]).events()
    stars = "*".join(["a"] * 200)
    begun = time.process_time()
    assert not matcher(Filter(terms=(Term("ua", (f"{stars}*b",)),)))(recorded)
    assert not matcher(Filter(text=(Phrase(f"{stars}*b"),)))(recorded)
    assert time.process_time() - begun < 1
