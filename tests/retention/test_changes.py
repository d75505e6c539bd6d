"""Shortening waits and can be called off, lengthening does not wait, and no way leads around the cool-down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from opssentinal.approvals import services as approvals
from opssentinal.approvals.models import Approval
from opssentinal.errors import Conflict, InvalidInput, OpsSentinalError
from opssentinal.events.model import Context, RecordedEvent
from opssentinal.ledger import reader
from opssentinal.ledger.recording import recording
from opssentinal.retention import changes, jobs
from opssentinal.retention.changes import COOLDOWN, RETENTION, SECOND_ADMIN, Result
from opssentinal.retention.models import ScheduledChange
from opssentinal.workspace import accounts
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences, update_preferences
from opssentinal.workspace.principals import user_actor
from tests.retention.conftest import NOON, days_ago, make_admin, record_events
from tests.workspace.conftest import away, unwritable

Check = Callable[[], None]
DAY = timedelta(days=1)


def choose(user: User, field: str, value: Any, now: datetime = NOON) -> Result:
    return changes.choose(user, Context(ip="203.0.113.9"), field, value, now=now)


def recorded(*prefixes: str) -> list[RecordedEvent]:
    """What the log says of changes, oldest first."""
    return [event for event in reversed(reader.newest(1000)) if event.action.startswith(prefixes)]


def test_shortening_takes_effect_after_the_cooldown(admin: User, ledger: Check) -> None:
    """Nothing goes before; then the back puts it in force as the change of who asked, and events go."""
    record_events(256, days_ago(100))
    assert choose(admin, RETENTION, 90) is Result.SCHEDULED
    assert preferences().audit_retention_days == 365
    (event,) = recorded("retention.", "settings.")
    assert event.action == "retention.change_scheduled"
    assert event.metadata == {"takes_effect_at": "2026-11-23T12:00:00Z"}
    assert [(c.field, c.before, c.after) for c in event.changes] == [(RETENTION, 365, 90)]
    jobs.prune_if_due(NOON + DAY - timedelta(seconds=1))
    assert reader.head().minimum_index == 0
    jobs.prune_if_due(NOON + DAY)
    assert preferences().audit_retention_days == 90
    assert changes.apply_due(NOON + 2 * DAY) == 0
    (updated,) = recorded("settings.")
    assert updated.actor == user_actor(admin)
    assert updated.metadata == {"asked_at": "2026-11-22T12:00:00Z"}
    jobs.prune_if_due(NOON + DAY * 2)
    assert reader.head().minimum_index == 256
    ledger()


def test_a_scheduled_change_is_cancelled(admin: User, carol: User) -> None:
    """Any admin cancels it, once; it never takes effect."""
    approvals.grant(asked(admin, RETENTION, 90).pk, carol, Context(), now=NOON)
    changes.cancel(RETENTION, user_actor(admin), Context())
    assert changes.apply_due(NOON + 10 * DAY) == 0
    assert preferences().audit_retention_days == 365
    with pytest.raises(Conflict):
        changes.cancel(RETENTION, user_actor(admin), Context())
    (event,) = recorded("retention.change_cancelled")
    assert event.metadata["reason"] == "cancelled"
    assert event.metadata["after"] == 90


@pytest.mark.parametrize("days", [365, 730, None])
def test_lengthening_is_immediate_and_ends_a_pending_shortening(admin: User, days: int | None) -> None:
    """Also choosing again what is in force: both mean that nothing is to go."""
    choose(admin, RETENTION, 90)
    assert choose(admin, RETENTION, days) is Result.IN_FORCE
    assert preferences().audit_retention_days == days
    assert not ScheduledChange.objects.exists()
    assert [event.metadata["reason"] for event in recorded("retention.change_cancelled")] == ["superseded"]


def test_another_shortening_waits_the_whole_cooldown_again(admin: User) -> None:
    """A change announced as harmless cannot be made worse in its last minute."""
    choose(admin, RETENTION, 300)
    late = NOON + DAY - timedelta(minutes=1)
    choose(admin, RETENTION, 30, late)
    assert changes.apply_due(NOON + DAY) == 0
    assert changes.apply_due(late + DAY) == 1
    assert preferences().audit_retention_days == 30


def test_a_shorter_cooldown_waits_for_the_present_one(admin: User) -> None:
    """Turning the cool-down off and shortening the retention at once takes as long as without the detour."""
    assert choose(admin, COOLDOWN, 0) is Result.SCHEDULED
    assert choose(admin, RETENTION, 30) is Result.SCHEDULED
    assert changes.apply_due(NOON + DAY - timedelta(seconds=1)) == 0
    assert (preferences().retention_cooldown_hours, preferences().audit_retention_days) == (24, 365)
    assert changes.apply_due(NOON + DAY) == 2
    assert choose(admin, RETENTION, 29 + 1, NOON + DAY) is Result.UNCHANGED
    choose(admin, RETENTION, 365, NOON + DAY)
    assert choose(admin, RETENTION, 30, NOON + DAY) is Result.IN_FORCE


def test_a_longer_cooldown_is_immediate(admin: User) -> None:
    """And does not shorten what is scheduled already."""
    choose(admin, RETENTION, 90)
    assert choose(admin, COOLDOWN, 48) is Result.IN_FORCE
    assert ScheduledChange.objects.get().takes_effect_at == NOON + DAY


def asked(user: User, field: str, value: Any) -> Approval:
    assert choose(user, field, value) is Result.ASKED
    return Approval.objects.filter(state="waiting", subject=field).get()


@pytest.mark.parametrize(("field", "value"), [(RETENTION, 90), (COOLDOWN, 0), (SECOND_ADMIN, False)])
def test_with_two_admins_weakening_needs_the_other(admin: User, carol: User, field: str, value: Any) -> None:
    """Nothing is scheduled or changed before; afterwards the event names who asked, and by id who approved."""
    approval = asked(admin, field, value)
    before = preferences()
    assert not ScheduledChange.objects.exists()
    approvals.grant(approval.pk, carol, Context(), now=NOON)
    assert getattr(preferences(), field) == getattr(before, field)
    assert changes.apply_due(NOON + DAY - timedelta(seconds=1)) == 0
    assert changes.apply_due(NOON + DAY) == 1
    assert getattr(preferences(), field) == value != getattr(before, field)
    (updated,) = recorded("settings.")
    assert updated.actor == user_actor(admin)
    assert updated.metadata["approved_by"] == f"user_{carol.pk}"
    assert updated.changes[0].field == field


def test_with_two_admins_strengthening_needs_nobody(admin: User, carol: User) -> None:
    """A longer retention, a longer cool-down and turning the rule on are one admin's."""
    assert choose(admin, RETENTION, None) is Result.IN_FORCE
    assert choose(admin, COOLDOWN, 100) is Result.IN_FORCE
    approvals.grant(asked(admin, SECOND_ADMIN, False).pk, carol, Context(), now=NOON)
    assert choose(admin, SECOND_ADMIN, True) is Result.IN_FORCE
    assert changes.apply_due(NOON + 10 * DAY) == 0
    assert preferences().second_admin_approves


