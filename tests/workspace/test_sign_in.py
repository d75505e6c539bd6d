"""Signing in and out: what is recorded, and that neither happens without the other."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from allauth.core.context import request_context
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from opssentinal.events.model import Actor
from opssentinal.ledger.reader import bundles_after, head
from opssentinal.workspace.adapters import AccountAdapter
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import session_reference
from tests.workspace.conftest import (
    AGENT,
    PASSWORD,
    away,
    browser,
    events,
    is_signed_in,
    session_key,
    sign_in,
    signed_in,
    unwritable,
)
from tests.workspace.hashers import CountingHasher

Broken = Callable[[], AbstractContextManager[None]]


def test_a_sign_in_is_recorded_with_account_address_browser_and_session(alice: User) -> None:
    """login.success names the account, the address, the user agent and the session it opened."""
    client = browser()
    response = sign_in(client, "Alice@Example.com")
    assert (response.status_code, response["Location"]) == (302, "/")
    (event,) = events()
    assert (event.action, event.outcome, event.source) == ("login.success", "success", "opssentinal")
    assert event.actor == Actor(type="user", id=f"user_{alice.pk}", name="Alice", email="alice@example.com")
    assert (event.context.ip, event.context.user_agent) == ("203.0.113.9", AGENT)
    assert event.context.session_id == session_reference(session_key(client))
    assert event.metadata == {"method": "password"}
    assert is_signed_in(client)
    assert session_key(client) not in repr(events()), "the log must not hold what opens the session"


def test_a_sign_in_leads_to_the_page_asked_for_and_never_to_another_site(alice: User) -> None:
    """`next` is followed inside of the product only."""
    assert sign_in(browser(), next="/profile/sessions/")["Location"] == "/profile/sessions/"
    assert sign_in(browser(), next="https://evil.example/")["Location"] == "/"


@pytest.mark.parametrize(
    ("target", "followed"),
    [
        ("https://localhost/x", False),  # a name that is answered to, and a server of whoever reads this
        ("http://127.0.0.1/x", False),
        ("//[::1]/x", False),
        ("http://127.0.0.1:8000/profile/", True),  # the public address
        ("http://testserver/profile/", True),  # where the browser is
        ("javascript:alert(1)", False),
    ],
)
def test_next_leads_to_the_own_host_and_the_public_address_only(alice: User, target: str, followed: bool) -> None:
    """Neither to the other host names that are answered to nor to another port of one."""
    assert sign_in(browser(), next=target)["Location"] == (target if followed else "/")


@pytest.mark.parametrize(
    ("typed", "password", "reason", "actor"),
    [
        ("alice@example.com", "wrong", "wrong_password", "account"),
        ("carol@example.com", PASSWORD, "inactive", "account"),
        ("carol@example.com", "wrong", "inactive", "account"),
        ("Nobody@Example.com", PASSWORD, "unknown_account", "nobody@example.com"),
        ("hunter2-my-password", PASSWORD, "unknown_account", None),
    ],
)
def test_a_refused_sign_in_is_recorded_with_its_reason(
    alice: User, typed: str, password: str, reason: str, actor: str | None
) -> None:
    """login.failure names the account if there is one, else the address typed, else nobody."""
    carol = User.objects.create_user("carol@example.com", PASSWORD, name="Carol", is_active=False)
    client = browser()
    assert sign_in(client, typed, password).status_code == 200
    assert session_key(client) is None
    (event,) = events()
    assert (event.action, event.outcome) == ("login.failure", "failure")
    assert event.metadata == {"method": "password", "reason": reason}
    assert (event.context.ip, event.context.user_agent) == ("203.0.113.9", AGENT)
    accounts = {
        user.email: Actor(type="user", id=f"user_{user.pk}", name=user.name, email=user.email)
        for user in (alice, carol)
    }
    assert event.actor == accounts.get(typed, Actor(type="anonymous", id=actor or "anonymous", email=actor))


def test_the_answer_does_not_tell_why_a_sign_in_was_refused(alice: User) -> None:
    """Wrong password, unknown address, account switched off or over, plain text: the same page at the cost of one hashing."""
    User.objects.create_user("carol@example.com", PASSWORD, is_active=False)
    User.objects.create_user("dora@example.com", PASSWORD)
    User.objects.filter(email="dora@example.com").update(expires_at=timezone.now() - timedelta(days=1))
    answers, costs = set(), set()
    for typed, password in [
        ("alice@example.com", "wrong"),
        ("nobody@example.com", PASSWORD),
        ("carol@example.com", PASSWORD),
        ("carol@example.com", "wrong"),
        ("dora@example.com", PASSWORD),
        ("dora@example.com", "wrong"),
        ("not an address", PASSWORD),
    ]:
        before = CountingHasher.hashings
        response = sign_in(browser(), typed, password)
        costs.add(CountingHasher.hashings - before)
        page = re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", response.content.decode())
        answers.add((response.status_code, page.replace(typed, "…")))
    assert len(answers) == 1
    assert "Wrong e-mail address or password." in answers.pop()[1]
    assert costs == {1}


def test_typed_text_that_is_no_address_is_stored_nowhere(alice: User) -> None:
    """People type their password where the address belongs: it is in no line of the ledger and no byte of the database."""
    secret = "Tr0ub4dor-and-3"
    sign_in(browser(), secret, secret)
    sign_in(browser(), "alice@example.com", secret)
    assert len(events("login.failure")) == 2
    stored = [b"".join((*bundle.heads, *bundle.whos, *bundle.whats)) for bundle in bundles_after(0)]
    assert sum(map(len, stored)) > 0
    assert secret.encode() not in b"".join(stored)
    assert secret.encode() not in b"".join(stored).lower()
    if connection.vendor == "sqlite":
        # In a process of its own: closing the file here would drop this process's locks on it.
        folder = str(settings.CONFIG.data_dir)
        found = subprocess.run(["grep", "-rlaiF", secret, folder], capture_output=True, text=True, check=False)
        assert found.stdout == ""
        assert subprocess.run(["grep", "-rlaiF", "alice@example.com", folder], capture_output=True, check=False).stdout


def _attempt(email: str, ip: str = "203.0.113.9", password: str = "wrong") -> Any:
    return sign_in(browser(ip), email, password)


def test_too_many_attempts_from_one_address_are_refused_and_recorded_once(alice: User) -> None:
    """The eleventh failed attempt in a minute is answered 429, even with the right password; one record tells of it."""
    for number in range(10):
        assert _attempt(f"nobody{number}@example.com").status_code == 200
    for _ in range(3):
        response = _attempt("alice@example.com", password=PASSWORD)
        assert (response.status_code, response["Retry-After"]) == (429, "300")
        assert "Too many attempts" in response.content.decode()
        assert "sessionid" not in response.cookies
    assert len(events("login.failure")) == 11
    refused = events()[-1]
    assert refused.metadata == {"method": "password", "reason": "rate_limited"}
    assert refused.actor is not None
    assert refused.actor.email == "alice@example.com"
    assert sign_in(browser("203.0.113.77")).status_code == 302, "others are not kept out"


@pytest.mark.parametrize(("email", "password"), [("alice@example.com", "wrong"), ("carol@example.com", PASSWORD)])
def test_too_many_attempts_for_one_account_are_refused(alice: User, email: str, password: str) -> None:
    """Ten failures for one account from ten addresses refuse the eleventh; a switched-off account is no exception."""
    User.objects.create_user("carol@example.com", PASSWORD, is_active=False)
    for number in range(10):
        assert _attempt(email, f"198.51.100.{number}", password).status_code == 200
    assert _attempt(email, "198.51.100.200", password).status_code == 429
    assert [event.metadata["reason"] for event in events()].count("locked_out") == 1


def test_guesses_of_others_do_not_keep_the_last_admin_out(alice: User, bob: User) -> None:
    """Past the lock-out the last admin's right password signs in, from an address that may try; with a second admin it waits."""
    for number in range(10):
        assert _attempt("alice@example.com", f"198.51.100.{number}").status_code == 200
    assert _attempt("alice@example.com", "198.51.100.200").status_code == 429
    assert sign_in(browser("198.51.100.201")).status_code == 302
    assert events()[-1].action == "login.success"
    assert sign_in(browser("198.51.100.202"), "bob@example.com").status_code == 302
    for number in range(10):
        assert _attempt(f"nobody{number}@example.com", "198.51.100.203").status_code == 200
    assert sign_in(browser("198.51.100.203")).status_code == 429, "the limit of an address stays"
    User.objects.create_user("carol@example.com", PASSWORD, role="admin")
    assert sign_in(browser("198.51.100.204")).status_code == 429


