"""The whole state of the page is in its address, and comes back from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

import pytest
from django.http import QueryDict
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from opssentinal.query import Filter, Term, zone_named
from opssentinal.web.log.chips import chips
from opssentinal.web.log.place import Place, only, read_place
from opssentinal.web.log.window import PRESETS, Window, preset_window
from tests.query.strategies import filters, zones

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
UTC_ZONE = zone_named("UTC")


def _query(url: str) -> QueryDict:
    return QueryDict(urlsplit(url).query)


def place(text: str = "", **params: str) -> Place:
    """Read a place from a query text, which must be good."""
    found, error = read_place(QueryDict(urlencode({"q": text, **params})), UTC_ZONE, NOW)
    assert error is None
    return found


@st.composite
def places(draw) -> Place:
    """Any place: any filter, a preset or a range, any zone."""
    terms = draw(filters())
    if draw(st.booleans()):
        window = preset_window(draw(st.sampled_from(list(PRESETS))), NOW)
    else:
        assume(terms.after is not None or terms.before is not None)
        window = Window("", terms.after, terms.before)
    return Place(terms.between(None, None), window, draw(zones), UTC_ZONE)


@settings(deadline=None, max_examples=50)
@given(places())
def test_an_address_leads_back_to_the_place_it_was_made_from(somewhere: Place):
    """Sharing, reloading and going back show the same search: nothing of it is lost or reread otherwise."""
    again, error = read_place(_query(somewhere.url()), UTC_ZONE, NOW)
    assert error is None
    assert again == somewhere
    assert again.url() == somewhere.url()


@settings(deadline=None, max_examples=50)
@given(places())
def test_every_chip_takes_away_exactly_itself(somewhere: Place):
    """After following a chip's link, every other chip is still there."""
    all_chips = list(somewhere.terms.chips())
    for chip, view in zip(all_chips, chips(somewhere), strict=True):
        rest, error = read_place(_query(view.remove_url), UTC_ZONE, NOW)
        assert error is None
        assert chip not in list(rest.terms.chips())
        assert rest.window == somewhere.window


def test_a_time_typed_into_the_query_bar_moves_into_the_range():
    """It is neither ignored nor cut by the preset that happens to be chosen."""
    typed = place("actor:alice after:2023-07-01 before:2023-08-01", range="7d")
    assert typed.window == Window("", datetime(2023, 7, 1, tzinfo=UTC), datetime(2023, 8, 1, tzinfo=UTC))
    assert typed.text == "actor:alice"


def test_parameters_of_the_api_work_on_the_page():
    """One vocabulary: an address made by hand from parameter names finds the same."""
    named, error = read_place(QueryDict("actor=alice&-outcome=success&from=2026-01-01"), UTC_ZONE, NOW)
    assert error is None
    assert named.text == "actor:alice -outcome:success"
    assert named.window.after == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "kept"),
    [("q=actr:x&range=30d&tz=Asia/Kathmandu", "30d"), ("q=a&range=5y", "7d"), ("tz=Mars/X&range=24h", "24h"),
     ("from=2026-02-01&to=2026-01-01", "7d")],
)  # fmt: skip
def test_what_cannot_be_read_is_said_and_the_rest_is_kept(query: str, kept: str):
    """A mistake in one control does not undo the others."""
    found, error = read_place(QueryDict(query), UTC_ZONE, NOW)
    assert error is not None
    assert error.hint
    assert found.window.preset == kept


def test_a_range_that_ends_before_it_begins_is_told_as_it_was_typed():
    """In the days of the form, whose last one is within the range, and of the reader's zone."""
    for zone in ("UTC", "Asia/Tokyo"):
        _, error = read_place(QueryDict(f"from=2026-11-22&to=2026-11-20&tz={zone}"), UTC_ZONE, NOW)
        assert error is not None
        assert "ends (2026-11-20)" in error.detail and "begins 2026-11-22" in error.detail


def test_only_replaces_other_values_of_the_field_but_keeps_exclusions():
    """Clicking a name in the table narrows to it, whatever was asked for before."""
    before = Filter(
        terms=(Term("actor", ("alice", "bob")), Term("actor", ("root",), negated=True), Term("ip", ("10.0.0.1",)))
    )
    after = only(before, "actor", "carol")
    assert (
        after.terms
        == Filter(
            terms=(Term("actor", ("carol",)), Term("actor", ("root",), negated=True), Term("ip", ("10.0.0.1",)))
        ).terms
    )


def test_an_export_means_what_the_screen_shows():
    """A preset becomes the absolute time it stood for when the page was made."""
    shown = place("actor:alice", range="24h")
    assert shown.filter.after == NOW - timedelta(hours=24)
    assert Filter.from_json(shown.filter.to_json()) == shown.filter
