"""Single sign-on as the only way in for others than admins, and what it means for second factors."""

from __future__ import annotations

import re

from allauth.account.internal.flows.login import record_authentication
from allauth.core.context import request_context
from allauth.core.exceptions import ImmediateHttpResponse
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends.db import SessionStore
from django.test import RequestFactory

from opssentinal.events.model import Actor, Change, Context
from opssentinal.sso import configuration
from opssentinal.workspace.adapters import AccountAdapter
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import update_preferences
from tests.sso.conftest import PAGE, admin, enable, round_trip, visitor
from tests.sso.openid_provider import OpenIDProvider
from tests.workspace.conftest import PASSWORD, events, is_signed_in, sign_in
from tests.workspace.hashers import CountingHasher

_SETUP = Actor(type="user", id="user_0")


def test_passwords_of_others_than_admins_are_refused_like_wrong_ones(sso: OpenIDProvider, bob: User) -> None:
    """Same page, same cost of one hashing; the reason stands in the log alone. Admins keep their way in."""
    enable(is_required=True)
    answers, costs = set(), set()
    for email, password in [(bob.email, PASSWORD), (bob.email, "wrong"), ("nobody@example.com", PASSWORD)]:
        before = CountingHasher.hashings
        client = visitor()
        response = sign_in(client, email, password)
        costs.add(CountingHasher.hashings - before)
        page = re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", response.content.decode())
        answers.add((response.status_code, page.replace(email, "…")))
        assert not is_signed_in(client)
    assert len(answers) == 1
    assert costs == {1}
    reasons = [event.metadata["reason"] for event in events("login.failure")]
    assert reasons == ["sso_required", "sso_required", "unknown_account"]
    assert is_signed_in(admin())


def test_passkeys_do_not_lead_around_it(sso: OpenIDProvider, bob: User) -> None:
    """Every way of signing in here passes the same check; only the provider's does not."""
    enable(is_required=True)
    request = RequestFactory().post("/accounts/passkey/", REMOTE_ADDR="203.0.113.9")
    request.session, request.user = SessionStore(), AnonymousUser()
    request._messages = FallbackStorage(request)
    with request_context(request):
        record_authentication(request, bob, "mfa", type="webauthn", passwordless=True)
        try:
            AccountAdapter(request).login(request, bob)
        except ImmediateHttpResponse as refused:
            assert refused.response["Location"] == "/accounts/login/"
    (event,) = events("login.failure")
    assert event.metadata == {"method": "passkey", "reason": "sso_required"}
    assert events("login.success") == []
    sso.person["email"] = bob.email
    assert round_trip(visitor()).status_code == 302


def test_it_holds_only_while_single_sign_on_is_on(sso: OpenIDProvider, bob: User) -> None:
    """Switched off, also by a new connection that is not tested yet, passwords count again: nobody is locked out."""
    enable(is_required=True)
    assert sign_in(visitor(), bob.email).status_code == 200
    admin().post(PAGE + "switch/", {"is_required": "on"})
    assert events()[-1].changes == [Change(field="enabled", before=True, after=False)]
    assert sign_in(visitor(), bob.email).status_code == 302


def test_sessions_that_are_open_go_on(sso: OpenIDProvider, bob: User) -> None:
    """The requirement is about signing in."""
    client = visitor()
    sign_in(client, bob.email)
    configuration.switch(_SETUP, Context(), is_enabled=True, is_required=True)
    assert is_signed_in(client)


def test_who_comes_through_the_provider_is_not_asked_for_a_second_factor(sso: OpenIDProvider, bob: User) -> None:
    """The requirement is about passwords: the provider asks for what its admins want."""
    update_preferences(_SETUP, Context(), "security", second_factor_required="everybody")
    with_password = visitor()
    sign_in(with_password, bob.email)
    assert with_password.get("/profile/")["Location"] == "/profile/second-factor/"
    through_provider = visitor()
    assert round_trip(through_provider)["Location"] == "/"
    assert is_signed_in(through_provider)