def test_a_lock_out_tells_nobody_who_the_last_admin_is(alice: User, bob: User) -> None:
    """Past it a wrong password has one answer at one cost, for the last admin, others, switched-off and unknown accounts.

    And so has a right one that does not help.
    """
    User.objects.create_user("carol@example.com", PASSWORD, is_active=False)
    costs = set()
    for name in ("alice", "bob", "carol", "nobody"):
        email = f"{name}@example.com"
        for number in range(11):
            _attempt(email, f"198.51.100.{number}")
        for password in ("wrong",) if name == "alice" else ("wrong", PASSWORD):
            client, before = browser("198.51.100.10"), CountingHasher.hashings
            with CaptureQueriesContext(connection) as asked:
                refused = sign_in(client, email, password)
            costs.add((refused.status_code, refused.content, CountingHasher.hashings - before, len(asked)))
        cache.clear()
    assert [(status, hashings) for status, _, hashings, _ in costs] == [(429, 1)], costs


def test_another_port_in_the_host_header_does_not_dodge_the_lock_out(alice: User) -> None:
    """The visitor chooses the header: failures under two ports count for the one account."""

    def attempt(number: int, password: str) -> int:
        client = browser(f"198.51.100.{number}")
        sent = {"login": "Alice@example.com" if number % 2 else "alice@example.com", "password": password}
        host = {"host": f"127.0.0.1:{8000 + number % 2}"}
        return int(client.post("/accounts/login/", sent, headers=host).status_code)

    User.objects.create_user("carol@example.com", PASSWORD, role="admin")  # the last one is not locked out
    assert [attempt(number, "wrong") for number in range(10)] == [200] * 10
    assert [attempt(number, PASSWORD) for number in (10, 11)] == [429, 429]
    assert events()[-1].metadata["reason"] == "locked_out"


