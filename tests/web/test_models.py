"""The models that templates show: histogram, rail, rows, an event's page."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.http import QueryDict
from django.template import Context, Template
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from opssentinal.events.catalogue import CATEGORIES
from opssentinal.events.model import Actor, Change, RecordedEvent, Target
from opssentinal.events.model import Context as EventContext
from opssentinal.formats import event_json
from opssentinal.query import zone_named
from opssentinal.search.answers import Bucket, FacetValue, Histogram
from opssentinal.web.log.detail import detail, json_visible, raw_json
from opssentinal.web.log.facets import facets
from opssentinal.web.log.histogram import HEIGHT_PX, histogram_view, step_words
from opssentinal.web.log.place import Place, read_place
from opssentinal.web.log.rows import rows
from opssentinal.web.user_agents import user_agent_words
from tests.query.strategies import zones
from tests.web.test_place import NOW, UTC_ZONE, place

HOSTILE = "evil\u202egpj.exe\x1b[2J\x00\u2028<script>alert(1)</script>\U000e0001"
UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
counts = st.integers(0, 3) | st.integers(0, 1_000_000)


def reread(url: str) -> Place:
    """The place that a link of the page leads to."""
    found, error = read_place(QueryDict(urlsplit(url).query), UTC_ZONE, NOW)
    assert error is None
    return found


def event(**changed) -> RecordedEvent:
    """An event with everything in it."""
    return RecordedEvent(
        **{
            "id": UUID("0193a4c2-7d1e-7c3a-9b52-6f1f2f0c9d11"), "seq": 41, "action": "user.role_changed",
            "outcome": "success", "occurred_at": NOW - timedelta(hours=1), "recorded_at": NOW,
            "actor": Actor(type="user", id="usr_7", name="Alice", email="alice@example.com"),
            "targets": [Target(type="user", id="usr_9", name="Bob"), Target(type="team", id="t1")],
            "context": EventContext(ip="203.0.113.9", user_agent="curl/8.5.0", session_id="s1", request_id="r1"),
            "changes": [Change(field="role", before="member", after="admin")],
            "metadata": {"reason": "promotion"}, "message": None, "source": "billing", "tenant": "acme", **changed,
        }
    )  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(counts, counts, counts, counts), min_size=1, max_size=61), zones)
def test_bars_are_stacked_without_overlap_and_nothing_that_happened_is_invisible(bars, zone):
    """One failure among a million still has a height; no bar leaves the picture; empty bars have no link."""
    start = datetime(2026, 11, 1, tzinfo=UTC)
    buckets = [Bucket(start + timedelta(hours=at), *each) for at, each in enumerate(bars)]
    somewhere = Place(place().terms, place().window, zone, UTC_ZONE)
    end = start + timedelta(hours=len(bars))
    view = histogram_view(somewhere, Histogram(start, end, 3600, buckets), end)
    assert view is not None
    assert view.total == sum(map(sum, bars))
    for bucket, bar in zip(buckets, view.bars, strict=True):
        assert bool(bar.url) == bool(bucket.total)
        assert {segment.outcome for segment in bar.segments} == {
            outcome for outcome in ("success", "failure", "denied", "unknown") if getattr(bucket, outcome)
        }
        floor = float(HEIGHT_PX)
        for segment in bar.segments:
            assert float(segment.height) >= 2
            assert float(segment.y) + float(segment.height) == pytest.approx(floor, abs=0.11)
            floor = float(segment.y)
        assert floor >= -0.1
    places = [float(tick.x) for tick in view.ticks]
    assert places == sorted(places)


def test_a_bar_zooms_into_exactly_its_time_and_keeps_the_filter():
    """A day of 23 hours is zoomed into as the 23 hours it has."""
    start, end = datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC)
    somewhere = place("actor:alice", tz="Europe/Berlin")
    view = histogram_view(somewhere, Histogram(start, end, 86400, [Bucket(start, 1)]), NOW)
    assert view is not None
    there = reread(view.bars[0].url)
    assert (there.window.after, there.window.before) == (start, end)
    assert there.text == "actor:alice"
    assert view.bars[0].label == "29 Mar 2026: 1 success"


def test_days_are_marked_where_the_zone_begins_them():
    """Ticks of a week stand at local midnights."""
    start = datetime(2026, 11, 15, 23, tzinfo=UTC)  # midnight in Berlin
    buckets = [Bucket(start + timedelta(hours=3 * at), 1) for at in range(56)]
    view = histogram_view(place(tz="Europe/Berlin"), Histogram(start, start + timedelta(days=7), 10800, buckets), NOW)
    assert view is not None
    assert [tick.text for tick in view.ticks] == ["17 Nov", "18 Nov", "19 Nov", "20 Nov", "21 Nov", "22 Nov"]


@pytest.mark.parametrize(("ahead", "bars"), [(0, 5), (1, 7)])
def test_a_preset_is_drawn_up_to_now_or_to_a_clock_that_is_a_little_ahead(ahead: int, bars: int):
    """Nothing empty is drawn after now; what a fast clock dated after now is. A range of its own is drawn as asked."""
    start = NOW - timedelta(minutes=4)
    buckets = [Bucket(start + timedelta(minutes=at)) for at in range(9)]
    buckets[6].failure = ahead
    histogram = Histogram(start, start + timedelta(minutes=9), 60, buckets)
    view = histogram_view(place(range="15m"), histogram, NOW)
    assert view is not None and view.total == ahead
    assert len(view.bars) == bars
    whole = histogram_view(place(**{"from": "2026-11-23"}), histogram, NOW)
    assert whole is not None and len(whole.bars) == 9


@pytest.mark.parametrize(("ahead", "marked"), [(-60, False), (300, False), (301, True), (4 * 365 * 86400, True)])
def test_an_event_dated_after_its_recording_is_marked(ahead: int, marked: bool):
    """Five minutes are a clock that runs ahead, more is a wrong one: the row and the event's page both say so."""
    dated = event(occurred_at=NOW + timedelta(seconds=ahead), recorded_at=NOW)
    assert rows(place(), [dated])[0].future is marked
    assert detail(place(), dated).future is marked
    row = Template('{% include "log/_row.html" %}').render(Context({"row": rows(place(), [dated])[0]}))
    assert ("Future time" in row) is marked


