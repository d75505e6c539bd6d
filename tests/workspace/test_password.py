"""Changing the password."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from django.test import Client

from opssentinal.events.model import Change
from opssentinal.ledger.reader import bundles_after
from opssentinal.workspace.models import User
from tests.workspace.conftest import PASSWORD, away, browser, events, is_signed_in, session_key, sign_in, signed_in

NEW = "a wholly different passphrase"


def change(client: Client, old: str = PASSWORD, new: str = NEW, again: str | None = None) -> Any:
    values = {"oldpassword": old, "password1": new, "password2": new if again is None else again}
    return client.post("/profile/password/", values)


def test_a_changed_password_is_recorded_without_any_value(alice: User) -> None:
    """user.updated tells that the password changed, by whom and for whom, and not one character or hash of it."""
    client = signed_in()
    assert change(client)["Location"] == "/profile/"
    event = events()[-1]
    assert (event.action, event.outcome, event.changes) == ("user.updated", "success", [Change(field="password")])
    assert event.actor is not None
    assert event.actor.id == event.targets[0].id == f"user_{alice.pk}"
    assert event.context.ip == "203.0.113.9"
    stored = b"".join(part for bundle in bundles_after(0) for part in bundle.whats)
    alice.refresh_from_db()
    for secret in (PASSWORD, NEW, alice.password):
        assert secret.encode() not in stored


def test_a_changed_password_ends_the_other_sessions(alice: User) -> None:
    """The browser that changed it goes on under a new session, all others are out, and only the new password works."""
    client, other = signed_in(), signed_in(ip="198.51.100.4")
    before = session_key(client)
    change(client)
    assert events()[-1].metadata == {"sessions_ended": 1}
    assert is_signed_in(client)
    assert session_key(client) != before
    assert not is_signed_in(other)
    assert sign_in(browser()).status_code == 200
    assert sign_in(browser(), password=NEW).status_code == 302


def test_a_refused_password_changes_and_records_nothing(alice: User) -> None:
    """Wrong current password, weak new one, or two different ones."""
    client = signed_in()
    before = alice.password
    for values in [("wrong", NEW, NEW), (PASSWORD, "short", "short"), (PASSWORD, NEW, NEW + "x")]:
        assert change(client, *values).status_code == 200
    alice.refresh_from_db()
    assert alice.password == before
    assert events("user.updated") == []


def test_a_password_changes_only_together_with_its_record(
    alice: User, broken_ledger: Callable[[], AbstractContextManager[None]]
) -> None:
    """With the ledger broken the old password stays; with the sessions broken there is no record."""
    client = signed_in()
    with broken_ledger():
        assert change(client).status_code == 500
    with away("usersessions_usersession"):
        assert change(client).status_code == 500
    assert events("user.updated") == []
    assert sign_in(browser()).status_code == 302