def test_a_forged_forwarded_address_does_not_dodge_the_limit(alice: User) -> None:
    """Without trusted proxies the header counts for nothing."""
    statuses = [
        browser()
        .post(
            "/accounts/login/",
            {"login": f"nobody{number}@example.com", "password": "wrong"},
            headers={"x-forwarded-for": f"192.0.2.{number}"},
        )
        .status_code
        for number in range(11)
    ]
    assert statuses == [200] * 10 + [429]


def test_who_cannot_be_recorded_does_not_get_in(alice: User, broken_ledger: Broken) -> None:
    """The ledger is broken: no session, no cookie, no last login; once it is whole, signing in works."""
    client = browser()
    with broken_ledger():
        response = sign_in(client)
    assert response.status_code == 500
    assert not response.wsgi_request.user.is_authenticated, "the error page must not greet anybody"
    assert session_key(client) is None
    assert not is_signed_in(client)
    assert Session.objects.count() == UserSession.objects.count() == 0
    assert User.objects.get(pk=alice.pk).last_login is None
    assert events() == []
    assert sign_in(client).status_code == 302
    assert is_signed_in(client)


def test_the_session_is_complete_when_the_record_is_durable(alice: User) -> None:
    """What is stored with the record opens the product already, should the server stop before it answers."""
    request = RequestFactory().post("/accounts/login/")
    request.session = SessionStore()
    request.user = AnonymousUser()
    with request_context(request):
        AccountAdapter(request).login(request, alice)
    (event,) = events()
    (stored,) = Session.objects.all()
    assert event.context.session_id == session_reference(stored.session_key)
    client = browser()
    client.cookies["sessionid"] = stored.session_key
    assert is_signed_in(client)