def test_the_width_of_a_bar_is_said_in_words():
    """Singular and plural, the largest unit that fits."""
    assert [step_words(s) for s in (1, 30, 60, 10800, 86400, 604800)] == [
        "1 second", "30 seconds", "1 minute", "3 hours", "1 day", "7 days",
    ]  # fmt: skip


def test_the_rail_groups_event_types_by_category_in_catalogue_order():
    """Declared types under their category with their title, all others last."""
    counted = {
        "action": [FacetValue("repo.pushed", 9), FacetValue("api_key.created", 3), FacetValue("login.success", 2)]
    }
    (rail,) = facets(place(), counted)
    assert [group.title for group in rail.groups] == [CATEGORIES["authentication"], CATEGORIES["data_access"], "Other"]
    assert rail.groups[0].rows[0].label == "Signed in"
    assert rail.groups[2].rows[0].label == "repo.pushed"


def test_a_value_of_the_rail_is_asked_for_taken_back_or_left_out():
    """Each state has the link to the others, and a value with wildcards in it is taken literally."""
    counted = {"source": [FacetValue("a*b", 5), FacetValue("billing", 2)]}
    (rail,) = facets(place(), counted)
    row = rail.groups[0].rows[0]
    assert row.state == ""
    included = reread(row.url)
    assert included.text == r"source:a\*b"
    assert reread(row.exclude_url).text == r"-source:a\*b"
    (rail,) = facets(included, counted)
    row = rail.groups[0].rows[0]
    assert row.state == "included"
    assert reread(row.url).text == ""
    (rail,) = facets(place(r"-source:a\*b"), counted)
    row = rail.groups[0].rows[0]
    assert (row.state, row.exclude_url) == ("excluded", "")
    assert reread(row.url).text == ""


def test_a_value_that_is_asked_for_is_in_the_rail_even_if_it_does_not_occur():
    """Otherwise it could not be taken back where it was chosen; patterns and networks are no values."""
    (rail,) = facets(place("actor:bob,al* ip:10.0.0.0/8"), {"actor": [FacetValue("alice", 5, "Alice")]})
    assert [(row.label, row.events, row.state) for row in rail.groups[0].rows] == [
        ("Alice", 5, ""),
        ("bob", 0, "included"),
    ]


def test_rare_values_are_folded_away_but_not_the_chosen_one():
    """The seventh and further values are one click away."""
    counted = {"ip": [FacetValue(f"10.0.0.{at}", 50 - at) for at in range(10)]}
    (rail,) = facets(place("ip:10.0.0.9"), counted)
    (group,) = rail.groups
    assert len(group.rows) == 7
    assert group.rows[-1].state == "included"
    assert len(group.more) == 3