def test_the_rule_is_not_switched_off_at_once_by_who_is_alone(admin: User) -> None:
    """It waits for the cool-down like the rest, and any admin who comes back can cancel it."""
    assert choose(admin, SECOND_ADMIN, False) is Result.SCHEDULED
    assert preferences().second_admin_approves
    changes.cancel(SECOND_ADMIN, user_actor(make_admin("Carol")), Context())
    assert changes.apply_due(NOON + DAY) == 0
    assert preferences().second_admin_approves


@pytest.mark.parametrize("lost", ["demoted", "deactivated", "expired"])
def test_the_other_admins_count_until_the_cooldown_is_over(admin: User, carol: User, lost: str) -> None:
    """Who takes the others' roles away first has to ask them all the same, long enough for others to see it."""
    update_preferences(user_actor(admin), Context(), "data_retention", retention_cooldown_hours=48)
    with recording() as record:
        if lost == "demoted":
            accounts.change_role(record, carol, "member", user_actor(admin), Context())
        elif lost == "deactivated":
            accounts.deactivate(record, carol, user_actor(admin), Context())
        else:
            accounts.change_account(record, carol, user_actor(admin), Context(), expires_at=days_ago(900))
    now = timezone.now()
    for field, value in ((RETENTION, 90), (COOLDOWN, 0), (SECOND_ADMIN, False)):
        assert choose(admin, field, value, now) is Result.ASKED
    assert not approvals.are_needed(now + 2 * DAY)
    assert approvals.are_needed(now + 2 * DAY - timedelta(minutes=1))


