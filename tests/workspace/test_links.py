"""One-time links to set a password: they work once, for a while, for whoever has them, and leak nowhere."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import DatabaseError, connections
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from opssentinal.errors import Conflict
from opssentinal.events.model import Actor, Change, Context
from opssentinal.ledger.reader import bundles_after
from opssentinal.ledger.recording import recording
from opssentinal.workspace import accounts
from opssentinal.workspace.log_filter import LinksHidden
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import update_preferences
from tests.workspace.conftest import PASSWORD, away, browser, events, is_signed_in, sign_in, signed_in, unwritable

Broken = Callable[[], AbstractContextManager[None]]
NEW = "a wholly different passphrase"
SOMEBODY = Actor(type="os_user", id="root@host", name="root")


@pytest.fixture
def invited(alice: User) -> User:
    user = accounts.new_account(email="carol@example.com", name="Carol", role="member", password=None)
    with recording():
        accounts.insert_account(user)
    return user


def issue(user: User) -> str:
    """Issue a link; return the path of its URL."""
    with recording() as record:
        return urlsplit(accounts.issue_link(record, user, SOMEBODY, Context(), purpose="reset")).path


def opened(path: str, client: Client | None = None) -> tuple[Client, Any]:
    """Follow a link in a browser; return both."""
    client = client or browser("198.51.100.7")
    return client, client.get(path, follow=True)


def use(path: str, password: str = NEW) -> Any:
    client, page = opened(path)
    return client.post(page.request["PATH_INFO"], {"password1": password, "password2": password})


def works(path: str) -> bool:
    return "<h1>Set your password</h1>" in opened(path)[1].content.decode()


def test_a_link_lets_an_invited_person_in(invited: User) -> None:
    """Before it no password signs in; with it the person chooses one, and signs in; the log tells who, how and from where."""
    for guess in ("", "!", invited.password):
        assert sign_in(browser(), "carol@example.com", guess).status_code == 200
    assert use(issue(invited))["Location"] == "/accounts/password/done/"
    event = events("user.updated")[-1]
    assert (event.changes, event.metadata) == ([Change(field="password")], {"sessions_ended": 0, "method": "link"})
    assert event.actor is not None
    assert event.actor.id == event.targets[0].id == f"user_{invited.pk}"
    assert event.context.ip == "198.51.100.7"
    assert sign_in(browser(), "carol@example.com", NEW).status_code == 302


def test_a_link_works_once(alice: User, bob: User) -> None:
    """Afterwards it says that it is over, also to whoever had opened it before."""
    path = issue(bob)
    early, page = opened(path)
    use(path)
    assert not works(path)
    late = early.post(page.request["PATH_INFO"], {"password1": PASSWORD, "password2": PASSWORD})
    assert "does not work any more" in late.content.decode()
    assert sign_in(browser(), "bob@example.com", NEW).status_code == 302


def test_of_many_who_use_a_link_at_once_one_succeeds(alice: User, bob: User) -> None:
    """Four browsers send a password at the same moment: one password is set and one event recorded."""
    path = issue(bob)
    pages = [opened(path) for _ in range(4)]
    start, answers = Barrier(4), {}

    def race(number: int, client: Client, page: Any) -> None:
        start.wait()
        try:
            chosen = f"{NEW} {number}"
            answers[number] = client.post(page.request["PATH_INFO"], {"password1": chosen, "password2": chosen})
        finally:
            connections.close_all()

    racers = [Thread(target=race, args=(number, *opened_)) for number, opened_ in enumerate(pages)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    won = [number for number, answer in answers.items() if answer.headers.get("Location") == "/accounts/password/done/"]
    assert len(won) == len(events("user.updated")) == 1
    assert all(answer.status_code < 500 for answer in answers.values())
    assert sign_in(browser(), "bob@example.com", f"{NEW} {won[0]}").status_code == 302


@pytest.mark.parametrize(
    "happens",
    [
        lambda user: signed_in("bob@example.com").post(
            "/profile/password/", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
        ),
        lambda user: signed_in("bob@example.com"),
        lambda user: _recorded(accounts.deactivate, user),
        lambda user: (_recorded(accounts.deactivate, user), _recorded(accounts.reactivate, user)),
        lambda user: _recorded(accounts.change_account, user, email="robert@example.com"),
        lambda user: _recorded(accounts.revoke_links, user),
        lambda user: issue(user),
        lambda user: User.objects.filter(pk=user.pk).update(expires_at=timezone.now()),
        lambda user: User.objects.filter(pk=user.pk).update(link_expires_at=timezone.now()),
    ],
    ids=["changed", "signed in", "off", "off and on", "address", "revoked", "replaced", "expired", "link over"],
)
def test_a_link_dies(alice: User, bob: User, happens: Callable[[User], Any]) -> None:
    """A changed password, a sign-in, a deactivation, another address, revoking, a newer link, and time end a link."""
    path = issue(bob)
    assert works(path)
    happens(User.objects.get(pk=bob.pk))
    assert not works(path)


def _recorded(change: Callable[..., Any], user: User, **changes: Any) -> None:
    with recording() as record:
        assert change(record, user, SOMEBODY, Context(), **changes)


def test_the_setting_bounds_every_link(alice: User, bob: User, settings: Settings) -> None:
    """Also one whose stored end somebody moved: the token tells when it was made."""
    settings.PASSWORD_RESET_TIMEOUT = 3600
    path = issue(bob)
    end = User.objects.get(pk=bob.pk).link_expires_at
    assert end is not None
    assert timedelta(minutes=59) < end - timezone.now() <= timedelta(hours=1)
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert not works(path)


def test_links_made_one_after_the_other_without_replacing_die_together(alice: User, bob: User) -> None:
    """A password forgotten joins the outstanding link, so that nobody can make it void by asking for another."""
    first = issue(bob)
    with recording() as record:
        link = accounts.issue_link(record, bob, SOMEBODY, Context(), purpose="forgotten", sent_by="email")
    second, third = urlsplit(link).path, urlsplit(accounts.password_link(User.objects.get(pk=bob.pk))).path
    assert all(map(works, (first, second, third)))
    use(second)
    assert not any(map(works, (first, second, third)))


def test_a_link_begins_with_the_public_address(alice: User, bob: User) -> None:
    """The configured one, and an admin's choice before it."""
    assert accounts.password_link(bob).startswith("http://127.0.0.1:8000/accounts/password/")
    update_preferences(SOMEBODY, Context(), "general", public_url="https://audit.example.com")
    assert accounts.password_link(bob).startswith("https://audit.example.com/accounts/password/")


