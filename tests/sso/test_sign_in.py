"""Signing in through the provider: who comes in, as whom, with which role, and what the log tells of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from opssentinal.apikeys.authentication import authenticate
from opssentinal.apikeys.services import create_key
from opssentinal.approvals.terms import has_been_admin_since
from opssentinal.errors import Unauthenticated
from opssentinal.events.model import Actor, Change, Context
from opssentinal.sso import configuration, discovery
from opssentinal.sso.discovery import WELL_KNOWN
from opssentinal.sso.models import Identity, OIDCProvider
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import session_reference
from tests.sso.conftest import START, admin, admit, at_provider, leaving_to, round_trip, visitor
from tests.sso.openid_provider import DANA, OpenIDProvider
from tests.workspace.conftest import away, events, is_signed_in, session_key

Broken = Callable[[], AbstractContextManager[None]]
KEYCLOAK = Actor(type="oidc_provider", id="oidc_1", name="Keycloak")
SAID = {"method": "sso", "provider": "Keycloak"}


def last(count: int) -> list[tuple[str, dict[str, Any]]]:
    """The newest events, oldest first: action and metadata."""
    return [(event.action, event.metadata) for event in events()[-count:]]


def refused(response: Any) -> str:
    """The reason in the one login.failure, once the visitor has been refused without being told it."""
    assert response.status_code in (400, 403, 404, 502)
    assert not is_signed_in(response.client)
    (event,) = events("login.failure")
    assert event.outcome == "failure"
    assert event.metadata["method"] == "sso"
    reason = str(event.metadata["reason"])
    assert reason not in response.content.decode()
    return reason


def test_the_first_sign_in_creates_the_account(sso: OpenIDProvider) -> None:
    """The provider's verified address, name and the default role; account, session and both events."""
    client = visitor()
    response = round_trip(client)
    assert (response.status_code, response["Location"]) == (302, "/")
    assert is_signed_in(client)
    dana = User.objects.get(email="dana@example.com")
    assert (dana.name, dana.role, dana.has_usable_password()) == ("Dana Doe", "member", False)
    made, entered = events()[-2:]
    assert (made.action, made.actor, made.targets[0].id) == ("user.created", KEYCLOAK, f"user_{dana.pk}")
    assert made.metadata == SAID | {"role": "member", "subject": DANA["sub"]}
    assert (entered.action, entered.metadata) == ("login.success", SAID)
    assert entered.actor == Actor(type="user", id=f"user_{dana.pk}", name="Dana Doe", email="dana@example.com")
    assert entered.context.session_id == session_reference(session_key(client))
    assert made.recorded_at == entered.recorded_at, "one transaction, one moment"


def test_later_sign_ins_go_by_the_subject(sso: OpenIDProvider) -> None:
    """With a new, even unverified address at the provider it is still the same account, whose address stays."""
    round_trip(visitor())
    sso.person |= {"email": "dana.new@example.com", "email_verified": False}
    assert round_trip(visitor()).status_code == 302
    assert User.objects.filter(email__startswith="dana").count() == 1
    assert last(1) == [("login.success", SAID)]


def test_an_account_is_matched_by_its_verified_address_and_bound(sso: OpenIDProvider, bob: User) -> None:
    """Bob has an account: he signs in to it, and the binding is a change of the account that the log tells."""
    sso.person |= {"email": "Bob@Example.com", "sub": "bobs-subject"}
    client = visitor()
    assert round_trip(client).status_code == 302
    bound, entered = events()[-2:]
    assert (bound.action, bound.actor, bound.targets[0].email) == ("user.updated", KEYCLOAK, "bob@example.com")
    assert bound.changes == [Change(field="single_sign_on", before=None, after=f"bobs-subject at {sso.issuer}")]
    assert (entered.action, entered.actor and entered.actor.id) == ("login.success", f"user_{bob.pk}")
    assert Identity.objects.get().user == bob


