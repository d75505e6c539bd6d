"""Drafts: events encoded but for what only their commit knows."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.events.encoding import EncodedEvent, decode_recorded, draft, joined
from opssentinal.events.model import Actor, Event, from_us
from tests.search.events import events

NOW_US = 1_790_000_000_123_456


@given(st.lists(events(), max_size=6), st.lists(events(), max_size=6), st.data())
def test_drafts_are_their_events(first: list[Event], second: list[Event], data: st.DataObject) -> None:
    """Joined, picked and decoded again, drafts hold the events that they were made of, in order."""
    drafts = joined([draft(first), draft([]), draft(second)])
    everything = first + second
    assert len(drafts) == len(everything)
    assert drafts.events() == everything
    assert drafts.keys() == [(event.source, event.id) for event in everything]
    places = data.draw(st.lists(st.sampled_from(range(len(everything))), max_size=4)) if everything else []
    assert drafts.only(places).events() == [everything[at] for at in places]


@given(st.lists(events(), min_size=1, max_size=6))
def test_a_commit_completes_them(given_events: list[Event]) -> None:
    """Every stored line reads as the event with the commit's time, and hashes to its entry."""
    drafts = draft(given_events)
    ids, heads, entries = drafts.complete(NOW_US)
    lines = zip(heads, drafts.whos.split(b"\n"), drafts.whats.split(b"\n"), strict=True)
    for sent, id_, stored, entry in zip(given_events, ids, lines, entries, strict=True):
        assert EncodedEvent(*stored).entry == entry
        assert json.loads(entry).keys() >= {"v", "id", "recorded_at", "occurred_at", "who", "what"}
        recorded = decode_recorded(0, *stored)
        assert recorded.recorded_at == from_us(NOW_US)
        assert recorded.occurred_at == (sent.occurred_at or from_us(NOW_US))
        assert recorded.id == UUID(id_.decode()) == (sent.id or recorded.id)
        assert (recorded.action, recorded.source, recorded.tenant) == (sent.action, sent.source, sent.tenant)
        assert (recorded.actor, recorded.targets, recorded.metadata) == (sent.actor, sent.targets, sent.metadata)


def test_an_event_without_source_is_no_draft() -> None:
    """Whoever hands over events names their source."""
    with pytest.raises(ValueError, match="source"):
        draft([Event(action="a.b", actor=Actor("user", "1"))])