def test_a_row_says_the_event_and_leads_on():
    """Sentence, several targets, parsed user agent, and links that narrow to what was clicked."""
    (row,) = rows(place("outcome:success", range="30d"), [event()])
    assert row.sentence == "Alice changed the role of Bob, t1 from member to admin"
    assert row.sensitive
    assert row.target is not None and row.target.more == "user, 1 more"
    assert row.agent == "curl 8"
    assert row.url == "/insights/audit-logs/41/?q=outcome%3Asuccess&range=30d"
    assert row.actor is not None
    assert reread(row.actor.url).text == "actor:usr_7 outcome:success"


def test_an_event_without_its_parts_is_still_a_row():
    """Erased actor, no target, no address: nothing is invented."""
    (row,) = rows(place(), [event(actor=None, targets=[], context=EventContext(), changes=[], erased=["who"])])
    assert (row.actor, row.target, row.ip, row.agent) == (None, None, None, "")


def test_links_of_an_old_event_leave_the_range_that_it_is_not_in():
    """From an event of last year, “this session” must not search the last 7 days."""
    old = event(occurred_at=NOW - timedelta(days=400))
    session = next(fact for fact in detail(place(), old).context if fact.name == "Session")
    assert reread(session.url).window.preset == "all"
    recent = next(fact for fact in detail(place(), event()).context if fact.name == "Session")
    assert reread(recent.url).window.preset == "7d"


def test_nothing_hostile_reaches_the_page_raw():
    """Controls, direction marks and line separators of every field are spelled out."""
    party = {"type": HOSTILE, "id": HOSTILE, "name": HOSTILE, "email": HOSTILE}
    nasty = event(
        action="a.b", actor=Actor(**party), targets=[Target(**party)], message=HOSTILE, tenant=HOSTILE,
        context=EventContext(ip="::1", user_agent=HOSTILE, session_id=HOSTILE, request_id=HOSTILE, forwarded_for=[HOSTILE]),
        changes=[Change(field=HOSTILE, before=HOSTILE, after={HOSTILE: [HOSTILE]})], metadata={HOSTILE: HOSTILE},
    )  # fmt: skip
    shown = detail(place(), nasty)
    (row,) = rows(place(), [nasty])
    texts = [shown.sentence, shown.raw, row.sentence, row.agent, row.agent_full, row.actor.text, row.target.text]
    for facts in (shown.facts, shown.context, shown.metadata, shown.actor.facts, shown.targets[0].facts):
        texts += [part for fact in facts for part in (fact.name, fact.value, fact.note)]
    texts += [part for change in shown.changes for part in change]
    for text in texts:
        assert not UNPRINTABLE.search(text), text.encode("unicode_escape")


@given(st.text())
def test_the_raw_json_is_the_event_whatever_is_in_it(text: str):
    """What is copied from the page parses to what the API gives."""
    nasty = event(metadata={text: [text, {"deep": text}]})
    assert json.loads(raw_json(nasty)) == json.loads(event_json(nasty))
    assert all(char.isprintable() or char in "\n\u200d" for char in raw_json(nasty))
    assert json.loads(json_visible(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox 140 on Linux"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
         "Safari 17 on macOS"),
        ("curl/8.5.0", "curl 8"),
        ("Terraform/1.5.1 (+https://example.com)", "Terraform/1.5.1"),
        ("   ", "   "),
        ("x" * 2000, "x" * 47 + "…"),
    ],
)  # fmt: skip
def test_user_agents_are_said_shortly(text: str, words: str):
    """Known programs by name and version, unknown ones by their first word."""
    assert user_agent_words(text) == words


def test_a_time_shows_the_zone_of_the_page_and_carries_utc():
    """Machines and hover have UTC, the text has the zone."""
    moment = datetime(2026, 7, 1, 22, 30, 5, 120000, tzinfo=UTC)
    with timezone.override(zone_named("Europe/Berlin")):
        html = Template("{% load times %}{% time moment %}|{% time moment 'full' %}").render(
            Context({"moment": moment})
        )
    short, full = html.split("|")
    assert 'datetime="2026-07-01T22:30:05.120000Z"' in short
    assert ">2026-07-02 00:30:05<" in short
    assert ">2026-07-02 00:30:05.120000 CEST<" in full