def test_who_was_bound_after_it_was_asked_does_not_approve(sso: OpenIDProvider, alice: User) -> None:
    """An admin's account that somebody comes into through the provider for the first time decides nothing asked before."""
    dana = User.objects.create_user("dana@example.com", name="Dana", role="admin")
    assert has_been_admin_since(dana, timezone.now())
    asked_at = timezone.now()
    assert round_trip(visitor()).status_code == 302
    assert Identity.objects.get().user == dana
    assert not has_been_admin_since(dana, asked_at)
    now = timezone.now()
    assert round_trip(visitor()).status_code == 302
    assert has_been_admin_since(dana, now), "who is bound already comes in as ever"


def test_another_subject_does_not_take_over_a_bound_account(sso: OpenIDProvider) -> None:
    """The address alone binds once. Until an admin unlinks the account, a new subject with its address is refused."""
    round_trip(visitor())
    sso.person["sub"] = "somebody-else"
    response = round_trip(visitor())
    assert refused(response) == "subject_mismatch"
    assert events("login.failure")[0].actor == Actor(
        type="user", id=f"user_{User.objects.get(name='Dana Doe').pk}", name="Dana Doe", email="dana@example.com"
    )
    configuration.unbind(Identity.objects.get(), KEYCLOAK, events()[-1].context)
    assert round_trip(visitor()).status_code == 302
    assert Identity.objects.get().subject == "somebody-else"


@pytest.mark.parametrize("claim", [False, None, "false", 1, "yes"])
def test_an_unverified_address_neither_matches_nor_creates(sso: OpenIDProvider, bob: User, claim: object) -> None:
    """Anybody can enter anybody's address at some providers: only one that is called verified counts."""
    sso.person |= {"email": bob.email, "email_verified": claim}
    response = round_trip(visitor())
    assert refused(response) == "email_unverified"
    assert events("login.failure")[0].actor == Actor(type="anonymous", id="anonymous")
    sso.person["email"] = "new@example.com"
    assert round_trip(visitor("203.0.113.10")).status_code == 403
    assert User.objects.count() == 2
    assert not Identity.objects.exists()


@pytest.mark.parametrize("email", [None, "", "no address", "a@b@example.com", "x" * 250 + "@example.com", 7])
def test_what_is_no_address_is_refused(sso: OpenIDProvider, email: object) -> None:
    """The provider may send anything."""
    sso.person["email"] = email
    assert refused(round_trip(visitor())) == "email_unverified"


def test_text_that_says_verified_counts_as_verified(sso: OpenIDProvider) -> None:
    """Amazon Cognito and others send the boolean as text."""
    sso.person["email_verified"] = "true"
    assert round_trip(visitor()).status_code == 302


def test_only_allowed_domains_come_in(sso: OpenIDProvider, bob: User) -> None:
    """The domain must be exactly one of those listed, for new, known and bound accounts alike."""
    admit(domains=["example.com"])
    round_trip(visitor())
    admit(domains=["example.org"])
    assert refused(round_trip(visitor())) == "domain_not_allowed"
    for number, email in enumerate(
        ["eve@notexample.org", "eve@example.org.evil.test", "eve@sub.example.org", bob.email]
    ):
        sso.person |= {"email": email, "sub": email}
        assert round_trip(visitor(f"198.51.100.{number}")).status_code == 403
    assert {event.metadata["reason"] for event in events("login.failure")} == {"domain_not_allowed"}
    sso.person["email"] = "eve@EXAMPLE.org"
    assert round_trip(visitor()).status_code == 302


def test_without_provisioning_only_known_people_come_in(sso: OpenIDProvider, bob: User) -> None:
    """Sign-up is closed unless an admin has opened it."""
    admit(provisions=False)
    response = round_trip(visitor())
    assert refused(response) == "not_provisioned"
    assert events("login.failure")[0].actor == Actor(type="anonymous", id="dana@example.com", email="dana@example.com")
    assert not User.objects.filter(email="dana@example.com").exists()
    sso.person |= {"email": bob.email}
    assert round_trip(visitor()).status_code == 302


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"is_active": False}, "inactive"), ({"expires_at": timezone.now() - timedelta(seconds=1)}, "expired")],
)
def test_an_account_that_is_off_or_over_is_refused(
    sso: OpenIDProvider, bob: User, change: dict[str, Any], reason: str
) -> None:
    """As with passwords: it is known, it is recorded, and it does not come in, bound or not."""
    User.objects.filter(pk=bob.pk).update(**change)
    sso.person["email"] = bob.email
    assert refused(round_trip(visitor())) == reason
    assert not Identity.objects.exists()
    Identity.objects.create(issuer=sso.issuer, subject=DANA["sub"], user=bob)
    assert round_trip(visitor()).status_code == 403


