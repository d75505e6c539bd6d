"""A forgotten password: the owner of the account gets mail, and nobody learns who has an account."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from opssentinal.workspace import forgotten
from opssentinal.workspace.models import User
from opssentinal.workspace.password_refusal import _makers, add_password_refusal
from tests.workspace.conftest import browser, events, is_signed_in, sign_in, signed_in, unwritable
from tests.workspace.hashers import CountingHasher
from tests.workspace.postbox import Postbox, serving, use

PAGE = "/accounts/password/forgotten/"
NEW = "a wholly different passphrase"


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    """A mail server that is entered; what was asked for has been answered at the end."""
    box = Postbox()
    with serving(box) as port:
        use(port)
        yield box
        forgotten.wait_until_answered()


def ask(email: str, ip: str = "203.0.113.9") -> Any:
    response = browser(ip).post(PAGE, {"email": email})
    forgotten.wait_until_answered()
    return response


def link_in(postbox: Postbox) -> str:
    lines = postbox.messages[-1].get_content().splitlines()
    (link,) = [line for line in lines if line.startswith("http://127.0.0.1:8000/")]
    return urlsplit(str(link)).path


def test_the_owner_gets_a_link_that_works_once(alice: User, postbox: Postbox) -> None:
    """Mail to the account's address, recorded before it is sent; the link sets a new password, once."""
    assert ask("Alice@Example.com")["Location"] == "/accounts/password/sent/"
    assert postbox.recipients == [["alice@example.com"]]
    event = events("user.link_issued")[-1]
    assert event.actor is not None
    assert event.actor.type == "anonymous", "nobody has proved to be the owner"
    assert event.targets[0].id == f"user_{alice.pk}"
    assert event.context.ip == "203.0.113.9"
    assert {"purpose": "forgotten", "sent_by": "email"}.items() <= event.metadata.items()
    link = link_in(postbox)
    assert link.rstrip("/").rsplit("-", 1)[1] not in repr(events())
    client = browser()
    form = client.get(link, follow=True)
    client.post(form.request["PATH_INFO"], {"password1": NEW, "password2": NEW})
    assert sign_in(browser(), password=NEW).status_code == 302
    late = browser()
    late.get(link, follow=True)
    late.post(form.request["PATH_INFO"], {"password1": "yet another phrase", "password2": "yet another phrase"})
    assert sign_in(browser(), password=NEW).status_code == 302


def _hinder(user: User, how: str) -> None:
    match how:
        case "switched off":
            user.is_active = False
        case "over":
            user.expires_at = timezone.now() - timedelta(days=1)
        case "without a password":
            user.set_unusable_password()
    user.save()


@pytest.mark.parametrize("how", ["switched off", "over", "without a password", "single sign-on only"])
def test_who_could_not_use_it_gets_none(alice: User, postbox: Postbox, how: str) -> None:
    """No mail, no link, no record; the visitor reads the same as ever."""
    _hinder(alice, how)
    if how == "single sign-on only":
        add_password_refusal(rule := lambda: lambda user: "sso_required")
    try:
        assert ask("alice@example.com")["Location"] == "/accounts/password/sent/"
    finally:
        if how == "single sign-on only":
            _makers.remove(rule)
    assert postbox.messages == []
    assert events("user.link_issued") == []


def test_the_answer_does_not_tell_who_has_an_account(alice: User, postbox: Postbox) -> None:
    """The same page and the same queries, no hashing and no waiting for mail, for an account and for none."""
    answers, costs = set(), set()
    CountingHasher.hashings = 0
    for email in ("alice@example.com", "nobody@example.com"):
        client = browser()
        client.get(PAGE)
        with CaptureQueriesContext(connection) as queries:
            response = client.post(PAGE, {"email": email}, follow=True)
        forgotten.wait_until_answered()
        page = re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", response.content.decode())
        answers.add((response.status_code, tuple(response.redirect_chain), page))
        costs.add(tuple(re.sub(r"'[^']*'|\d+", "?", query["sql"]) for query in queries))
    assert len(answers) == len(costs) == 1
    assert CountingHasher.hashings == 0
    assert len(postbox.messages) == 1


