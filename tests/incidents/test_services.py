"""Opening, changing, noting, attaching and viewing: each change and its event are one, and nothing is shown unrecorded."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.apps import apps
from django.db import Error as DatabaseProblem
from django.db import connections
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opssentinal.errors import Conflict, InvalidInput, NotFound, OpsSentinalError, Unavailable
from opssentinal.events.model import EPOCH, Actor, RecordedEvent
from opssentinal.incidents import cleanup, services
from opssentinal.incidents.models import AttachedEvent, Incident, Note
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import update_preferences
from tests.incidents.conftest import ALICE, HERE, Make, put
from tests.workspace.conftest import away, events

Call = Callable[[Incident], Any]

# What somebody found in the log; the ledger is not asked again.
FOUND = RecordedEvent(
    id=UUID(int=7), seq=0, action="login.failure", outcome="failure", occurred_at=EPOCH, recorded_at=EPOCH, actor=ALICE,
    targets=[], context=HERE, changes=[], metadata={}, message=None, source="billing", tenant=None,
)  # fmt: skip

# Every change of an incident, and what the log has of it afterwards.
CHANGES: dict[str, tuple[Call, str, str]] = {
    "open": (
        lambda _: services.open_incident(ALICE, HERE, title="Another", severity="low", origin="api"),
        "incidents_incident",
        "incident.created",
    ),
    "update": (
        lambda made: services.update_incident(ALICE, HERE, made.number, {"status": "resolved"}),
        "incidents_incident",
        "incident.updated",
    ),
    "note": (
        lambda made: services.add_note(ALICE, HERE, made.number, "Restarted."),
        "incidents_note",
        "incident.updated",
    ),
    "attach": (
        lambda made: services.attach_events(ALICE, HERE, made.number, [FOUND]),
        "incidents_attachedevent",
        "incident.updated",
    ),
}


def state() -> tuple[Any, ...]:
    """Everything that is stored of incidents."""
    return tuple(list(model.objects.order_by("pk").values()) for model in (Incident, Note, AttachedEvent))


@pytest.mark.parametrize("name", CHANGES)
def test_no_change_without_its_record(make: Make, name: str) -> None:
    """Where nothing can be appended to the log, nothing changes."""
    change, _, _ = CHANGES[name]
    made = make()
    before = state()
    with away("ledger_head"), pytest.raises(DatabaseProblem):
        change(made)
    assert state() == before


@pytest.mark.parametrize("name", CHANGES)
def test_no_record_without_its_change(make: Make, name: str) -> None:
    """Where the change cannot be stored, the log says nothing of it; once it can, both are there."""
    change, table, action = CHANGES[name]
    made = make()
    count = len(events(action))
    with away(table), pytest.raises(DatabaseProblem):
        change(made)
    assert len(events(action)) == count
    change(made)
    assert len(events(action)) == count + 1


def test_what_is_opened_is_told(bob: User) -> None:
    """The incident has what it was opened with, and so has its event, which a person caused and no tenant's key reads."""
    [event] = put("login.failure", tenant="acme")
    opened = services.open_incident(
        ALICE, HERE, title=" Strange sign-ins ", severity="critical", origin="manual", description="Many.\r\nFrom afar.",
        assignee=bob, tenant="acme", events=[event],
    )  # fmt: skip
    incident = Incident.objects.get()
    assert opened.is_new
    assert (incident.number, incident.title, incident.status) == (1, "Strange sign-ins", "open")
    assert (incident.description, incident.assignee, incident.by_name) == ("Many.\nFrom afar.", bob, "Alice")
    [attached] = incident.attached.all()
    assert (attached.seq, attached.event_id, attached.action) == (event.seq, event.id, "login.failure")
    assert "Mallory" in attached.sentence
    [told] = events("incident.created")
    assert (told.targets[0].id, told.targets[0].name, told.tenant) == ("incident_1", "Strange sign-ins", None)
    assert told.metadata["assignee"] == "bob@example.com"
    assert told.metadata["events"] == [str(event.id)]
    assert (told.metadata["severity"], told.metadata["origin"]) == ("critical", "manual")