def test_claims_give_roles_in_the_order_of_the_rules(sso: OpenIDProvider) -> None:
    """The first rule that matches counts, at the first sign-in and at every later one; the log names the rule."""
    admit(("groups", "on-call", "auditor"), ("groups", "staff", "admin"), default_role="member")
    round_trip(visitor())
    assert last(2)[0] == ("user.created", SAID | {"role": "auditor", "subject": DANA["sub"]})
    sso.person["groups"] = ["staff"]
    round_trip(visitor())
    changed, entered = events()[-2:]
    assert (changed.action, changed.actor) == ("user.role_changed", KEYCLOAK)
    assert changed.changes == [Change(field="role", before="auditor", after="admin")]
    assert changed.metadata == SAID | {"claim": "groups", "value": "staff"}
    assert (entered.action, entered.recorded_at) == ("login.success", changed.recorded_at)


def test_who_leaves_a_group_loses_its_role(sso: OpenIDProvider) -> None:
    """No rule matches any more: the role is the default again."""
    admit(("groups", "staff", "admin"))
    round_trip(visitor())
    sso.person["groups"] = []
    round_trip(visitor())
    assert User.objects.get(email="dana@example.com").role == "member"
    assert last(2)[0] == ("user.role_changed", SAID)


def test_who_leaves_the_group_of_admins_loses_the_keys_too(sso: OpenIDProvider) -> None:
    """A claim is as good as an admin's click: keys made with the power end with it, in the same transaction."""
    admit(("groups", "staff", "admin"))
    round_trip(visitor())
    dana = User.objects.get(email="dana@example.com")
    made = create_key(
        actor=KEYCLOAK, context=Context(), name="Billing", source="billing", scopes=["keys:admin"], created_by=dana
    )  # fmt: skip
    sso.person["groups"] = []
    round_trip(visitor())
    revoked, changed = events()[-3:-1]
    assert (revoked.action, revoked.actor, revoked.targets[0].id) == ("api_key.revoked", KEYCLOAK, made.key.public_id)
    assert (changed.action, changed.metadata) == ("user.role_changed", SAID | {"api_keys_revoked": 1})
    with pytest.raises(Unauthenticated):
        authenticate(made.token)


def test_without_a_rule_that_matches_and_a_default_role_nobody_comes_in(sso: OpenIDProvider, bob: User) -> None:
    """None means none, for new and known accounts."""
    admit(("groups", "admins", "admin"), default_role="")
    assert refused(round_trip(visitor())) == "no_role"
    sso.person["email"] = bob.email
    assert round_trip(visitor()).status_code == 403
    assert User.objects.count() == 2


def test_without_rules_roles_stay_as_they_are(sso: OpenIDProvider, alice: User) -> None:
    """The default role is for new accounts: Alice stays an admin."""
    sso.person["email"] = alice.email
    assert round_trip(visitor()).status_code == 302
    assert User.objects.get(pk=alice.pk).role == "admin"


def test_the_last_admin_stays_one_whatever_the_claims_say(sso: OpenIDProvider, alice: User) -> None:
    """She signs in, keeps the role, and the event says so; with a second admin the claim takes effect."""
    admit(("groups", "admins", "admin"))
    sso.person["email"] = alice.email
    assert round_trip(visitor()).status_code == 302
    assert User.objects.get(pk=alice.pk).role == "admin"
    assert last(1) == [("login.success", SAID | {"role_kept": "last_admin", "role_claimed": "member"})]
    assert events("user.role_changed") == []
    User.objects.create_user("carol@example.com", "another good pass phrase", role="admin")
    assert round_trip(visitor()).status_code == 302
    assert User.objects.get(pk=alice.pk).role == "member"


