"""The invented days: valid, deterministic, believable, and large enough."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address, ip_network
from itertools import pairwise

import msgspec
import pytest

from opssentinal.demo.episodes import ATTACKER, BRUTE_FORCE_FAILURES
from opssentinal.demo.filling import events_of
from opssentinal.demo.world import PEOPLE, World, build_world
from opssentinal.events.catalogue import EVENT_TYPES
from opssentinal.events.decoding import decode_event
from opssentinal.events.model import Event

END = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


def _world(end: datetime = END, days: int = 90, seed: int = 1) -> World:
    return build_world(seed, end.date(), days)


@pytest.fixture(scope="module")
def story() -> list[Event]:
    """The whole demo, ended at END."""
    return [event for _, events in events_of(_world(), END) for event in events]


def test_every_event_is_one_that_a_caller_could_send(story: list[Event]) -> None:
    """The events go into the log without the API's decoder; it would have taken each of them as it is."""
    for event in story[::7] + [event for event in story if event.action != "incident.viewed"][::3]:
        assert decode_event(msgspec.json.encode(event)) == event


def test_there_are_enough_of_every_kind(story: list[Event]) -> None:
    """At least 200,000 events, every type of the catalogue among them, from several sources and for a few tenants."""
    assert len(story) >= 200_000
    assert set(EVENT_TYPES) <= {event.action for event in story}
    assert len({event.source for event in story}) >= 5
    assert 2 <= len({event.tenant for event in story} - {None}) <= 8


@pytest.mark.parametrize("weekday", range(7))
def test_there_are_enough_whenever_it_is_run(weekday: int) -> None:
    """Also just after midnight, when the last day has nothing yet, of any day of the week."""
    end = datetime(2026, 11, 23, 0, 1, tzinfo=UTC) + timedelta(days=weekday)
    # Five whole weeks say how many the twelve of the ninety days have at least.
    days = [len(events) for _, events in events_of(build_world(1, end.date(), 36), end)]
    assert sum(days[:35]) / 5 * 12 >= 200_000


def test_the_same_seed_and_end_make_the_same_events() -> None:
    """That is what lets an interrupted demo go on; another seed makes another company."""

    def three_days(seed: int) -> list[Event]:
        return [event for _, events in events_of(_world(days=3, seed=seed), END) for event in events]

    assert three_days(1) == three_days(1)
    assert {event.id for event in three_days(1)}.isdisjoint(event.id for event in three_days(2))


def test_ids_are_unique_and_time_is_in_order(story: list[Event]) -> None:
    """No id comes twice, nothing happens after the end, and each day is in order."""
    assert len({event.id for event in story}) == len(story)
    assert max(event.occurred_at for event in story if event.occurred_at) <= END
    for _, events in events_of(_world(days=3), END):
        times = [event.occurred_at for event in events if event.occurred_at]
        assert all(one <= next_ for one, next_ in pairwise(times))


def test_addresses_are_nobodys(story: list[Event]) -> None:
    """Every address is from a block for documentation (RFC 5737, RFC 3849) or a private one."""
    blocks = [
        ip_network(text)
        for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "10.0.0.0/8")
    ]
    found = {event.context.ip for event in story} - {None}
    assert {4, 6} == {ip_address(text).version for text in found if text}
    for text in found:
        assert any(ip_address(text or "") in block for block in blocks), text


def test_people_have_hours_and_weekends(story: list[Event]) -> None:
    """A Sunday is far quieter than a Tuesday, and people of one place are not at work at night."""
    world = _world()
    per_day = Counter(event.occurred_at.date() for event in story if event.occurred_at and event.actor.type == "user")
    week = [per_day[date(2026, 10, 18) + timedelta(days=number)] for number in range(7)]  # from a Sunday on
    assert week[0] * 3 < week[2]
    berlin = {person.actor.id: person for person in world.people if str(person.zone) == "Europe/Berlin"}
    hours = Counter(
        event.occurred_at.astimezone(berlin[event.actor.id].zone).hour
        for event in story
        if event.occurred_at and event.actor.id in berlin and event.source == "opssentinal"
    )
    assert sum(hours[hour] for hour in range(1, 5)) < sum(hours[hour] for hour in range(9, 17)) / 50


def test_nobody_acts_before_they_join_or_after_they_left(story: list[Event]) -> None:
    """Accounts are created before they sign in, and those switched off stay off."""
    times: dict[str, list[datetime]] = defaultdict(list)
    for event in story:
        if event.actor.type == "user" and event.source == "opssentinal" and event.occurred_at:
            times[event.actor.id].append(event.occurred_at)
    world = _world()
    assert len(world.people) == PEOPLE
    assert len({person.actor.email for person in world.people}) == PEOPLE
    joined = [person for person in world.people if person.hired]
    left = [person for person in world.people if person.left]
    assert joined
    assert left
    for person in joined:
        assert person.hired is not None
        assert all(at.astimezone(person.zone).date() >= person.hired for at in times[person.actor.id])
    for person in left:
        assert person.left is not None
        # A long day may end after midnight.
        assert all(at < person.midnight(person.left) + timedelta(hours=12) for at in times[person.actor.id])


def _of(story: list[Event], *actions: str, ip: str) -> Iterator[Event]:
    return (event for event in story if event.action in actions and event.context.ip == ip)


def test_the_brute_force_is_there(story: list[Event]) -> None:
    """Hundreds of failures from one address against one account, then a success from it."""
    tries = list(_of(story, "login.failure", "login.success", ip=ATTACKER))
    assert [event.action for event in tries] == ["login.failure"] * BRUTE_FORCE_FAILURES + ["login.success"]
    assert len({event.actor.id for event in tries}) == 1


def test_the_privilege_escalation_is_there(story: list[Event]) -> None:
    """Somebody is made an admin, and within minutes changes settings and makes a key."""
    raised = [
        event
        for event in story
        if event.action == "user.role_changed" and any(change.after == "admin" for change in event.changes)
    ]
    assert len(raised) == 1
    accomplice, at = raised[0].targets[0].id, raised[0].occurred_at
    assert at is not None
    after = [
        event.action
        for event in story
        if event.actor.id == accomplice and event.occurred_at and at < event.occurred_at < at + timedelta(minutes=15)
    ]
    assert {"settings.updated", "api_key.created", "integration.created", "integration.deleted"} <= set(after)


def test_the_mass_export_is_there(story: list[Event]) -> None:
    """One person makes dozens of exports in an hour of the night, and is switched off two days later."""
    leaver = _world().leaver
    exports = [event for event in story if event.action == "export.downloaded" and event.actor == leaver.actor]
    nightly = [
        event for event in exports if event.occurred_at and event.occurred_at.astimezone(leaver.zone).hour in (2, 3)
    ]
    assert len([event for event in nightly if event.metadata["stage"] == "created"]) >= 40
    gone = [event for event in story if event.action == "user.deactivated" and event.targets[0].id == leaver.actor.id]
    assert len(gone) == 1
