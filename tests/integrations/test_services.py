"""What admins do with integrations, and that each change and its event stand or fall together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.apps import apps
from django.db import DatabaseError
from django.utils import timezone

from opssentinal.errors import Conflict, InvalidInput, NotFound
from opssentinal.integrations import services, trial
from opssentinal.integrations.follower import Follower
from opssentinal.integrations.models import Delivery, Integration
from opssentinal.query import parse
from opssentinal.workspace.preferences import update_preferences
from tests.integrations.conftest import ALICE, HERE, NOON, Clock, Receiver, connect, deliver, events, record_events
from tests.workspace.conftest import away, unwritable

Change = Callable[[Integration], object]

CHANGES: dict[str, tuple[str, Change]] = {
    "create": ("integration.created", lambda it: services.create_webhook(actor=ALICE, context=HERE, name="B", url=it.url)),
    "edit": ("integration.updated", lambda it: services.update_integration(it.public_id, ALICE, HERE, name="Other")),
    "rotate": ("integration.updated", lambda it: services.rotate_secret(it.public_id, 1, 24, ALICE, HERE)),
    "pause": ("integration.updated", lambda it: services.pause(it.public_id, ALICE, HERE)),
    "test": ("integration.tested", lambda it: trial.send_test(it.public_id, ALICE, HERE)),
    "replay": ("integration.replayed", lambda it: services.replay(it.public_id, 0, ALICE, HERE)),
    "delete": ("integration.deleted", lambda it: services.delete_integration(it.public_id, ALICE, HERE)),
}  # fmt: skip


def _rows() -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in (Integration, Delivery)]


@pytest.mark.parametrize("name", CHANGES)
def test_without_its_event_a_change_does_not_happen(receiver: Receiver, name: str) -> None:
    """Where the log cannot take the event, every row stays as it was."""
    integration = connect(receiver).integration
    before, recorded = _rows(), len(events())
    with away("ledger_bundle"), pytest.raises(DatabaseError):
        CHANGES[name][1](integration)
    assert _rows() == before
    assert len(events()) == recorded


@pytest.mark.parametrize("name", CHANGES)
def test_without_its_change_no_event_is_recorded(receiver: Receiver, name: str) -> None:
    """Where the rows cannot be written, the log says nothing of it."""
    integration = connect(receiver).integration
    table = "integrations_delivery" if name == "test" else "integrations_integration"
    recorded = len(events())
    with away(table), pytest.raises(DatabaseError):
        CHANGES[name][1](integration)
    assert len(events()) == recorded


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_one_event_of_its_actor(receiver: Receiver, name: str) -> None:
    """Who, from where, and to which integration."""
    integration = connect(receiver).integration
    action, change = CHANGES[name]
    recorded = len(events())
    change(integration)
    (event,) = events()[recorded:]
    assert (event.action, event.outcome, event.actor, event.context.ip) == (action, "success", ALICE, HERE.ip)
    assert [target.type for target in event.targets] == ["integration"]


def test_resuming_is_recorded_or_does_not_happen(receiver: Receiver) -> None:
    """The way back from a pause, the same, and both ways."""
    integration = connect(receiver).integration
    services.pause(integration.public_id, ALICE, HERE)
    before, recorded = _rows(), len(events())
    for table in ("ledger_bundle", "integrations_integration"):
        with unwritable(table), pytest.raises(DatabaseError):
            services.resume(integration.public_id, ALICE, HERE)
        assert _rows() == before
        assert len(events()) == recorded
    services.resume(integration.public_id, ALICE, HERE)
    paused, resumed = events("integration.updated")
    assert [(c.field, c.before, c.after) for c in paused.changes] == [("enabled", True, False)]
    assert [(c.field, c.before, c.after) for c in resumed.changes] == [("enabled", False, True)]
    assert not Integration.objects.get().is_paused


def test_an_edit_tells_before_and_after(receiver: Receiver) -> None:
    """Only what changed, both values; of an address only the server, since its path may be a password."""
    integration = connect(receiver).integration
    secret_url = "https://hooks.example/services/T0/very-secret?token=also-secret"
    services.update_integration(
        integration.public_id, ALICE, HERE, name="SIEM", url=secret_url, query="-outcome:success  action:LOGIN.*"
    )
    (recorded,) = events("integration.updated")
    origin = receiver.url.removesuffix("hook")
    assert [(change.field, change.before, change.after) for change in recorded.changes] == [
        ("url", f"{origin}(hidden)", "https://hooks.example/(hidden)"),
        ("query", "", "action:login.* -outcome:success"),
    ]
    services.update_integration(integration.public_id, ALICE, HERE, name="SIEM")
    assert len(events("integration.updated")) == 1


def test_days_are_those_of_the_workspaces_zone(receiver: Receiver) -> None:
    """Kept as instants: an edit of something else, also in another zone, leaves them as they are."""
    update_preferences(ALICE, HERE, "general", time_zone="Europe/Berlin")
    public_id = connect(receiver).integration.public_id
    services.update_integration(public_id, ALICE, HERE, query="after:2026-01-01 before:2026-01-01T01:00Z")
    kept = "after:2025-12-31T23:00:00Z before:2026-01-01T01:00:00Z"
    assert Integration.objects.get().query == kept
    assert Integration.objects.get().filter == parse(kept)
    services.update_integration(public_id, ALICE, HERE, query="before:2026-01-01T01:00+01:00")
    update_preferences(ALICE, HERE, "general", time_zone="Asia/Tokyo")
    services.update_integration(public_id, ALICE, HERE, name="Other")
    assert Integration.objects.get().query == "before:2026-01-01T00:00:00Z"
    assert [change.field for change in events("integration.updated")[-1].changes] == ["name"]


def test_no_secret_is_in_the_log_or_readable_in_the_database(receiver: Receiver, follower: Follower) -> None:
    """Signing secrets are in no event and in no row as they are."""
    made = connect(receiver)
    rotated = services.rotate_secret(made.integration.public_id, 1, 24, ALICE, HERE)
    trial.send_test(made.integration.public_id, ALICE, HERE)
    deliver(follower, made.integration)
    everything = msgspec.json.encode(events()) + str(_rows()).encode()
    for secret in (made.secret, rotated.secret):
        assert secret.removeprefix("whsec_").encode() not in everything


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "x" * 101), ("name", "two\nlines"), ("url", ""), ("url", "ftp://x"), ("url", "https://10.0.0.1/"),
        ("url", "http://1.1.1.1/"), ("url", "https://user:pw@hooks.example/"), ("url", "https://hooks.example/" + "x" * 2000),
        ("query", "actr:alice"), ("query", "x" * 9000), ("batch_events_max", 0), ("batch_events_max", 501),
    ],
)  # fmt: skip
def test_mistakes_are_told_at_their_field(receiver: Receiver, field: str, value: Any) -> None:
    """Neither creating nor editing takes what could not work."""
    with pytest.raises(InvalidInput) as caught:
        connect(receiver, **{field: value})
    assert caught.value.path == field
    integration = connect(receiver).integration
    with pytest.raises(InvalidInput):
        services.update_integration(integration.public_id, ALICE, HERE, **{field: value})
    assert len(events()) == 1


def test_a_rotated_secret_signs_beside_the_old_one_for_a_while(
    receiver: Receiver, follower: Follower, clock: Clock
) -> None:
    """Both secrets verify a delivery until the overlap ends, then only the new one."""
    clock.now = timezone.now()
    old = connect(receiver)
    new = services.rotate_secret(old.integration.public_id, 1, 24, ALICE, HERE)
    deliver(follower, old.integration)
    clock.move(hours=24, minutes=1)
    record_events(1)
    deliver(follower, old.integration)
    during, after = receiver.received
    assert during.is_signed_with(old.secret) and during.is_signed_with(new.secret)
    assert after.is_signed_with(new.secret) and not after.is_signed_with(old.secret)


def test_a_secret_that_got_out_can_be_replaced_at_once(receiver: Receiver, follower: Follower) -> None:
    """Without an overlap the old secret signs nothing any more; the one before the old one neither."""
    first = connect(receiver)
    second = services.rotate_secret(first.integration.public_id, 1, 24, ALICE, HERE)
    third = services.rotate_secret(first.integration.public_id, 2, 0, ALICE, HERE)
    deliver(follower, first.integration)
    (request,) = receiver.received
    assert [request.is_signed_with(made.secret) for made in (first, second, third)] == [False, False, True]


def test_the_same_rotation_twice_makes_one_secret(receiver: Receiver) -> None:
    """A form that is sent again does not throw away the secret that was shown."""
    integration = connect(receiver).integration
    services.rotate_secret(integration.public_id, 1, 24, ALICE, HERE)
    with pytest.raises(Conflict):
        services.rotate_secret(integration.public_id, 1, 24, ALICE, HERE)
    assert Integration.objects.get().secret_version == 2


def test_replay_only_from_where_there_are_events(receiver: Receiver) -> None:
    """Not before the log, not beyond it."""
    integration = connect(receiver).integration
    for seq in (-1, 2):
        with pytest.raises(InvalidInput) as caught:
            services.replay(integration.public_id, seq, ALICE, HERE)
        assert caught.value.path == "start"
    services.replay(integration.public_id, 1, ALICE, HERE)


def test_a_test_is_a_real_signed_request(receiver: Receiver) -> None:
    """The receiver gets it as any delivery, marked as a test; it moves nothing, and works while paused."""
    made = connect(receiver)
    services.pause(made.integration.public_id, ALICE, HERE)
    receiver.answers += [(202, {}, b"thanks"), (401, {}, b"who are you")]
    sent = trial.send_test(made.integration.public_id, ALICE, HERE)
    (request,) = receiver.received
    assert request.is_signed_with(made.secret)
    assert request.payload["type"] == "audit_log.test"
    assert request.payload["data"]["events"][0]["metadata"] == {"test": True}
    assert (sent.kind, sent.status, sent.status_code, sent.response) == ("test", "delivered", 202, "thanks")
    refused = trial.send_test(made.integration.public_id, ALICE, HERE)
    assert (refused.status, refused.error, refused.response) == ("failed", "401 Unauthorized.", "who are you")
    arrived, failed = events("integration.tested")
    assert (arrived.outcome, arrived.metadata["status"]) == ("success", 202)
    assert arrived.metadata["latency_ms"] == sent.latency_ms
    assert (failed.outcome, failed.metadata["error"]) == ("failure", "401 Unauthorized.")
    assert Integration.objects.get().position == 0


def test_a_test_to_where_nobody_may_go(receiver: Receiver) -> None:
    """A refused address is the answer of the test, and recorded as that."""
    integration = connect(receiver).integration
    Integration.objects.update(url="https://169.254.169.254/")
    sent = trial.send_test(integration.public_id, ALICE, HERE)
    assert sent.status == "failed"
    assert "metadata" in sent.error
    assert events("integration.tested")[0].metadata["error"] == sent.error


def test_what_is_not_there(receiver: Receiver) -> None:
    """Every change of an integration that does not exist says so."""
    for change in (services.pause, services.resume, services.delete_integration, trial.send_test):
        with pytest.raises(NotFound):
            change("int_none", ALICE, HERE)


def test_pausing_twice_and_resuming_what_runs(receiver: Receiver) -> None:
    """The second of two people is told, and nothing is recorded twice."""
    integration = connect(receiver).integration
    with pytest.raises(Conflict):
        services.resume(integration.public_id, ALICE, HERE)
    services.pause(integration.public_id, ALICE, HERE)
    with pytest.raises(Conflict):
        services.pause(integration.public_id, ALICE, HERE)
    assert len(events("integration.updated")) == 1


def test_old_deliveries_are_cleaned_up(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """What ended longer ago than the setting says goes; what is pending stays however old it is."""
    integration = connect(receiver).integration
    deliver(follower, integration)
    record_events(1)
    clock.move(days=20)
    deliver(follower, integration)
    receiver.behave = lambda _: (500, {}, b"")
    record_events(1, 5)
    deliver(follower, integration)
    room = apps.get_app_config("integrations")
    assert room.standard_cleanup_preview(NOON + timedelta(days=30)) == 0
    assert room.standard_cleanup(NOON + timedelta(days=30)) == 0
    assert room.standard_cleanup_preview(NOON + timedelta(days=31)) == 1
    assert room.standard_cleanup(NOON + timedelta(days=31)) == 1
    update_preferences(ALICE, HERE, "cleanup", cleanup_deliveries_days=1)
    assert room.standard_cleanup_preview(NOON + timedelta(days=400)) == 1
    assert room.standard_cleanup(NOON + timedelta(days=400)) == 1
    assert [each.status for each in Delivery.objects.all()] == ["pending"]
