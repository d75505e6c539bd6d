"""Settings → Data Retention, as an admin uses it and as others cannot."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils.timezone import now as utc_now

from opssentinal.approvals import services as approvals
from opssentinal.events.model import Context
from opssentinal.ledger import reader
from opssentinal.retention import jobs
from opssentinal.retention.models import ScheduledChange
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import Preferences, preferences, update_preferences
from opssentinal.workspace.principals import user_actor
from tests.form import fields_of
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
    admin_client.post(PAGE + "audit/", {"period": "custom", "days": "400"})
    assert preferences().audit_retention_days == 400
    admin_client.post(PAGE + "audit/", {"period": "forever"})
    assert preferences().audit_retention_days is None
    assert "kept for ever" in admin_client.get(PAGE).content.decode()
    for days in ("29", "0", "-1", "", "many", "36501"):
        answer = admin_client.post(PAGE + "audit/", {"period": "custom", "days": days})
        assert answer.status_code == 400, days
        assert "own traces removed" in answer.content.decode()
    assert admin_client.post(PAGE + "audit/", {"period": "1"}).status_code == 400
    assert preferences().audit_retention_days is None


def test_a_number_beside_a_preset_is_not_dropped(admin_client: Client) -> None:
    """Typed beside another choice, the field says what to do; left there from the retention in force, it means nothing."""
    answer = admin_client.post(PAGE + "audit/", {"period": "365", "days": "400"})
    assert answer.status_code == 400
    assert (
        "Choose “Another number of days” to keep them so long, or leave this empty for “1 year”."
        in answer.content.decode()
    )
    assert preferences().audit_retention_days == 365
    admin_client.post(PAGE + "audit/", {"period": "custom", "days": "400"})
    assert admin_client.post(PAGE + "audit/", {"period": "2555", "days": "400"}).status_code == 302
    assert preferences().audit_retention_days == 2555


def test_a_shorter_retention_that_removes_events_asks_first(admin_client: Client) -> None:
    """It says how many events would go and since when; only the confirmed form stores it."""
    at = days_ago(100, utc_now())
    record_events(256, at)
    answer = admin_client.post(PAGE + "audit/", {"period": "90"})
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "256 events" in text
    assert f"{at:%d %b %Y}" in text
    assert preferences().audit_retention_days == 365
    confirmed = admin_client.post(PAGE + "audit/", {"period": "custom", "days": "90", "confirmed": "on"})
    assert confirmed.status_code == 302
    assert ScheduledChange.objects.get().after == 90
    assert preferences().audit_retention_days == 365


def test_what_is_scheduled_is_shown_and_cancelled(admin_client: Client) -> None:
    """When it takes effect, who asked, what it will remove; one button calls it off. No event that old: no question."""
    record_events(512, days_ago(89.5, utc_now()))  # tomorrow they are old enough
    assert admin_client.post(PAGE + "audit/", {"period": "90"}).status_code == 302
    text = admin_client.get(PAGE).content.decode()
    assert "Keep audit events for 90 days instead of 1 year" in text
    assert "Asked for by Alice" in text
    assert "<strong>1 year</strong>" in text
    assert '<strong class="num">512 events</strong>' in text
    change = ScheduledChange.objects.get()
    answer = admin_client.post(f"{PAGE}changes/{change.pk}/cancel/", follow=True)
    assert "What was in force stays so" in answer.content.decode()
    assert "instead of" not in admin_client.get(PAGE).content.decode()
    answer = admin_client.post(f"{PAGE}changes/{change.pk}/cancel/", follow=True)
    assert "no change to cancel" in answer.content.decode()
    assert preferences().audit_retention_days == 365


def test_with_a_second_admin_the_page_asks_for_approval(admin_client: Client, admin: User) -> None:
    """The request is shown where it was made, to both admins, and asked once."""
    User.objects.create_user("carol@example.com", "correct horse battery", name="Carol", role="admin")
    record_events(256, days_ago(100, utc_now()))
    asking = admin_client.post(PAGE + "audit/", {"period": "90"}).content.decode()
    assert "Another admin has to approve it first" in asking
    answer = admin_client.post(PAGE + "audit/", {"period": "90", "confirmed": "on"}, follow=True)
    text = answer.content.decode()
    assert "Another admin has to approve" in text
    assert "waits for another admin’s approval" in text
    told = admin_client.get("/settings/approvals/").content.decode()
    assert "removes the text of 256 events, the oldest recorded on" in told
    assert "Once approved it waits 24 hours" in told
    admin_client.post(PAGE + "safeguards/", {"retention_cooldown_hours": "48", "second_admin_approves": "on"})
    assert "Once approved it waits 48 hours" in admin_client.get("/settings/approvals/").content.decode()
    answer = admin_client.post(PAGE + "audit/", {"period": "180"}, follow=True)
    assert "waits for approval already" in answer.content.decode()
    assert not ScheduledChange.objects.exists()


def test_the_safeguards_have_a_form(admin_client: Client) -> None:
    """Both fields are set; what weakens waits; nonsense is refused; what is not changed is not touched."""
    url = PAGE + "safeguards/"
    assert admin_client.post(url, {"retention_cooldown_hours": "48", "second_admin_approves": "on"}).status_code == 302
    assert preferences().retention_cooldown_hours == 48
    answer = admin_client.post(url, {"retention_cooldown_hours": "1"}, follow=True)
    assert "Cool-down: 1 hour instead of 48 hours" in answer.content.decode()
    now = preferences()
    assert (now.retention_cooldown_hours, now.second_admin_approves) == (48, True)
    assert "No longer ask a second admin for approval" in answer.content.decode()
    assert admin_client.post(url, {"retention_cooldown_hours": "721"}).status_code == 400
    answer = admin_client.post(url, {"retention_cooldown_hours": "48", "second_admin_approves": "on"}, follow=True)
    assert "Nothing to change" in answer.content.decode()


@pytest.mark.parametrize(
    ("form", "first", "second"),
    [
        ("audit/", {"period": "2555"}, {"period": "1095"}),
        ("safeguards/", {"retention_cooldown_hours": "48"}, {"second_admin_approves": "on"}),
        ("cleanup/", {"cleanup_exports_days": "5"}, {"cleanup_sessions_days": "3"}),
    ],
)
def test_a_page_out_of_date_undoes_nothing(
    admin_client: Client, carol: User, form: str, first: dict[str, str], second: dict[str, str]
) -> None:
    """Of two admins who had it open the second is refused with the reason; what the first saved stays, and nothing is asked."""
    early = fields_of(admin_client.get(PAGE).content.decode(), PAGE + form)
    other = Client()
    other.force_login(carol)
    other.post(PAGE + form, early | first)
    after_first = preferences()
    assert after_first != Preferences()
    answer = admin_client.post(PAGE + form, early | second, follow=True)
    assert "Somebody else has changed these settings" in answer.content.decode()
    assert preferences() == after_first
    assert not approvals.waiting().exists()
    assert not ScheduledChange.objects.exists()
    fresh = fields_of(admin_client.get(PAGE).content.decode(), PAGE + form)
    assert "Somebody else" not in admin_client.post(PAGE + form, fresh | second, follow=True).content.decode()


def test_a_question_does_not_outlast_what_it_was_asked_about(admin_client: Client, admin: User) -> None:
    """Between the question how many events would go and its answer somebody keeps them longer: nothing is shortened."""
    record_events(256, days_ago(100, utc_now()))
    early = fields_of(admin_client.get(PAGE).content.decode(), PAGE + "audit/")
    asking = admin_client.post(PAGE + "audit/", early | {"period": "90"}).content.decode()
    update_preferences(user_actor(admin), Context(), "data_retention", audit_retention_days=2555)
    confirmed = fields_of(asking.partition("</section>")[0], PAGE + "audit/")
    assert confirmed["confirmed"] == "on"
    answer = admin_client.post(PAGE + "audit/", confirmed, follow=True)
    assert "Somebody else has changed these settings" in answer.content.decode()
    assert not ScheduledChange.objects.exists()