def test_a_refusal_that_cannot_be_recorded_is_an_error(alice: User, broken_ledger: Broken) -> None:
    """Nobody can try passwords unseen."""
    with broken_ledger():
        assert sign_in(browser(), password="wrong").status_code == 500


def test_a_sign_in_that_fails_is_not_recorded(alice: User) -> None:
    """The session cannot be listed: the log does not claim that somebody signed in."""
    client = browser()
    with away("usersessions_usersession"):
        assert sign_in(client).status_code == 500
    assert events() == []
    assert Session.objects.count() == 0
    assert session_key(client) is None


def test_signing_out_is_recorded_and_ends_the_session(alice: User) -> None:
    """logout names account and session; afterwards the session opens nothing."""
    client = signed_in()
    key = session_key(client)
    assert client.post("/accounts/logout/")["Location"] == "/accounts/login/"
    event = events()[-1]
    assert (event.action, event.outcome) == ("logout", "success")
    assert event.actor == Actor(type="user", id=f"user_{alice.pk}", name="Alice", email="alice@example.com")
    assert (event.context.ip, event.context.session_id) == ("203.0.113.9", session_reference(key))
    client.cookies["sessionid"] = key or ""
    assert not is_signed_in(client)
    assert UserSession.objects.count() == 0


def test_a_link_does_not_sign_out(alice: User) -> None:
    """GET asks; only POST signs out."""
    client = signed_in()
    assert b"Sign out?" in client.get("/accounts/logout/").content
    assert is_signed_in(client)
    assert events("logout") == []


@pytest.mark.parametrize("table", ["ledger_bundle", "usersessions_usersession", "django_session"])
def test_who_cannot_be_recorded_stays_signed_in(alice: User, table: str) -> None:
    """Nor is recorded who stays: signing out fails as a whole, session and cookie stay."""
    client = signed_in()
    with unwritable(table):
        assert client.post("/accounts/logout/").status_code == 500
    assert is_signed_in(client)
    assert events("logout") == []
    assert UserSession.objects.count() == 1


def test_an_account_that_is_switched_off_is_out_at_once(alice: User) -> None:
    """Its open session is a stranger's at the next request."""
    client = signed_in()
    User.objects.update(is_active=False)
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/signup/", "/accounts/email/", "/accounts/password/reset/", "/accounts/password/set/",
        "/accounts/confirm-email/", "/accounts/inactive/", "/accounts/", "/admin/", "/profile/second-factor/list/",
    ],
)  # fmt: skip
def test_what_is_not_offered_is_not_there(alice: User, path: str) -> None:
    """Nobody can sign up, and allauth's further pages do not exist."""
    assert browser().get(path).status_code == 404
    assert browser().post(path, {"email": "eve@example.com"}).status_code == 404


def test_forms_are_guarded_against_other_sites(alice: User) -> None:
    """A post without the form's token is refused before anything is checked or recorded."""
    client = browser(enforce_csrf_checks=True)
    assert sign_in(client).status_code == 403
    assert head().size == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"user-agent": "x" * 9000, "x-forwarded-for": "203.0.113.1, " * 900},
        {"user-agent": "\x1b[31mred\x85\xe9", "x-forwarded-for": "<script>, ::ffff:1.2.3.4, \xff" + "y" * 999},
        {"user-agent": "", "x-forwarded-for": ",,, ,"},
    ],
)
def test_senseless_headers_neither_stop_nor_dodge_the_record(alice: User, headers: dict[str, str]) -> None:
    """Whatever a client sends about itself is cut to what an event holds, and the attempt is recorded."""
    client = browser()
    credentials = {"login": "alice@example.com", "password": "wrong"}
    assert client.post("/accounts/login/", credentials, headers=headers).status_code == 200
    assert client.post("/accounts/login/", credentials | {"password": PASSWORD}, headers=headers).status_code == 302
    assert [event.action for event in events()] == ["login.failure", "login.success"]
    assert {event.context.ip for event in events()} == {"203.0.113.9"}