def test_numbers_have_no_gaps_and_are_never_given_again(make: Make) -> None:
    """A refused opening uses no number up; the number of a deleted incident does not come back."""
    assert [make().number for _ in range(3)] == [1, 2, 3]
    with away("ledger_head"), pytest.raises(DatabaseProblem):
        make()
    assert make().number == 4
    Incident.objects.filter(number=4).delete()
    assert make().number == 5


def test_numbers_of_incidents_opened_at_once_differ() -> None:
    """Several threads open incidents at the same time: each gets one of its own, without a gap."""

    def work(_: int) -> list[int]:
        try:
            opened = [services.open_incident(ALICE, HERE, title="x", severity="low", origin="api") for _ in range(4)]
            return [each.incident.number for each in opened]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        numbers = [number for found in threads.map(work, range(4)) for number in found]
    assert sorted(numbers) == list(range(1, 17))


def test_a_request_that_is_sent_again_opens_nothing() -> None:
    """The same key and content give the incident that is there; other content is refused; another actor is another."""
    fields: dict[str, Any] = {"title": "Once", "severity": "low", "origin": "api", "request_key": "a1"}
    first = services.open_incident(ALICE, HERE, **fields)
    again = services.open_incident(ALICE, HERE, **fields)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.incident.number == first.incident.number == 1
    with pytest.raises(Conflict) as refused:
        services.open_incident(ALICE, HERE, **fields | {"title": "Twice"})
    assert refused.value.code == "request_key_reused"
    other = Actor(type="api_key", id="user_1")
    assert services.open_incident(other, HERE, **fields).is_new
    assert len(events("incident.created")) == 2


def test_an_update_tells_before_and_after(make: Make, bob: User) -> None:
    """Exactly the fields that differ are in the event; the same again changes and records nothing."""
    made = make()
    wanted = {"title": "Checkout is down", "severity": "high", "status": "acknowledged", "assignee": bob}
    updated = services.update_incident(ALICE, HERE, made.number, wanted)
    assert (updated.version, updated.title, updated.assignee) == (2, "Checkout is down", bob)
    [told] = events("incident.updated")
    assert [(change.field, change.before, change.after) for change in told.changes] == [
        ("title", "Checkout is slow", "Checkout is down"),
        ("status", "open", "acknowledged"),
        ("assignee", None, "bob@example.com"),
    ]
    assert services.update_incident(ALICE, HERE, made.number, wanted).version == 2
    assert len(events("incident.updated")) == 1


def test_an_update_of_what_has_changed_meanwhile_is_refused(make: Make) -> None:
    """Of two changes made from one version, the second is lost to nobody: it is refused and says so."""
    made = make()
    services.update_incident(ALICE, HERE, made.number, {"severity": "low"}, version=1)
    with pytest.raises(Conflict) as refused:
        services.update_incident(ALICE, HERE, made.number, {"severity": "critical"}, version=1)
    assert refused.value.code == "incident_changed"
    assert Incident.objects.get().severity == "low"
    services.add_note(ALICE, HERE, made.number, "A note contradicts nobody.")
    services.update_incident(ALICE, HERE, made.number, {"severity": "critical"}, version=2)


def test_closing_and_opening_again(make: Make) -> None:
    """The time of closing is there while it is closed, and only then."""
    made = make()
    for status, is_closed in (("closed", True), ("open", False), ("resolved", False), ("closed", True)):
        assert (
            services.update_incident(ALICE, HERE, made.number, {"status": status}).closed_at is not None
        ) is is_closed


def test_an_account_that_is_switched_off_is_given_nothing_and_keeps_what_it_has(make: Make, bob: User) -> None:
    """Nobody can assign to it; other fields of what it has can still change."""
    made, other = make(assignee=bob), make()
    User.objects.filter(pk=bob.pk).update(is_active=False)
    bob.refresh_from_db()
    with pytest.raises(InvalidInput, match="switched off"):
        services.update_incident(ALICE, HERE, other.number, {"assignee": bob})
    with pytest.raises(InvalidInput, match="no active account"):
        services.assignee_by_email("bob@example.com")
    services.update_incident(ALICE, HERE, made.number, {"assignee": bob, "severity": "low"})
    assert [change.field for change in events("incident.updated")[0].changes] == ["severity"]