def test_a_sign_in_leads_to_the_page_asked_for_and_never_to_another_site(sso: OpenIDProvider) -> None:
    """`next` survives the way to the provider, inside of the product only."""
    assert round_trip(visitor(), next="/profile/sessions/")["Location"] == "/profile/sessions/"
    assert round_trip(visitor(), next="https://evil.example/")["Location"] == "/"
    assert round_trip(visitor(), next="//evil.example/")["Location"] == "/"


def test_who_is_signed_in_already_stays_so(sso: OpenIDProvider) -> None:
    """The button of an old tab changes nobody: neither at the beginning nor at the end of the way."""
    client = visitor()
    old_tab = leaving_to(client.post(START))
    round_trip(client)
    count = len(events())
    assert client.post(START, {"next": "/profile/"})["Location"] == "/profile/"
    sso.person = {"sub": "eve", "email": "eve@example.com", "email_verified": True}
    assert client.get(at_provider(old_tab)).status_code == 302
    assert len(events()) == count
    assert "Dana" in client.get("/profile/").content.decode()


def test_a_switched_off_provider_signs_nobody_in(sso: OpenIDProvider) -> None:
    """No button, no beginning, and no end of what was begun before."""
    client = visitor()
    begun = leaving_to(client.post(START))
    assert "Sign in with Keycloak" in visitor().get("/accounts/login/").content.decode()
    configuration.switch(KEYCLOAK, events()[-1].context, is_enabled=False, is_required=False)
    assert "Sign in with Keycloak" not in visitor().get("/accounts/login/").content.decode()
    assert visitor().post(START).status_code == 404
    assert refused(client.get(at_provider(begun))) == "switched_off"


@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        (lambda: OIDCProvider.objects.update(is_enabled=False), "switched_off"),
        (lambda: OIDCProvider.objects.update(client_id="another"), "configuration_changed"),
        (lambda: OIDCProvider.objects.update(domains=["example.org"]), "domain_not_allowed"),
        (lambda: OIDCProvider.objects.update(provisions=False), "not_provisioned"),
    ],
)
def test_what_changes_while_the_provider_is_asked_holds(
    sso: OpenIDProvider, meanwhile: Callable[[], int], reason: str
) -> None:
    """The provider is slow, an admin is quicker: nobody comes in by what was true before."""
    done = []

    def slowly(claims: dict[str, Any]) -> dict[str, Any]:
        thread = threading.Thread(target=lambda: (done.append(meanwhile()), connection.close()))
        thread.start()
        thread.join(20)
        return claims

    sso.userinfo = slowly
    client = visitor()
    response = client.get(at_provider(leaving_to(client.post(START))))
    assert done == [1]
    assert refused(response) == reason
    assert not User.objects.filter(email="dana@example.com").exists()


def test_the_description_is_fetched_once_a_minute(sso: OpenIDProvider) -> None:
    """People who sign in one after the other do not wait for it each; a test of an admin asks anew."""
    for number in range(3):
        assert round_trip(visitor(f"203.0.113.{number}")).status_code == 302
    assert sso.requests.count(f"GET {WELL_KNOWN}") == 1
    leaving_to(admin().post("/settings/single-sign-on/test/"))
    assert sso.requests.count(f"GET {WELL_KNOWN}") == 2


