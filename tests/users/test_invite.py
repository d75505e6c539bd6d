"""Inviting: an account and a link in one step, with or without a mail server."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from opssentinal.ledger.reader import bundles_after
from opssentinal.sso.models import OIDCProvider
from opssentinal.workspace.models import User
from tests.users.conftest import LIST, page
from tests.workspace.conftest import away, browser, events, sign_in, signed_in, unwritable

NEW = f"{LIST}new/"
PASSWORD = "a wholly different passphrase"


def invite(client: Client, email: str = "Carol@Example.com", **more: str) -> Any:
    return client.post(NEW, {"name": "Carol", "email": email, "role": "member", **more})


def link_in(answer: Any) -> str:
    found = re.search(r'<code id="link">([^<]+)</code>', answer.content.decode())
    assert found is not None
    return html.unescape(found[1])


def use(link: str) -> Any:
    client = browser("198.51.100.7")
    form = client.get(urlsplit(link).path, follow=True)
    return client.post(form.request["PATH_INFO"], {"password1": PASSWORD, "password2": PASSWORD})


def test_an_invitation_becomes_an_account_that_signs_in(admin: Client, alice: User) -> None:
    """The log tells of the account and the link, by whom and from where; the link sets a password that signs in."""
    answer = invite(admin, role="auditor")
    assert answer.status_code == 201
    assert "no-store" in answer["Cache-Control"]
    carol = User.objects.get(email="carol@example.com")
    created, issued = events("user.created")[-1], events("user.link_issued")[-1]
    assert created.metadata == {"role": "auditor", "invited": True}
    assert (issued.metadata["purpose"], issued.metadata["sent_by"]) == ("invitation", "link")
    for event in (created, issued):
        assert event.actor is not None
        assert (event.actor.id, event.targets[0].id) == (f"user_{alice.pk}", f"user_{carol.pk}")
        assert event.context.ip == "203.0.113.9"
    assert sign_in(browser(), "carol@example.com", PASSWORD).status_code == 200
    assert use(link_in(answer))["Location"] == "/accounts/password/done/"
    assert sign_in(browser(), "carol@example.com", PASSWORD).status_code == 302


def test_the_link_is_shown_once_and_kept_nowhere(admin: Client) -> None:
    """No other page shows it, and no event has any of its token."""
    token = link_in(invite(admin)).rstrip("/").rpartition("-")[2]
    carol = User.objects.get(email="carol@example.com")
    for path in (LIST, page(carol), NEW):
        assert token not in admin.get(path).content.decode()
    stored = b"".join(part for bundle in bundles_after(0) for part in (*bundle.whos, *bundle.whats))
    assert token.encode() not in stored


def test_what_cannot_be_invited_is_told(admin: Client) -> None:
    """A taken or bad address, an end that is over and a period that ends before it begins: no account and no event."""
    before = len(events())
    for more, told in [
        ({"email": "alice@example.com"}, "already exists"),
        ({"email": "carol"}, "valid email"),
        ({"email": "carol@exam\u202eple.com"}, "printable"),
        ({"role": "owner"}, "valid choice"),
        ({"expires_at": "2001-01-01T00:00"}, "Choose a time to come"),
        ({"log_from": "2026-02-01T00:00", "log_until": "2026-01-01T00:00"}, "must end after"),
    ]:
        answer = invite(admin, **more)
        assert (answer.status_code, told in answer.content.decode()) == (400, True), told
    assert (User.objects.count(), len(events())) == (1, before)


def test_an_auditor_is_invited_for_a_time_and_a_period(admin: Client) -> None:
    """The three limits are the account's from the start."""
    limits = {"expires_at": "2126-03-01T12:00", "log_from": "2025-01-01T00:00", "log_until": "2026-01-01T00:00"}
    assert invite(admin, role="auditor", **limits).status_code == 201
    carol = User.objects.get(email="carol@example.com")
    assert {name: f"{getattr(carol, name):%Y-%m-%dT%H:%M}" for name in limits} == limits


def test_a_new_link_replaces_the_one_before(admin: Client) -> None:
    """Both are recorded as invitations while nobody has come in; only the newer works."""
    first = link_in(invite(admin))
    carol = User.objects.get(email="carol@example.com")
    second = link_in(admin.post(page(carol, "link/")))
    assert [event.metadata["purpose"] for event in events("user.link_issued")] == ["invitation", "invitation"]
    assert "does not work any more" in browser().get(urlsplit(first).path).content.decode()
    assert use(second).status_code == 302
    third = link_in(admin.post(page(carol, "link/")))
    assert events("user.link_issued")[-1].metadata["purpose"] == "reset"
    admin.post(page(carol, "link/revoke/"))
    assert "does not work any more" in browser().get(urlsplit(third).path).content.decode()


def test_nobody_makes_a_link_for_their_own_account(admin: Client, alice: User) -> None:
    """Whoever sits at somebody's unlocked browser could otherwise take over the account."""
    answer = admin.post(page(alice, "link/"), follow=True)
    assert "This is your own account" in answer.content.decode()
    assert events("user.link_issued") == []


def test_who_needs_no_password_gets_no_link(admin: Client, alice: User) -> None:
    """While single sign-on is required of all but admins, members are invited without a link, and admins with one."""
    OIDCProvider.objects.create(name="Example", issuer="https://sso.example.com", is_enabled=True, is_required=True)
    answer = invite(admin)
    assert answer.status_code == 201
    assert "needs no link" in answer.content.decode()
    assert 'id="link"' not in answer.content.decode()
    carol = User.objects.get(email="carol@example.com")
    assert events("user.created")[-1].targets[0].id == f"user_{carol.pk}"
    assert "needs no link" in admin.post(page(carol, "link/"), follow=True).content.decode()
    assert page(carol, "link/") not in admin.get(page(carol)).content.decode()
    assert events("user.link_issued") == []
    assert link_in(invite(admin, "dora@example.com", role="admin"))


@pytest.mark.parametrize("table", ["ledger_head", "workspace_user"])
def test_an_account_is_invited_only_together_with_its_record(admin: Client, table: str) -> None:
    """With the ledger broken there is no account; with the accounts broken there is no event."""
    before = len(events())
    with away(table):
        assert invite(admin).status_code == 500
    assert (User.objects.count(), len(events())) == (1, before)


@pytest.mark.parametrize("table", ["ledger_bundle", "workspace_user"])
@pytest.mark.parametrize("action", ["link/", "link/revoke/"])
def test_a_link_changes_only_together_with_its_record(admin: Client, bob: User, table: str, action: str) -> None:
    """With the log broken the link there is stays; with the accounts broken nothing is recorded."""
    link = link_in(admin.post(page(bob, "link/")))
    before = len(events())
    with unwritable(table):
        assert admin.post(page(bob, action)).status_code == 500
    assert len(events()) == before
    assert use(link).status_code == 302


def test_others_than_admins_are_refused(admin: Client, bob: User) -> None:
    """Members and auditors see nothing and change nothing; the refusal is recorded."""
    client = signed_in("bob@example.com")
    for role in ("member", "auditor"):
        User.objects.filter(pk=bob.pk).update(role=role)
        for path in (LIST, NEW, page(bob)):
            assert client.get(path).status_code == 403
            assert client.post(path, {"email": "x@example.com"}).status_code == 403
        for action in ("link/", "link/revoke/", "deactivate/", "reactivate/", "second-factor/", "sessions/"):
            assert client.post(page(bob, action), {"session": "all"}).status_code == 403
    assert events("access.denied")
    assert User.objects.count() == 2
    assert browser().get(LIST)["Location"].startswith("/accounts/login/")