def test_issuing_is_recorded_and_the_token_is_nowhere(alice: User, bob: User) -> None:
    """user.link_issued tells why and until when; neither it nor the event of using the link holds any part of the token."""
    path = issue(bob)
    (event,) = events("user.link_issued")
    bob.refresh_from_db()
    assert bob.link_expires_at is not None
    end = bob.link_expires_at.isoformat().replace("+00:00", "Z")
    assert event.metadata == {"purpose": "reset", "sent_by": "link", "expires_at": end}
    use(path)
    stored = b"".join(part for bundle in bundles_after(0) for part in (*bundle.whos, *bundle.whats))
    assert path.rstrip("/").rpartition("-")[2].encode() not in stored


def test_revoking_is_recorded_once(alice: User, bob: User) -> None:
    """user.updated tells until when the link would have worked; without a link there is nothing to revoke."""
    issue(bob)
    _recorded(accounts.revoke_links, bob)
    (event,) = events("user.updated")
    assert [change.field for change in event.changes] == ["link_expires_at"]
    with recording() as record:
        assert not accounts.revoke_links(record, bob, SOMEBODY, Context())
    assert len(events("user.updated")) == 1


def test_an_account_that_is_off_gets_no_link(alice: User, bob: User) -> None:
    """A link that could never work would only mislead."""
    User.objects.filter(pk=bob.pk).update(is_active=False)
    with pytest.raises(Conflict):
        issue(bob)
    assert events() == []