def test_a_note_is_in_the_log_too(make: Make) -> None:
    """Its text stands in the event, so that what was written can be proved."""
    made = make()
    note = services.add_note(ALICE, HERE, made.number, "Rolled back.\r\nLooks better.")
    assert (note.text, note.by_name) == ("Rolled back.\nLooks better.", "Alice")
    [told] = events("incident.updated")
    assert [(change.field, change.after) for change in told.changes] == [("note", "Rolled back.\nLooks better.")]
    for empty in ("", " \n "):
        with pytest.raises(InvalidInput):
            services.add_note(ALICE, HERE, made.number, empty)


def test_an_event_is_attached_once(make: Make) -> None:
    """What is there already is left alone; the event names what was new; too many at once are refused."""
    made = make()
    one, two = put("login.failure", "access.denied")
    assert len(services.attach_events(ALICE, HERE, made.number, [one, one])) == 1
    assert [each.seq for each in services.attach_events(ALICE, HERE, made.number, [one, two])] == [two.seq]
    assert services.attach_events(ALICE, HERE, made.number, [one, two]) == []
    assert [told.changes[0].after for told in events("incident.updated")] == [[str(one.id)], [str(two.id)]]
    with pytest.raises(InvalidInput):
        services.attach_events(ALICE, HERE, made.number, put(*["a.b"] * (services.ATTACHED_AT_ONCE_MAX + 1)))


def test_an_incident_of_a_tenant_takes_only_its_events(make: Make) -> None:
    """Keys of the tenant read the incident, so nothing of anybody else gets on its timeline."""
    made = make(tenant="acme")
    for tenant in (None, "other"):
        with pytest.raises(InvalidInput, match="tenant acme"):
            services.attach_events(ALICE, HERE, made.number, put("a.b", tenant=tenant))
        with pytest.raises(InvalidInput, match="tenant acme"):
            make(tenant="acme", events=put("a.b", tenant=tenant))
    assert services.attach_events(ALICE, HERE, made.number, put("a.b", tenant="acme"))


def test_each_opening_is_recorded(make: Make) -> None:
    """Two looks are two records; a number that is none is not found and not recorded."""
    made = make()
    for _ in range(2):
        assert services.view_incident(ALICE, HERE, made.number) == made
    viewed = events("incident.viewed")
    assert [(told.targets[0].id, told.actor and told.actor.id) for told in viewed] == [("incident_1", "user_1")] * 2
    for number in (0, 2, 2**31, 2**70):
        with pytest.raises(NotFound):
            services.view_incident(ALICE, HERE, number)
    assert len(events("incident.viewed")) == 2


@pytest.mark.parametrize("table", ["ledger_head", "ledger_bundle"])
def test_what_cannot_be_recorded_is_not_shown(make: Make, table: str) -> None:
    """Whatever of the log fails, the answer is that it is unavailable."""
    made = make()
    with away(table), pytest.raises(Unavailable) as refused:
        services.view_incident(ALICE, HERE, made.number)
    assert refused.value.code == "not_recorded"


def test_incidents_of_other_tenants_do_not_exist(make: Make) -> None:
    """Each function that takes a tenant answers for another's incident, and for one of none, as for one that is not there."""
    for made in (make(), make(tenant="other")):
        number = made.number
        calls: list[Callable[[], Any]] = [
            lambda number=number: services.view_incident(ALICE, HERE, number, tenant="acme"),  # type: ignore[misc]
            lambda number=number: services.update_incident(ALICE, HERE, number, {"title": "x"}, tenant="acme"),  # type: ignore[misc]
            lambda number=number: services.add_note(ALICE, HERE, number, "x", tenant="acme"),  # type: ignore[misc]
            lambda number=number: services.attach_events(ALICE, HERE, number, [], tenant="acme"),  # type: ignore[misc]
        ]
        for call in calls:
            with pytest.raises(NotFound, match=f"There is no incident #{number}"):
                call()
    assert not services.incidents_of("acme").exists()
    assert {told.action for told in events()} == {"incident.created"}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "two\nlines"}, "title"),
        ({"title": "nul\x00"}, "title"),
        ({"severity": "terrible"}, "severity"),
        ({"origin": "fate"}, "origin"),
        ({"description": "x" * 5_001}, "description"),
        ({"description": "bell\x07"}, "description"),
        ({"tenant": ""}, "tenant"),
        ({"request_key": "x" * 256}, "request_key"),
    ],
)
def test_what_cannot_be_opened_names_the_field(make: Make, fields: dict[str, Any], path: str) -> None:
    """Nothing is stored or recorded, and the error says which field it is about."""
    with pytest.raises(InvalidInput) as refused:
        make(**fields)
    assert refused.value.path == path
    assert not Incident.objects.exists()
    assert events() == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=200))
