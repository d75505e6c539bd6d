"""`opssentinal user`."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from opssentinal.errors import Conflict, NotFound
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import os_actor
from tests.workspace.conftest import browser, events, is_signed_in, sign_in, signed_in, unwritable


def user(*args: str) -> str:
    out = io.StringIO()
    call_command("user", *args, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def from_json(*args: str) -> Any:
    return json.loads(user(*args, "--json"))


def test_accounts_are_listed_and_chosen(alice: User, bob: User) -> None:
    """By a part of the name or address, by role and by state; for people and for programs."""
    User.objects.filter(pk=bob.pk).update(is_active=False)
    lines = user("list").splitlines()
    assert lines == [
        "admin    active       alice@example.com  Alice  never seen",
        "member   deactivated  bob@example.com  Bob  never seen",
    ]
    assert user("list", "ALI").splitlines() == lines[:1]
    assert user("list", "--role", "member").splitlines() == lines[1:]
    assert user("list", "--state", "active").splitlines() == lines[:1]
    (found,) = from_json("list", "bob")
    assert (found["id"], found["state"], found["last_seen_at"]) == (f"user_{bob.pk}", "deactivated", None)
    with pytest.raises(CommandError):
        user("list", "--state", "asleep")


def test_changes_are_made_by_the_operating_systems_user(alice: User, bob: User) -> None:
    """Each is told and recorded; the same once more changes nothing."""
    client = signed_in("bob@example.com")
    assert user("role", "Bob@Example.com", "auditor") == "bob@example.com is now auditor.\n"
    assert user("role", "bob@example.com", "auditor") == "bob@example.com was already auditor.\n"
    assert user("deactivate", "bob@example.com") == "bob@example.com is deactivated.\n"
    assert user("deactivate", "bob@example.com") == "bob@example.com was already deactivated.\n"
    assert not is_signed_in(client)
    assert user("reactivate", "bob@example.com") == "bob@example.com can sign in again.\n"
    assert from_json("reactivate", "bob@example.com")["state"] == "active"
    done = [event for event in events() if event.actor == os_actor()]
    assert [event.action for event in done] == ["user.role_changed", "user.deactivated", "user.reactivated"]


def test_a_lost_password_is_helped_with_a_link(alice: User) -> None:
    """Also that of the only admin. The link alone is on standard output; it works."""
    link = user("reset-password", "alice@example.com").strip()
    (event,) = events()
    assert (event.action, event.actor) == ("user.link_issued", os_actor())
    assert (event.metadata["purpose"], event.metadata["sent_by"]) == ("reset", "link")
    client = browser()
    form = client.get(urlsplit(link).path, follow=True)
    new = "a wholly different passphrase"
    client.post(form.request["PATH_INFO"], {"password1": new, "password2": new})
    assert sign_in(browser(), "alice@example.com", new).status_code == 302
    assert from_json("reset-password", "alice@example.com")["link"].startswith(
        "http://127.0.0.1:8000/accounts/password/"
    )


def test_a_lost_second_factor_is_removed(alice: User) -> None:
    """Also that of the only admin; without one nothing is recorded."""
    Authenticator.objects.create(user=alice, type=Authenticator.Type.TOTP, data={"secret": "x"})
    assert user("reset-second-factor", "alice@example.com") == "alice@example.com has no second factor any more.\n"
    assert user("reset-second-factor", "alice@example.com") == "alice@example.com had no second factor.\n"
    (event,) = events()
    assert (event.action, event.actor, event.changes[0].field) == ("user.updated", os_actor(), "second_factor")
    assert not Authenticator.objects.exists()


def test_refusals_are_errors(alice: User) -> None:
    """The last admin stays, and an unknown address is told."""
    for args in (("deactivate", "alice@example.com"), ("role", "alice@example.com", "member")):
        with pytest.raises(Conflict, match="last admin"):
            user(*args)
    with pytest.raises(NotFound, match="user list"):
        user("deactivate", "nobody@example.com")
    assert events() == []


@pytest.mark.parametrize(
    "args", [("deactivate",), ("reactivate",), ("role", "admin"), ("reset-password",), ("reset-second-factor",)]
)
def test_a_command_changes_only_together_with_its_record(alice: User, bob: User, args: tuple[str, ...]) -> None:
    """With the log broken the account is as it was; with what is to change broken nothing is recorded."""
    Authenticator.objects.create(user=bob, type=Authenticator.Type.TOTP, data={"secret": "x"})
    User.objects.filter(pk=bob.pk).update(is_active=args[0] != "reactivate")
    before = User.objects.filter(pk=bob.pk).values().get()
    for table in ("ledger_bundle", "mfa_authenticator" if args[0] == "reset-second-factor" else "workspace_user"):
        with unwritable(table), pytest.raises(DatabaseError):
            user(args[0], "bob@example.com", *args[1:])
        assert User.objects.filter(pk=bob.pk).values().get() == before
        assert Authenticator.objects.count() == 1
        assert events() == []
    user(args[0], "bob@example.com", *args[1:])
    assert len(events()) == 1