def test_a_reset_ends_every_session(alice: User, bob: User) -> None:
    """Whoever stole a session is out, and so is the browser that opened the link; both sign in anew."""
    stolen, own = signed_in("bob@example.com"), signed_in("bob@example.com", "198.51.100.7")
    path = issue(bob)
    _, page = opened(path, own)
    own.post(page.request["PATH_INFO"], {"password1": NEW, "password2": NEW})
    assert events("user.updated")[-1].metadata == {"sessions_ended": 2, "method": "link"}
    assert not is_signed_in(stolen)
    assert not is_signed_in(own)


def test_somebody_elses_browser_is_signed_out_by_a_link(alice: User, bob: User) -> None:
    """Whoever is signed in as another becomes a stranger, so that nothing is done in the wrong name."""
    client = signed_in()
    opened(issue(bob), client)
    assert not is_signed_in(client)
    assert [event.action for event in events()][-1] == "logout"


def test_a_weak_password_leaves_the_link(alice: User, bob: User) -> None:
    """The rules of passwords apply; the link still works afterwards."""
    path = issue(bob)
    assert use(path, "short").status_code == 200
    assert works(path)
    assert events("user.updated") == []


def test_the_address_with_the_token_is_left_at_once(alice: User, bob: User) -> None:
    """It answers with a redirect to an address without the token, is kept by no cache, and sends no Referer."""
    path = issue(bob)
    answer = browser().get(path)
    assert answer.status_code == 302
    assert answer["Location"].endswith("-set-password/")
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "no-store" in answer["Cache-Control"]
    dead = browser().get(path[:-2] + ("0/" if path[-2] != "0" else "1/"))
    assert (dead.status_code, dead["Referrer-Policy"]) == (200, "no-referrer")
    assert "does not work any more" in dead.content.decode()


def test_the_token_is_not_in_the_servers_log(alice: User, bob: User) -> None:
    """Not even where opening the link fails, which logs the address of the page."""
    path = issue(bob)
    handler: Any = next(
        handler for handler in logging.getLogger().handlers if any(isinstance(f, LinksHidden) for f in handler.filters)
    )
    # Not by setStream, which flushes the stream before: pytest may have closed it.
    before, handler.stream = handler.stream, (written := io.StringIO())
    try:
        with away("django_session"):
            assert browser().get(path).status_code == 500
    finally:
        handler.stream = before
    assert "Internal Server Error: /accounts/password/(hidden)/" in written.getvalue()
    assert path.rstrip("/").rpartition("/")[2] not in written.getvalue()


def test_a_link_changes_a_password_only_together_with_its_record(alice: User, bob: User, broken_ledger: Broken) -> None:
    """With the ledger broken the old password stays and the link lives; with the sessions broken there is no record."""
    path = issue(bob)
    client, page = opened(path)
    values = {"password1": NEW, "password2": NEW}
    with broken_ledger():
        assert client.post(page.request["PATH_INFO"], values).status_code == 500
    with away("usersessions_usersession"):
        assert client.post(page.request["PATH_INFO"], values).status_code == 500
    assert events("user.updated") == []
    assert works(path)
    assert sign_in(browser(), "bob@example.com").status_code == 302


def test_a_link_is_issued_and_revoked_only_together_with_its_record(alice: User, bob: User) -> None:
    """With the log broken there is none, or the one there is lives on; with the accounts broken there is no record."""
    for table in ("ledger_bundle", "workspace_user"):
        with unwritable(table), pytest.raises(DatabaseError):
            issue(bob)
    assert User.objects.get(pk=bob.pk).link_expires_at is None
    assert events() == []
    path = issue(bob)
    for table in ("ledger_bundle", "workspace_user"):
        with unwritable(table), pytest.raises(DatabaseError):
            _recorded(accounts.revoke_links, bob)
    assert works(path)
    assert events("user.updated") == []
