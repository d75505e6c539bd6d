"""The workspace's preferences."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import Error

from opssentinal.errors import InvalidInput
from opssentinal.events.model import Change, Context, Target
from opssentinal.workspace.models import StoredPreferences, User
from opssentinal.workspace.preferences import Preferences, preferences, update_preferences
from opssentinal.workspace.principals import user_actor
from tests.workspace.conftest import events

FROM = Context(ip="203.0.113.9")


def test_defaults_hold_until_something_is_chosen() -> None:
    """A year of events, UTC."""
    assert preferences() == Preferences()
    assert (preferences().audit_retention_days, preferences().time_zone) == (365, "UTC")


def test_a_change_is_recorded_with_before_and_after_of_what_changed(alice: User) -> None:
    """Only what differs; the rest and earlier choices stay."""
    update_preferences(user_actor(alice), FROM, "cleanup", cleanup_exports_days=3)
    after = update_preferences(
        user_actor(alice), FROM, "data_retention", audit_retention_days=None, cleanup_exports_days=3
    )
    assert after == preferences() == Preferences(audit_retention_days=None, cleanup_exports_days=3)
    event = events()[-1]
    assert (event.action, event.outcome, event.actor) == ("settings.updated", "success", user_actor(alice))
    assert event.targets == [Target(type="settings", id="data_retention", name="Data Retention")]
    assert event.changes == [Change(field="audit_retention_days", before=365, after=None)]
    assert event.context == FROM


def test_no_change_is_no_event(alice: User) -> None:
    """Saving a form as it was records nothing."""
    update_preferences(user_actor(alice), FROM, "general", workspace_name="OpsSentinal", time_zone="UTC")
    assert events() == []


@pytest.mark.parametrize(
    "bad",
    [
        {"audit_retention_days": 0},
        {"audit_retention_days": "365"},
        {"audit_retention_days": 10**6},
        {"time_zone": "Mars/Olympus"},
        {"workspace_name": ""},
        {"no_such_preference": 1},
    ],
)
def test_nonsense_is_refused(alice: User, bad: dict[str, Any]) -> None:
    """Values out of bounds, of another type, or for an unknown name change and record nothing."""
    with pytest.raises(InvalidInput):
        update_preferences(user_actor(alice), FROM, "general", **bad)
    assert preferences() == Preferences()
    assert events() == []


def test_what_a_newer_version_stored_is_kept() -> None:
    """Going back a version and forth again loses no choice."""
    StoredPreferences.objects.create(chosen={"of_the_future": True, "time_zone": "Europe/Berlin"})
    assert preferences().time_zone == "Europe/Berlin"
    alice = User.objects.create_user("alice@example.com")
    update_preferences(user_actor(alice), FROM, "general", workspace_name="Acme")
    assert StoredPreferences.objects.get().chosen["of_the_future"] is True


def test_a_change_comes_only_together_with_its_record(
    alice: User, broken_ledger: Callable[[], AbstractContextManager[None]]
) -> None:
    """With the ledger broken the preference stays."""
    with broken_ledger(), pytest.raises(Error, match="ledger_head"):
        update_preferences(user_actor(alice), FROM, "data_retention", audit_retention_days=90)
    assert preferences().audit_retention_days == 365