def test_few_wait_for_a_provider_that_hangs(sso: OpenIDProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each for a short time, two at once; the next is answered at once, and everybody else goes on being served."""
    monkeypatch.setattr(discovery, "VISITOR_TIMEOUT_S", 3.0)
    statuses: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        OIDCProvider.objects.update(issuer=f"http://127.0.0.1:{hanging.getsockname()[1]}")

        def wait(number: int) -> None:
            statuses.append(visitor(f"203.0.113.{number}").post(START).status_code)
            connection.close()

        threads = [threading.Thread(target=wait, args=(number,)) for number in (1, 2)]
        hanging.settimeout(20)
        for thread in threads:
            thread.start()
        held = [hanging.accept()[0] for _ in threads]  # both have asked
        response = visitor("203.0.113.3").post(START)
        assert response.status_code == 503
        assert "Please try again in a moment." in response.content.decode()
        for thread in threads:
            thread.join(20)
        for one in held:
            one.close()
    assert statuses == [502, 502]
    assert sorted(event.metadata["reason"] for event in events("login.failure")) == ["busy"] + ["provider_error"] * 2
    OIDCProvider.objects.update(issuer=sso.issuer)
    assert round_trip(visitor()).status_code == 302, "the places are free again"


def test_a_link_cannot_begin_a_sign_in(sso: OpenIDProvider) -> None:
    """GET is refused, and POST needs our own form's token: no other site can sign anybody in."""
    assert visitor().get(START).status_code == 405
    client = visitor()
    client.handler.enforce_csrf_checks = True
    assert client.post(START).status_code == 403
    assert sso.requests == []


def test_at_another_host_name_the_browser_is_sent_to_the_public_address_first(sso: OpenIDProvider) -> None:
    """The provider sends it back to the public address, and a session of another host is not there."""
    client = visitor()
    response = client.post(START, {"next": "/profile/"}, headers={"host": "localhost:8000"})
    assert leaving_to(response) == "http://127.0.0.1:8000/accounts/login/?next=%2Fprofile%2F"
    assert sso.requests == []


def test_nothing_happens_unless_it_can_be_recorded(sso: OpenIDProvider, broken_ledger: Broken) -> None:
    """The ledger is broken: no account, no binding, no session. Once it is whole, the same person comes in."""
    client = visitor()
    back = at_provider(leaving_to(client.post(START)))
    before = (User.objects.count(), Session.objects.count())
    with broken_ledger():
        response = client.get(back)
    assert response.status_code == 500
    assert not response.wsgi_request.user.is_authenticated
    assert not is_signed_in(client)
    assert (User.objects.count(), UserSession.objects.count(), Identity.objects.count()) == (before[0], 0, 0)
    assert round_trip(client).status_code == 302


@pytest.mark.parametrize("table", ["usersessions_usersession", "sso_identity"])
def test_nothing_is_recorded_unless_all_of_it_happens(sso: OpenIDProvider, table: str) -> None:
    """A session or a binding that cannot be kept: no event claims an account, a role or a sign-in."""
    client = visitor()
    back = at_provider(leaving_to(client.post(START)))
    count = len(events())
    with away(table):
        assert client.get(back).status_code == 500
    assert len(events()) == count
    assert not User.objects.filter(email="dana@example.com").exists()


def test_a_refusal_that_cannot_be_recorded_is_an_error(sso: OpenIDProvider, broken_ledger: Broken) -> None:
    """Nobody can try unseen."""
    with broken_ledger():
        assert visitor().get("/accounts/sso/1/callback/?state=x&code=y").status_code == 500


def test_many_failures_from_one_address_are_recorded_up_to_a_limit(sso: OpenIDProvider) -> None:
    """After twenty in a minute the answer is 429, and one more record tells that there was more."""
    client = visitor()
    statuses = [client.get("/accounts/sso/1/callback/?state=x").status_code for _ in range(25)]
    assert statuses == [400] * 20 + [429] * 5
    reasons = [event.metadata["reason"] for event in events("login.failure")]
    assert reasons == ["state_mismatch"] * 20 + ["rate_limited"]


def test_nothing_personal_is_left_in_the_tables_of_the_library(sso: OpenIDProvider) -> None:
    """Neither tokens nor claims nor the secret are kept where nobody would look for them."""
    round_trip(visitor())
    assert [model.objects.count() for model in (SocialApp, SocialAccount, SocialToken)] == [0, 0, 0]
    stored = repr([session.get_decoded() for session in Session.objects.all()])
    for secret in ("an access token", "a client's secret", "eyJ"):
        assert secret not in stored