def test_nobody_waits_for_the_mail_server(alice: User, postbox: Postbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is there while the mail server has not even been asked."""
    go_on = threading.Event()
    send = forgotten.send_mail

    def send_later(*message: str) -> str:
        assert go_on.wait(20)
        return send(*message)

    monkeypatch.setattr(forgotten, "send_mail", send_later)
    assert browser().post(PAGE, {"email": "alice@example.com"}).status_code == 302
    assert postbox.messages == []
    go_on.set()
    forgotten.wait_until_answered()
    assert len(postbox.messages) == 1


@pytest.mark.parametrize("table", ["ledger_bundle", "workspace_user"])
def test_a_link_that_cannot_be_recorded_is_not_sent(alice: User, postbox: Postbox, table: str) -> None:
    """Nor recorded where it cannot be made: no mail, no link, no event; the next in line is served."""
    with unwritable(table):
        ask("alice@example.com")
    assert postbox.messages == []
    assert events("user.link_issued") == []
    assert User.objects.get(pk=alice.pk).link_expires_at is None
    ask("alice@example.com")
    assert len(postbox.messages) == 1


def test_a_mail_server_that_refuses_does_not_stop_the_next(
    alice: User, bob: User, postbox: Postbox, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is in the server's log, without the link."""
    postbox.refuse["RCPT"] = "550 No such mailbox"
    ask("alice@example.com")
    assert "550 No such mailbox" in caplog.text
    assert "/accounts/password/" not in caplog.text
    postbox.refuse.clear()
    ask("bob@example.com")
    assert postbox.recipients == [["bob@example.com"]]


def test_asking_is_limited(alice: User, postbox: Postbox) -> None:
    """Five times an hour for one address, whoever asks and whether it is an account's; then 429 and no more mail."""
    for email in ("alice@example.com", "nobody@example.com"):
        statuses = [ask(email, f"198.51.100.{number}").status_code for number in range(6)]
        assert statuses == [302] * 5 + [429]
    assert len(postbox.messages) == 5


def test_too_many_in_line_are_turned_away(alice: User, postbox: Postbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded; the visitor is told to come back."""
    with monkeypatch.context() as patched:
        patched.setattr(forgotten, "_waiting", forgotten.Queue(1))
        patched.setattr(forgotten, "_workers", [threading.current_thread()])  # as if it were busy
        assert browser().post(PAGE, {"email": "alice@example.com"}).status_code == 302
        response = browser().post(PAGE, {"email": "alice@example.com"})
    assert (response.status_code, response["Retry-After"]) == (503, "60")
    assert "Too many people" in response.content.decode()


def test_without_a_mail_server_the_page_says_who_can_help(alice: User) -> None:
    """No form and no link to it; nothing is queued."""
    assert PAGE not in browser().get("/accounts/login/").content.decode()
    for response in (browser().get(PAGE), browser().post(PAGE, {"email": "alice@example.com"})):
        assert response.status_code == 200
        page = response.content.decode()
        assert "opssentinal user reset-password" in page
        assert 'name="email"' not in page
    forgotten.wait_until_answered()
    assert events() == []


def test_the_sign_in_page_offers_it_where_mail_is_sent(alice: User, postbox: Postbox) -> None:
    """A link below the form."""
    assert PAGE in browser().get("/accounts/login/").content.decode()


def test_asking_for_a_link_changes_nothing_for_the_owner(alice: User, postbox: Postbox) -> None:
    """Anybody can ask: sessions and password stay as they are."""
    client = signed_in()
    ask("alice@example.com")
    assert is_signed_in(client)
    assert sign_in(browser()).status_code == 302