def test_an_end_that_came_counts_like_a_role_taken_away(admin: User, carol: User) -> None:
    """Nothing is saved at the moment when an account's time is over; from then on it counts for the cool-down."""
    end = timezone.now() + 2 * DAY
    with recording() as record:
        accounts.change_account(record, carol, user_actor(admin), Context(), expires_at=end)
    assert approvals.are_needed(end + DAY - timedelta(minutes=1))
    assert not approvals.are_needed(end + DAY)


def test_the_time_of_asking_is_not_that_of_approval(admin: User, carol: User) -> None:
    """It is told with what waits and in the event; the cool-down counts from the approval."""
    approval = asked(admin, RETENTION, 90)
    approvals.grant(approval.pk, carol, Context(), now=NOON + DAY)
    change = ScheduledChange.objects.get()
    assert (change.asked_at, change.takes_effect_at) == (NOON, NOON + 2 * DAY)
    changes.apply_due(NOON + 2 * DAY)
    (updated,) = recorded("settings.")
    assert updated.metadata == {"approved_by": f"user_{carol.pk}", "asked_at": "2026-11-22T12:00:00Z"}


def test_without_a_cooldown_the_others_count_for_a_day(admin: User, carol: User) -> None:
    """Or the rule of the second admin would be worth nothing where it stands alone."""
    update_preferences(user_actor(admin), Context(), "data_retention", retention_cooldown_hours=0)
    with recording() as record:
        accounts.change_role(record, carol, "member", user_actor(admin), Context())
    now = timezone.now()
    assert approvals.are_needed(now + DAY - timedelta(minutes=1))
    assert not approvals.are_needed(now + DAY)


def test_what_was_approved_is_what_was_asked(admin: User, carol: User) -> None:
    """If the retention changed in between, the approver agreed to something else: refused, and still waiting."""
    approval = asked(admin, RETENTION, 90)
    choose(admin, RETENTION, None)
    with pytest.raises(Conflict, match="changed since"):
        approvals.grant(approval.pk, carol, Context(), now=NOON)
    assert not ScheduledChange.objects.exists()
    assert preferences().audit_retention_days is None


def test_a_value_out_of_bounds_is_refused_at_once(admin: User) -> None:
    """Not a day later, by the back, when nobody looks."""
    for field, value in ((RETENTION, 29), (RETENTION, 40_000), (COOLDOWN, -1), (COOLDOWN, 721), (RETENTION, "90")):
        with pytest.raises((InvalidInput, TypeError)):
            choose(admin, field, value)
    assert not ScheduledChange.objects.exists()


def test_no_change_without_its_record_and_the_other_way_round(admin: User) -> None:
    """Scheduling, cancelling, lengthening and taking effect: each with its event or not at all."""
    with away("ledger_head"), pytest.raises((DatabaseError, OpsSentinalError)):
        choose(admin, RETENTION, 90)
    assert not ScheduledChange.objects.exists()
    with away("retention_scheduledchange"), pytest.raises(DatabaseError):
        choose(admin, RETENTION, 90)
    assert recorded("retention.") == []
    choose(admin, RETENTION, 90)
    for act in (
        lambda: changes.cancel(RETENTION, user_actor(admin), Context()),
        lambda: choose(admin, RETENTION, 730),
        lambda: changes.apply_due(NOON + DAY),
    ):
        with away("ledger_head"), pytest.raises((DatabaseError, OpsSentinalError)):
            act()
        assert ScheduledChange.objects.count() == 1
        assert preferences().audit_retention_days == 365
    with unwritable("retention_scheduledchange"), pytest.raises(DatabaseError):
        changes.cancel(RETENTION, user_actor(admin), Context())
    with unwritable("workspace_storedpreferences"), pytest.raises(DatabaseError):
        changes.apply_due(NOON + DAY)
    assert ScheduledChange.objects.count() == 1
    assert recorded("settings.", "retention.change_cancelled") == []
