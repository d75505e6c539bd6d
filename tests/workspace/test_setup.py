"""The first visit and the first admin."""

from __future__ import annotations

from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from opssentinal.events.model import Actor
from opssentinal.workspace.models import SetupToken, User
from opssentinal.workspace.principals import session_reference
from opssentinal.workspace.setup import setup_token
from tests.workspace.conftest import PASSWORD, browser, events, is_signed_in, session_key, unwritable


def post(client: Client, token: str | None, **changes: str) -> Any:
    values = {"name": "Alice", "email": "alice@example.com", "password": PASSWORD, "password_again": PASSWORD}
    return client.post("/setup", values | {"token": token or ""} | changes)


@pytest.mark.parametrize("path", ["/", "/profile/", "/accounts/login/", "/insights/audit-logs/", "/nowhere/"])
def test_the_first_visit_leads_to_setup(path: str) -> None:
    """While there is no account, every page does."""
    assert browser().get(path)["Location"] == "/setup"


def test_programs_and_probes_are_not_led_to_setup() -> None:
    """They get their own answers."""
    for path in ("/healthz", "/api/v1/events"):
        assert browser().get(path).headers.get("Location") != "/setup"


def test_without_the_token_the_page_tells_where_it_is() -> None:
    """No token, or another one, shows no form to create anything."""
    token = setup_token()
    page = browser().get("/setup")
    assert page.status_code == 200
    assert b"console" in page.content
    assert b'name="password"' not in page.content
    assert (token or "?").encode() not in page.content
    for wrong in ("wrong", "ünïcode", (token or "")[:-1]):
        assert browser().get("/setup", {"token": wrong}).status_code == 403
        assert post(browser(), wrong).status_code == 403
    assert not User.objects.exists()


def test_the_first_admin_is_created_recorded_and_signed_in() -> None:
    """user.created and login.success, both by the new account."""
    client = browser()
    token = setup_token()
    assert b'name="password"' in client.get("/setup", {"token": token}).content
    assert post(client, token, email="Alice@Example.COM")["Location"] == "/"
    user = User.objects.get()
    assert (user.email, user.name, user.role) == ("alice@example.com", "Alice", "admin")
    created, login = events()
    alice = Actor(type="user", id=f"user_{user.pk}", name="Alice", email="alice@example.com")
    assert (created.action, created.actor, created.targets[0].id) == ("user.created", alice, alice.id)
    assert (created.metadata, created.context.ip) == ({"role": "admin"}, "203.0.113.9")
    assert (login.action, login.actor, login.metadata) == ("login.success", alice, {"method": "setup"})
    assert login.context.session_id == session_reference(session_key(client))
    assert is_signed_in(client)


def test_setup_closes_for_ever() -> None:
    """Once there is an account, the old token opens nothing and there is no new one."""
    token = setup_token()
    assert token == setup_token(), "every start prints the same"
    post(browser(), token)
    assert setup_token() is None
    assert not SetupToken.objects.exists()
    assert browser().get("/setup", {"token": token})["Location"] == "/accounts/login/"
    assert post(browser(), token, email="eve@example.com")["Location"] == "/accounts/login/"
    assert User.objects.count() == 1


def test_any_account_closes_setup(alice: User) -> None:
    """Even where a token is left over, an account made elsewhere ends it."""
    SetupToken.objects.create(token="left-over")
    assert setup_token() is None
    assert post(browser(), "left-over")["Location"] == "/accounts/login/"
    assert User.objects.count() == 1


def test_faults_are_shown_and_nothing_is_made() -> None:
    """Weak, differing or similar passwords and a bad address; the token stays good."""
    token = setup_token()
    for faults in (
        {"password": "short", "password_again": "short"},
        {"password_again": "another long passphrase"},
        {"password": "alice@example.com", "password_again": "alice@example.com"},
        {"email": "no address"},
        {"name": ""},
    ):
        response = post(browser(), token, **faults)
        assert response.status_code == 200
        assert b"field-error" in response.content
    assert events() == []
    assert post(browser(), token).status_code == 302


@pytest.mark.parametrize("table", ["ledger_bundle", "workspace_user", "workspace_setuptoken"])
def test_an_admin_comes_only_together_with_the_record(table: str) -> None:
    """Where log, accounts or token cannot be written, there is neither, and the token still opens setup."""
    token = setup_token()
    with unwritable(table):
        assert post(browser(), token).status_code == 500
    assert not User.objects.exists()
    assert events() == []
    assert post(browser(), token).status_code == 302


def test_of_many_at_once_one_becomes_admin() -> None:
    """Six browsers post at the same moment: one account, one user.created."""
    token = setup_token()
    start = Barrier(6)
    answers: list[str] = []

    def race(number: int) -> None:
        client = browser()
        start.wait()
        try:
            answers.append(post(client, token, email=f"admin{number}@example.com")["Location"])
        finally:
            connections.close_all()

    racers = [Thread(target=race, args=(number,)) for number in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(answers) == ["/"] + ["/accounts/login/"] * 5
    assert User.objects.count() == len(events("user.created")) == len(events("login.success")) == 1