def test_any_text_is_kept_as_it_is(make: Make, text: str) -> None:
    """A description of any printable characters comes back as it was; the same in the event."""
    made = make(description=text)
    assert Incident.objects.get(number=made.number).description == text
    assert events("incident.created")[-1].metadata.get("description", "") == text


def test_the_longest_texts_fit_the_log(make: Make) -> None:
    """Before and after of the longest description, in characters of four bytes, are one event."""
    made = make(description="\U0001f600" * 5_000, title="\U0001f600" * 200)
    services.update_incident(ALICE, HERE, made.number, {"description": "\U0001f601" * 5_000})
    services.add_note(ALICE, HERE, made.number, "\U0001f600" * 5_000)
    assert len(events("incident.updated")) == 2


def test_the_standard_cleanup_deletes_what_was_closed_long_ago(make: Make) -> None:
    """Closed incidents past their days go with all they have; others stay; without a number of days nothing goes."""
    now = timezone.now()
    closed, resolved, fresh = make(events=put("a.b")), make(), make()
    services.add_note(ALICE, HERE, closed.number, "Done.")
    for made, status in ((closed, "closed"), (resolved, "resolved"), (fresh, "closed")):
        services.update_incident(ALICE, HERE, made.number, {"status": status})
    Incident.objects.exclude(number=fresh.number).exclude(closed_at=None).update(closed_at=now - timedelta(days=31))
    config: Any = apps.get_app_config("incidents")
    assert (config.standard_cleanup_preview(now), config.standard_cleanup(now)) == (0, 0)
    update_preferences(ALICE, HERE, "cleanup", cleanup_incidents_days=30)
    size = len(events())
    assert (config.standard_cleanup_preview(now), config.standard_cleanup(now)) == (1, 1)
    assert set(Incident.objects.values_list("number", flat=True)) == {resolved.number, fresh.number}
    assert not Note.objects.exists() and not AttachedEvent.objects.exists()
    (told,) = events()[size:]
    assert (told.action, told.metadata) == ("cleanup.finished", {"incidents": 1, "numbers": [closed.number]})
    assert told.actor == Actor(type="system", id="cleanup", name="Standard cleanup")
    assert config.standard_cleanup(now) == 0
    assert len(events()) == size + 1


def test_incidents_and_the_record_of_their_deletion_stand_or_fall_together(make: Make) -> None:
    """Without a ledger nothing is deleted; several portions are told each with its numbers, and none twice."""
    numbers = [make().number for _ in range(3)]
    now = timezone.now()
    Incident.objects.update(status="closed", closed_at=now - timedelta(days=31))
    update_preferences(ALICE, HERE, "cleanup", cleanup_incidents_days=30)
    with away("ledger_head"), pytest.raises((DatabaseProblem, OpsSentinalError)):
        cleanup.delete_closed(now)
    assert Incident.objects.count() == 3
    with away("incidents_incident"), pytest.raises(DatabaseProblem):
        cleanup.delete_closed(now)
    assert events("cleanup.finished") == []
    with patch.object(cleanup, "AT_ONCE", 2):
        assert cleanup.delete_closed(now) == 3
    assert [told.metadata["numbers"] for told in events("cleanup.finished")] == [numbers[:2], numbers[2:]]
