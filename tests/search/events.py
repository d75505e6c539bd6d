"""Invented events: a small world in which names, ids and networks collide on purpose."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

from opssentinal.events.decoding import validate
from opssentinal.events.encoding import draft
from opssentinal.events.model import Actor, Change, Context, Event, RecordedEvent, Target, to_us
from opssentinal.ledger.bundle import Bundle
from opssentinal.years import EVENT_YEAR_MAX

BEGIN = datetime(2026, 3, 27, 22, 0, tzinfo=UTC)
NAMES = (
    "alice",
    "Alice",
    "Älice",
    "bob",
    "BOB",
    "a*b",
    "100%",
    "under_score",
    "back\\slash",
    'quo"te',
    "é",
    "null",
    "😀",
    "x",
)
KINDS = ("user", "User", "incident", "key")
ACTIONS = (
    "login.success",
    "login.failure",
    "logout",
    "user.created",
    "settings.updated",
    "incident.viewed",
    "x.custom",
)
ADDRESSES = (
    "10.0.0.1", "10.0.0.2", "10.1.0.1", "203.0.113.9", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::1",
    "2001:db8:0:1::5", "::ffff:10.0.0.1", "fe80::1%eth0",
)  # fmt: skip
AGENTS = ("", "curl/8.0", "Mozilla/5.0 (X11) Firefox/140.0", "Firefox")
SOURCES = ("billing", "web")
TENANTS = (None, "acme", "Acme")

_name = st.sampled_from(NAMES)
_maybe = st.one_of(st.none(), _name)
_json = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), _name,
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_name, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


def _parties(kind: type[Actor | Target]) -> st.SearchStrategy:
    return st.builds(kind, type=st.sampled_from(KINDS), id=_name, name=_maybe, email=_maybe)


def events() -> st.SearchStrategy[Event]:
    """One valid event."""
    return st.builds(
        Event,
        id=st.one_of(st.none(), st.uuids()),
        action=st.sampled_from(ACTIONS),
        outcome=st.sampled_from(("success", "failure", "denied", "unknown")),
        occurred_at=st.one_of(
            st.integers(0, 40).map(lambda n: BEGIN + timedelta(hours=n)),
            st.integers(0, 10).map(lambda n: BEGIN + timedelta(days=n, microseconds=n)),
            st.datetimes(datetime(1970, 1, 1), datetime(EVENT_YEAR_MAX, 12, 31), timezones=st.just(UTC)),
        ),
        actor=_parties(Actor),
        targets=st.lists(_parties(Target), max_size=3),
        context=st.builds(
            Context,
            ip=st.one_of(st.none(), st.sampled_from(ADDRESSES)),
            user_agent=st.one_of(st.none(), st.sampled_from(AGENTS)),
            session_id=_maybe,
            request_id=_maybe,
            forwarded_for=st.one_of(st.none(), st.lists(st.sampled_from(ADDRESSES), max_size=2)),
        ),
        changes=st.lists(st.builds(Change, field=_name, before=_json, after=_json), max_size=2),
        metadata=st.dictionaries(_name, _json, max_size=2),
        message=st.one_of(
            st.none(),
            st.just(""),
            _name,
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
        ),
        source=st.sampled_from(SOURCES),
        tenant=st.sampled_from(TENANTS),
    ).map(validate)


def event(at: int = 0, **fields: object) -> Event:
    """One event, `at` seconds after BEGIN."""
    given = {
        "action": "login.success",
        "actor": Actor("user", "usr_1", "Alice", "alice@example.com"),
        "outcome": "success",
        "occurred_at": BEGIN + timedelta(seconds=at),
        "source": "test",
    }
    return Event(**(given | fields))


def bundle_of(events: Sequence[Event], first_seq: int = 0, recorded_at: datetime = BEGIN) -> Bundle:
    """The events as a bundle of a ledger."""
    us = to_us(recorded_at)
    drafts = draft(events)
    whos, whats = drafts.whos.split(b"\n"), drafts.whats.split(b"\n")
    return Bundle(first_seq, len(events), us, us, drafts.complete(us).heads, whos, whats)


def erased(bundle: Bundle, whos: set[int], whats: set[int]) -> Bundle:
    """The bundle with these parts (by place) replaced by what stands for an erased part."""
    digest = b"q" * 43 + b"="
    return Bundle(
        bundle.first_seq, bundle.count, bundle.recorded_from_us, bundle.recorded_to_us, bundle.heads,
        [digest if at in whos else line for at, line in enumerate(bundle.whos)],
        [digest if at in whats else line for at, line in enumerate(bundle.whats)],
    )  # fmt: skip


def many(count: int, seed: int = 1) -> list[Event]:
    """Plain events, a second apart, some of which arrive late."""
    chance = random.Random(seed)
    return [
        event(
            at - chance.randrange(100) * (chance.random() < 0.1),
            action=chance.choice(ACTIONS),
            actor=Actor("user", f"usr_{chance.randrange(20)}", chance.choice(NAMES)),
            targets=[Target("incident", f"incident_{chance.randrange(50)}")],
            context=Context(ip=f"10.0.{chance.randrange(4)}.{chance.randrange(250)}"),
            metadata={"n": chance.randrange(10)},
            id=UUID(int=chance.getrandbits(128), version=4),
        )
        for at in range(count)
    ]


def newest_first(events: Sequence[RecordedEvent]) -> list[RecordedEvent]:
    """The order of the page."""
    return sorted(events, key=lambda each: (each.occurred_at, each.seq), reverse=True)
