"""The own profile: what everybody may see and change of their account."""

from __future__ import annotations

from django.test import Client

from opssentinal.events.model import Change
from opssentinal.workspace.models import User
from tests.workspace.conftest import away, browser, events, signed_in

PATH = "/profile/"


def test_everybody_changes_their_own_name(alice: User, bob: User) -> None:
    """Recorded with before and after, by themselves; the role is shown, and neither it nor the address can be sent along."""
    client = signed_in("bob@example.com")
    assert "Member" in client.get(PATH).content.decode()
    sent = {"name": "Robert", "role": "admin", "email": "x@example.com", "is_active": ""}
    assert client.post(PATH, sent)["Location"] == PATH
    (event,) = events("user.updated")
    assert event.changes == [Change(field="name", before="Bob", after="Robert")]
    assert event.actor is not None
    assert event.actor.id == event.targets[0].id == f"user_{bob.pk}"
    bob.refresh_from_db()
    assert (bob.name, bob.role, bob.email, bob.is_active) == ("Robert", "member", "bob@example.com", True)
    client.post(PATH, {"name": "Robert"})
    assert len(events("user.updated")) == 1


def test_what_is_no_name_is_told(alice: User) -> None:
    """None at all, one that is too long, and one with what cannot be seen or breaks the line."""
    client = signed_in()
    for name in ("", " ", "x" * 151, "Eve\nMallory", "Eve\u202eecilA", "Eve\x1b[2J", "E\u200bve"):
        assert client.post(PATH, {"name": name}).status_code == 400
    assert events("user.updated") == []
    assert browser().post(PATH, {"name": "Eve"})["Location"].startswith("/accounts/login/")


def test_a_name_changes_only_together_with_its_record(alice: User) -> None:
    """With the ledger broken it stays; with the accounts broken there is no record."""
    client: Client = signed_in()
    for table in ("ledger_head", "workspace_user"):
        with away(table):
            assert client.post(PATH, {"name": "Alicia"}).status_code == 500
    alice.refresh_from_db()
    assert (alice.name, events("user.updated")) == ("Alice", [])
