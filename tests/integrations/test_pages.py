"""Settings → Integrations as an admin uses it, and as nobody else can."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.test import Client

from opssentinal.events.model import to_us
from opssentinal.integrations import services
from opssentinal.integrations.follower import Follower
from opssentinal.integrations.models import Delivery, Integration
from opssentinal.ledger import reader
from opssentinal.ledger.pruning import prune
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import update_preferences
from tests.form import fields_of
from tests.integrations.conftest import ALICE, HERE, Receiver, connect, deliver, events, record_events
from tests.ledger.conftest import commit, make_event

ROOT = "/settings/integrations/"


def _form_key(page: str) -> str:
    found = re.search(r'name="form_key" value="([^"]+)"', page)
    assert found
    return found[1]


def _create(admin: Client, receiver: Receiver, **fields: object) -> str:
    key = _form_key(admin.get(f"{ROOT}new/").text)
    sent = {"form_key": key, "name": "SIEM", "url": receiver.url, "query": "", "batch_events_max": 100} | fields
    answer = admin.post(f"{ROOT}new/", sent)
    assert answer.status_code == 201, answer.text
    return answer.text


def test_an_admin_creates_a_webhook_and_sees_its_secret_once(
    admin: Client, receiver: Receiver, follower: Follower
) -> None:
    """The secret is on the page that answers, which nothing stores, and signs what is delivered."""
    page = _create(admin, receiver, query="action:integration.*")
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", page)
    assert found
    integration = Integration.objects.get()
    deliver(follower, integration)
    assert receiver.received[0].is_signed_with(found[0])
    for address in (ROOT, f"{ROOT}{integration.public_id}/", f"{ROOT}{integration.public_id}/edit/"):
        shown = admin.get(address)
        assert "SIEM" in shown.text
        assert "whsec_" not in shown.text


def test_the_page_with_the_secret_is_not_stored(admin: Client, receiver: Receiver) -> None:
    """No cache and no history keeps it."""
    key = _form_key(admin.get(f"{ROOT}new/").text)
    sent = {"form_key": key, "name": "SIEM", "url": receiver.url, "batch_events_max": 10}
    assert "no-store" in admin.post(f"{ROOT}new/", sent).headers["Cache-Control"]


def test_the_same_form_again_makes_no_second_one(admin: Client, receiver: Receiver) -> None:
    """Reloading the page with the secret leads to the list."""
    key = _form_key(admin.get(f"{ROOT}new/").text)
    sent = {"form_key": key, "name": "SIEM", "url": receiver.url, "batch_events_max": 10}
    assert admin.post(f"{ROOT}new/", sent).status_code == 201
    again = admin.post(f"{ROOT}new/", sent, follow=True)
    assert "already" in again.text
    assert Integration.objects.count() == 1
    assert admin.post(f"{ROOT}new/", sent | {"form_key": "made-up"}).status_code == 400
    assert Integration.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("url", "https://10.0.0.1/", "private address"),
        ("url", "http://1.1.1.1/", "https"),
        ("query", "actr:alice", "Did you mean"),
        ("name", "", "required"),
        ("batch_events_max", "9999", "500"),
    ],
)
def test_mistakes_stand_at_their_field(admin: Client, receiver: Receiver, field: str, value: str, said: str) -> None:
    """The form comes back with what was entered and what is wrong; nothing is created."""
    key = _form_key(admin.get(f"{ROOT}new/").text)
    sent = {"form_key": key, "name": "SIEM", "url": receiver.url, "batch_events_max": 10} | {field: value}
    answer = admin.post(f"{ROOT}new/", sent)
    assert answer.status_code == 400
    error = re.search(rf'id="id_{field}_error".*?</div>', answer.text, re.DOTALL)
    assert error and said in error[0]
    assert not Integration.objects.exists()


def test_the_test_button_shows_what_came_back(admin: Client, receiver: Receiver) -> None:
    """Status, latency and the beginning of the answer, of a test that arrived and of one that did not."""
    integration = connect(receiver).integration
    receiver.answers += [(202, {}, b"<b>thanks</b>"), (503, {}, b"")]
    page = admin.post(f"{ROOT}{integration.public_id}/test/", follow=True).text
    assert "The test arrived: 202 Accepted after" in page
    assert "&lt;b&gt;thanks&lt;/b&gt;" in page
    page = admin.post(f"{ROOT}{integration.public_id}/test/", follow=True).text
    assert "The test did not arrive: 503 Service Unavailable" in page
    assert [each.metadata["status"] for each in events("integration.tested")] == [202, 503]


def test_deliveries_are_listed(admin: Client, receiver: Receiver, follower: Follower) -> None:
    """With their events, status, attempts and answer; each has a page with links to its events."""
    integration = connect(receiver).integration
    record_events(2)
    receiver.answers.append((200, {}, b"fine, thank you"))
    deliver(follower, integration)
    delivery = Delivery.objects.get()
    page = admin.get(f"{ROOT}{integration.public_id}/").text
    for text in ("delivered", "200", "fine, thank you", delivery.webhook_id):
        assert text in page
    page = admin.get(f"{ROOT}{integration.public_id}/deliveries/{delivery.webhook_id}/").text
    assert "/insights/audit-logs/2/" in page
    assert "200 OK" in page


def test_a_failing_and_a_paused_one_say_so(admin: Client, receiver: Receiver, follower: Follower) -> None:
    """The page tells since when it fails and when it is tried again; paused, why, and it can be resumed there."""
    integration = connect(receiver).integration
    receiver.answers += [(500, {}, b""), (410, {}, b"")]
    deliver(follower, integration)
    page = admin.get(f"{ROOT}{integration.public_id}/").text
    assert "Deliveries fail since" in page and "to be retried" in page
    Integration.objects.update(next_attempt_at=None)
    deliver(follower, integration)
    page = admin.get(f"{ROOT}{integration.public_id}/").text
    assert "410 Gone" in page and "Resume" in page
    assert "paused" in admin.get(ROOT).text
    assert "Resumed." in admin.post(f"{ROOT}{integration.public_id}/resume/", follow=True).text
    assert not Integration.objects.get().is_paused
    assert "is not paused" in admin.post(f"{ROOT}{integration.public_id}/resume/", follow=True).text


def test_a_page_out_of_date_undoes_nothing(admin: Client, receiver: Receiver) -> None:
    """Of two admins who had it open the second is refused with the reason, and what the first saved stays."""
    own = f"{ROOT}{connect(receiver).integration.public_id}/"
    early = fields_of(admin.get(f"{own}edit/").text, "")
    assert "Saved." in admin.post(f"{own}edit/", early | {"query": "is:sensitive"}, follow=True).text
    answer = admin.post(f"{own}edit/", early | {"name": "Other"}, follow=True).text
    assert "Somebody else has changed these settings" in answer
    assert Integration.objects.get().query == "is:sensitive"
    fresh = fields_of(admin.get(f"{own}edit/").text, "")
    assert "Saved." in admin.post(f"{own}edit/", fresh | {"name": "Other"}, follow=True).text


def test_editing_pausing_and_deleting(admin: Client, receiver: Receiver) -> None:
    """Each does what it says, and is an event of the person who did it."""
    integration = connect(receiver).integration
    own = f"{ROOT}{integration.public_id}/"
    sent = {"name": "Other", "url": receiver.url, "query": "is:sensitive", "batch_events_max": 5}
    assert "Saved." in admin.post(f"{own}edit/", sent, follow=True).text
    assert "is:sensitive" in admin.get(own).text
    assert "Paused" in admin.post(f"{own}pause/", follow=True).text
    assert admin.get(f"{own}delete/").status_code == 200
    assert "Other is deleted." in admin.post(f"{own}delete/", follow=True).text
    assert admin.get(own).status_code == 404
    actions = ["integration.created", "integration.updated", "integration.updated", "integration.deleted"]
    assert [event.action for event in events()] == actions
    assert {event.actor.email for event in events()[1:] if event.actor} == {"alice@example.com"}


@pytest.mark.parametrize(
    ("start", "said"),
    [("0", "from number 0 on"), ("3", "from number 3 on"), ("1,000", "the log has the events 0 to 3"),
     ("2001-01-01", "from number 0 on"), ("2001-01-01 12:30", "from number 0 on"), ("now", "from number 4 on"),
     ("next week", "“next week” is no date"), ("2001-01-01, noon", "“2001-01-01, noon” is no date")],
)  # fmt: skip
def test_replay_from_a_number_or_a_time(admin: Client, receiver: Receiver, start: str, said: str) -> None:
    """Both are understood; what is neither is quoted at the field as it was typed."""
    integration = connect(receiver).integration
    record_events(3)
    assert said in admin.post(f"{ROOT}{integration.public_id}/replay/", {"start": start}, follow=True).text


def test_replay_takes_the_workspaces_clock(admin: Client, receiver: Receiver) -> None:
    """A day begins at its midnight there: what was recorded in its first hour is before the day in UTC."""
    update_preferences(ALICE, HERE, "general", time_zone="Europe/Berlin")
    integration = connect(receiver).integration
    size = reader.head().size
    commit([make_event(1)], to_us(datetime(2130, 1, 1, 22, 30, tzinfo=UTC)))
    commit([make_event(2)], to_us(datetime(2130, 1, 1, 23, 30, tzinfo=UTC)))
    for start in ("2130-01-02", "2130-01-02 00:00"):
        page = admin.post(f"{ROOT}{integration.public_id}/replay/", {"start": start}, follow=True).text
        assert f"from number {size + 1} on" in page


def test_a_new_secret_is_shown_once(admin: Client, receiver: Receiver) -> None:
    """The form replaces the secret it was made for, once."""
    made = connect(receiver)
    address = f"{ROOT}{made.integration.public_id}/secret/"
    assert 'name="version" value="1"' in admin.get(address).text
    answer = admin.post(address, {"version": 1, "overlap_hours": 72})
    assert "whsec_" in answer.text and made.secret not in answer.text
    assert "no-store" in answer.headers["Cache-Control"]
    assert "has been replaced" in admin.post(address, {"version": 1, "overlap_hours": 72}, follow=True).text
    assert admin.post(address, {"version": 2, "overlap_hours": 5}).status_code == 400
    assert Integration.objects.get().secret_version == 2


def test_resuming_past_events_that_are_gone_needs_the_button_that_says_so(admin: Client, receiver: Receiver) -> None:
    """The page shows how many are left out; a plain resume is refused."""
    integration = connect(receiver).integration
    services.pause(integration.public_id, ALICE, HERE)
    record_events(600)
    day_later = reader.head().recorded_at_us + 86_400_000_000
    commit([make_event(1)], day_later)
    prune(day_later)
    first = reader.head().minimum_index
    own = f"{ROOT}{integration.public_id}/"
    assert f"Resume, leaving out {first} events" in admin.get(own).text
    assert "cannot be sent" in admin.post(f"{own}resume/", follow=True).text
    assert "Resumed." in admin.post(f"{own}resume/", {"leave_out": "yes"}, follow=True).text
    assert Integration.objects.get().position == first


@pytest.mark.parametrize("role", ["member", "auditor", None])
def test_nobody_but_admins(receiver: Receiver, role: str | None) -> None:
    """Members and auditors are refused and visitors sent to sign in, on every address and method; nothing changes."""
    integration = connect(receiver).integration
    browser = Client(raise_request_exception=False)
    if role:
        browser.force_login(User.objects.create_user("bob@example.com", "correct horse battery", role=role))
    own = f"{ROOT}{integration.public_id}/"
    parts = ("", "edit/", "secret/", "pause/", "resume/", "test/", "replay/", "delete/", "deliveries/msg_1/")
    for address in (ROOT, f"{ROOT}new/", *(own + part for part in parts)):
        for answer in (browser.get(address), browser.post(address)):
            assert answer.status_code == (403 if role else 302), address
    assert receiver.received == []
    assert not Integration.objects.get().is_paused


def test_what_is_not_there(admin: Client, receiver: Receiver) -> None:
    """404 rather than an error."""
    integration = connect(receiver).integration
    for part in ("", "edit/", "secret/", "replay/", "delete/", "deliveries/msg_1/"):
        assert admin.get(f"{ROOT}int_none/{part}").status_code == 404
    for part in ("pause/", "resume/", "test/", "delete/"):
        assert admin.post(f"{ROOT}int_none/{part}").status_code == 404
    assert admin.get(f"{ROOT}{integration.public_id}/deliveries/msg_1/").status_code == 404
