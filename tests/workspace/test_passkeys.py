"""Passkeys as strangers and owners send them: what is refused is recorded, and nothing is opened by it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.internal.flows.login import record_authentication
from allauth.account.utils import user_pk_to_url_str
from allauth.core.context import request_context as allauth_request
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.test import RequestFactory
from django.utils import timezone

from opssentinal.workspace.adapters import AccountAdapter
from opssentinal.workspace.models import User
from tests.workspace.conftest import browser, events, is_signed_in, sign_in, signed_in, unwritable
from tests.workspace.passkey import new_passkey
from tests.workspace.test_second_factor import ROOT, no_passwords, prove, with_app

__all__ = ["no_passwords"]
Broken = Callable[[], AbstractContextManager[None]]


@pytest.mark.parametrize("reason", ["inactive", "expired", "sso_required"])
def test_a_passkey_does_not_open_what_a_password_may_not(
    alice: User, request: pytest.FixtureRequest, reason: str
) -> None:
    """An account that is off, over, or has to come through single sign-on: recorded with the method, and not let in."""
    match reason:
        case "inactive":
            alice.is_active = False
        case "expired":
            alice.expires_at = timezone.now() - timedelta(days=1)
        case "sso_required":
            request.getfixturevalue("no_passwords")
    visit = RequestFactory().post("/accounts/passkey/")
    visit.session, visit.user = SessionStore(), AnonymousUser()
    visit._messages = FallbackStorage(visit)  # type: ignore[attr-defined]
    record_authentication(visit, alice, "mfa", id=1, type="webauthn", passwordless=True)
    with allauth_request(visit), pytest.raises(ImmediateHttpResponse) as refused:
        AccountAdapter(visit).login(visit, alice)
    assert refused.value.response["Location"] == "/accounts/login/"
    (event,) = events()
    assert (event.action, event.metadata) == ("login.failure", {"method": "passkey", "reason": reason})
    assert Session.objects.count() == 0


NONSENSE: list[Any] = [
    "", "x", "null", "[]", "5", "{}", "[" * 5000, json.dumps({"id": 1}), "x" * 30_000,
    json.dumps({"id": "AA", "rawId": "AA", "type": "public-key", "response": {}}),
    json.dumps({"id": "AA", "rawId": "AA", "type": "public-key", "response": {"userHandle": "MQ"}}),
    json.dumps({"id": "AA", "rawId": "AA", "type": "public-key", "response": {"userHandle": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk"}}),
    json.dumps({"id": "AA", "rawId": "AA", "type": "public-key", "response": {
        "userHandle": "MQ", "clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA"}}),
    json.dumps({"id": "AA", "rawId": "AA", "type": "public-key", "response": {
        "clientDataJSON": "e30", "attestationObject": "AA"}}),
    json.dumps({"id": "AA", "rawId": "AA", "type": "public-key", "response": {
        "clientDataJSON": "e30", "attestationObject": "o2NmbXRkbm9uZWdhdHRTdG10oGhhdXRoRGF0YUEA"}}),
]  # fmt: skip


@pytest.mark.parametrize("credential", NONSENSE)
def test_nonsense_is_no_passkey(alice: User, credential: str) -> None:
    """Whatever a visitor sends as a passkey's answer is refused as a wrong one, on every page that takes one."""
    visitor = browser()
    visitor.get("/accounts/passkey/", headers={"accept": "application/json"})
    response = visitor.post("/accounts/passkey/", {"credential": credential})
    assert (response.status_code, response.headers.get("Location")) == (302, "/accounts/login/")
    owner = signed_in()
    prove(owner)
    owner.get(ROOT + "passkeys/add/")
    assert owner.post(ROOT + "passkeys/add/", {"credential": credential, "name": "x"}).status_code == 200
    with_app(owner)
    second = browser()
    sign_in(second)
    second.get("/accounts/second-factor/")
    assert second.post("/accounts/second-factor/", {"credential": credential}).status_code == 200
    assert Authenticator.objects.filter(type="webauthn").count() == 0
    assert not is_signed_in(visitor)
    assert not is_signed_in(second)


def _answer(handle: str) -> str:
    """A passkey's answer of the right shape, with nothing behind it."""
    response = {"userHandle": handle, "clientDataJSON": "e30", "authenticatorData": "A" * 50, "signature": "AA"}
    return json.dumps({"id": "AA", "rawId": "AA", "type": "public-key", "response": response})


def test_a_wrong_passkey_is_recorded(alice: User, broken_ledger: Broken) -> None:
    """With the account it claims to belong to, if there is one; unrecorded, nobody can try."""
    for claimed, actor in ((user_pk_to_url_str(alice), f"user_{alice.pk}"), ("zzzzz", "anonymous")):
        handle = base64.urlsafe_b64encode(claimed.encode()).decode().rstrip("=")
        visitor = browser()
        visitor.get("/accounts/passkey/", headers={"accept": "application/json"})
        with broken_ledger():
            assert visitor.post("/accounts/passkey/", {"credential": _answer(handle)}).status_code == 500
        assert visitor.post("/accounts/passkey/", {"credential": _answer(handle)}).status_code == 302
        assert not is_signed_in(visitor)
        event = events()[-1]
        assert event.actor is not None
        assert event.actor.id == actor
        assert (event.action, event.metadata) == ("login.failure", {"method": "passkey", "reason": "wrong_code"})
    assert len(events()) == 2


@pytest.mark.parametrize("table", ["ledger_bundle", "mfa_authenticator"])
def test_a_passkey_is_added_renamed_and_removed_only_together_with_its_record(alice: User, table: str) -> None:
    """Where the log or the factors cannot be written, there is neither; then both."""
    owner = signed_in()
    prove(owner)

    def state() -> tuple[list[Any], int]:
        return list(Authenticator.objects.order_by("pk").values_list("type", "data")), len(events())

    def passkey(action: str) -> str:
        return f"{ROOT}passkeys/{Authenticator.objects.get(type='webauthn').pk}/{action}/"

    for act in (
        lambda: owner.post(ROOT + "passkeys/add/", new_passkey(owner, "Laptop")),
        lambda: owner.post(passkey("name"), {"name": "Phone"}),
        lambda: owner.post(passkey("remove")),
    ):
        before = state()
        with unwritable(table):
            assert act().status_code == 500
        assert state() == before
        assert act().status_code == 302
    changes = [[(c.field, c.before, c.after) for c in event.changes][:1] for event in events("user.updated")]
    assert changes == [
        [("passkey", None, "Laptop")], [("passkey", "Laptop", "Phone")], [("passkey", "Phone", None)],
    ]  # fmt: skip


def test_passkey_questions_are_limited(alice: User) -> None:
    """Each question keeps a session, so one address gets so many in a minute and then 429."""
    statuses = [
        browser().get("/accounts/passkey/", headers={"accept": "application/json"}).status_code for _ in range(31)
    ]
    assert statuses == [200] * 30 + [429]
    assert browser("203.0.113.77").get("/accounts/passkey/", headers={"accept": "application/json"}).status_code == 200
