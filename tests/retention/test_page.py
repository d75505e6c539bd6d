"""Settings → Data Retention, as an admin uses it and as others cannot."""

from __future__ import annotations

from django.test import Client
from django.utils.timezone import now as utc_now

from opssentinal.ledger import reader
from opssentinal.retention import jobs
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences
from tests.retention.conftest import days_ago, record_events

PAGE = "/settings/data-retention/"


def test_only_admins_see_it_and_a_refusal_is_recorded(admin: User) -> None:
    """Visitors are sent to sign in; a member gets 403 for the page and both forms, each recorded as access.denied."""
    member = User.objects.create_user("bob@example.com", "correct horse battery", role="member")
    client = Client()
    assert client.get(PAGE).status_code == 302
    client.force_login(member)
    assert client.get(PAGE).status_code == 403
    assert client.post(PAGE + "audit/", {"period": "90"}).status_code == 403
    assert client.post(PAGE + "cleanup/", {"cleanup_exports_days": "1"}).status_code == 403
    assert [event.action for event in reader.newest(3)] == ["access.denied"] * 3
    assert preferences().audit_retention_days == 365


def test_it_shows_what_is_and_what_will_be(admin_client: Client) -> None:
    """Retention in force, last and next run and how many events it would remove; the cleanup apart."""
    record_events(512, days_ago(400, utc_now()))
    text = admin_client.get(PAGE).content.decode()
    assert "<strong>1 year</strong>" in text
    assert "Never yet" in text
    assert '<strong class="num">512</strong> events' in text
    jobs.prune_if_due(utc_now())
    text = admin_client.get(PAGE).content.decode()
    assert "512 events removed" in text
    assert "Nothing, if it ran now" in text
    assert "T03:00:00Z" in text
    assert "Standard cleanup" in text


def test_a_change_is_recorded_with_before_and_after(admin_client: Client) -> None:
    """Choosing seven years stores 2555 days and records settings.updated by the admin."""
    assert admin_client.post(PAGE + "audit/", {"period": "2555"}).status_code == 302
    assert preferences().audit_retention_days == 2555
    event = reader.newest(1)[0]
    assert event.action == "settings.updated"
    assert event.actor is not None
    assert event.actor.email == "alice@example.com"
    assert [(c.field, c.before, c.after) for c in event.changes] == [("audit_retention_days", 365, 2555)]
    assert event.targets[0].id == "data_retention"


def test_for_ever_and_days_of_ones_own(admin_client: Client) -> None:
    """For ever is none; another number of days is taken from 30 up, and the floor is explained."""
    admin_client.post(PAGE + "audit/", {"period": "forever"})
    assert preferences().audit_retention_days is None
    assert "kept for ever" in admin_client.get(PAGE).content.decode()
    admin_client.post(PAGE + "audit/", {"period": "custom", "days": "45"})
    assert preferences().audit_retention_days == 45
    for days in ("29", "0", "-1", "", "many", "36501"):
        answer = admin_client.post(PAGE + "audit/", {"period": "custom", "days": days})
        assert answer.status_code == 400, days
        assert "own traces removed" in answer.content.decode()
    assert admin_client.post(PAGE + "audit/", {"period": "1"}).status_code == 400
    assert preferences().audit_retention_days == 45


def test_a_shorter_retention_that_removes_events_asks_first(admin_client: Client) -> None:
    """It says how many events would go and since when; only the confirmed form stores it."""
    record_events(256, days_ago(100, utc_now()))
    answer = admin_client.post(PAGE + "audit/", {"period": "90"})
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "256 events" in text
    assert f"{days_ago(100, utc_now()):%d %b %Y}" in text
    assert preferences().audit_retention_days == 365
    confirmed = admin_client.post(PAGE + "audit/", {"period": "custom", "days": "90", "confirmed": "on"})
    assert confirmed.status_code == 302
    assert preferences().audit_retention_days == 90


def test_a_shorter_retention_that_removes_nothing_does_not_ask(admin_client: Client) -> None:
    """With no event that old, a shorter retention is stored at once."""
    record_events(256, days_ago(1, utc_now()))
    assert admin_client.post(PAGE + "audit/", {"period": "90"}).status_code == 302
    assert preferences().audit_retention_days == 90
