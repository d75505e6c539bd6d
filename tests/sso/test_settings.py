"""Settings → Single sign-on: what may be entered, what the log tells of it, and that nothing is switched on untested."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from opssentinal.errors import Conflict
from opssentinal.events.model import Change, Context
from opssentinal.ledger.recording import recording
from opssentinal.sso.models import Identity, OIDCProvider
from opssentinal.workspace.accounts import change_role, is_last_admin
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import user_actor
from tests.form import fields_of
from tests.sso.conftest import (
    PAGE,
    admin,
    admit,
    at_provider,
    connect,
    leaving_to,
    round_trip,
    visitor,
)
from tests.sso.openid_provider import CLIENT_ID, CLIENT_SECRET, DANA, OpenIDProvider
from tests.workspace.conftest import PASSWORD, away, events, is_signed_in, sign_in, unwritable

Broken = Callable[[], AbstractContextManager[None]]
NO_RULES = {"rules-TOTAL_FORMS": "0", "rules-INITIAL_FORMS": "0"}


def connection_form(op: OpenIDProvider, **changes: str) -> dict[str, str]:
    return {
        "name": "Keycloak",
        "issuer": op.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "scopes": "openid email groups",
    } | changes


def rules_form(*rules: tuple[str, str, str, str], **more: str) -> dict[str, str]:
    """The second form with rules of claim, value, role and order."""
    fields = {"rules-TOTAL_FORMS": str(len(rules)), "rules-INITIAL_FORMS": "0", "default_role": "member"}
    for number, rule in enumerate(rules):
        fields |= {
            f"rules-{number}-{name}": value
            for name, value in zip(("claim", "value", "role", "ORDER"), rule, strict=True)
        }
    return fields | more


def stored() -> dict[str, Any]:
    """The row as the database has it."""
    return dict(OIDCProvider.objects.values().get()) if OIDCProvider.objects.exists() else {}


def test_a_connection_is_stored_and_recorded_without_its_secret(op: OpenIDProvider, alice: User) -> None:
    """Before and after of all that changed; of the secret only that there is one, in the event, page and database."""
    client = admin()
    assert client.post(PAGE + "connection/", connection_form(op)).status_code == 302
    (event,) = events("oidc.configured")
    assert event.actor is not None
    assert event.actor.name == "Alice"
    assert [(target.type, target.id, target.name) for target in event.targets] == [
        ("oidc_provider", "oidc_1", "Keycloak")
    ]
    assert event.changes == [
        Change(field="name", before="", after="Keycloak"),
        Change(field="issuer", before="", after=op.issuer),
        Change(field="client_id", before="", after=CLIENT_ID),
        Change(field="scopes", before="openid profile email", after="openid email groups"),
        Change(field="client_secret", before=None, after="(hidden)"),
    ]
    page = client.get(PAGE).content.decode()
    assert "http://127.0.0.1:8000/accounts/sso/1/callback/" in page
    for place in (repr(events()), page.replace("&#x27;", "'"), repr(stored())):
        assert CLIENT_SECRET not in place


def test_an_empty_secret_keeps_the_one_there_is(op: OpenIDProvider, alice: User) -> None:
    """The form is write-only: nothing of the secret comes back, and nothing is lost by saving the rest."""
    client = admin()
    refused = client.post(PAGE + "connection/", connection_form(op, client_secret=""))
    assert refused.status_code == 400, "there is none to keep yet"
    client.post(PAGE + "connection/", connection_form(op))
    before = stored()["client_secret"]
    client.post(PAGE + "connection/", connection_form(op, client_secret="", name="Okta"))
    assert stored()["client_secret"] == before
    assert events()[-1].changes == [Change(field="name", before="Keycloak", after="Okta")]
    client.post(PAGE + "connection/", connection_form(op, client_secret="another", name="Okta"))
    assert events()[-1].changes == [Change(field="client_secret", before="(hidden)", after="(hidden)")]
    count = len(events())
    client.post(PAGE + "connection/", connection_form(op, client_secret="", name="Okta"))
    assert len(events()) == count, "nothing changed, nothing to record"


@pytest.mark.parametrize(
    ("form", "first", "second"),
    [
        ("connection/", {"name": "Okta"}, {"client_secret": "for the client that was shown"}),
        (
            "accounts/",
            {"rules-0-claim": "groups", "rules-0-value": "a", "rules-0-ORDER": "1"},
            {"domains": "example.org"},
        ),
        ("switch/", {"is_required": "on"}, {"is_enabled": ""}),
    ],
)
def test_a_page_out_of_date_undoes_nothing(
    sso: OpenIDProvider, form: str, first: dict[str, str], second: dict[str, str]
) -> None:
    """Of two admins who had it open the second is refused with the reason, and all that the first saved stays."""
    User.objects.create_user("carol@example.com", PASSWORD, role="admin")
    one, other = admin(), visitor()
    assert sign_in(other, "carol@example.com").status_code == 302
    early = fields_of(other.get(PAGE).content.decode(), PAGE + form)
    before = stored()
    assert one.post(PAGE + form, early | first).status_code == 302
    after_first, count = stored(), len(events())
    assert after_first != before
    answer = other.post(PAGE + form, early | second, follow=True)
    assert "Somebody else has changed these settings" in answer.content.decode()
    assert (stored(), len(events())) == (after_first, count)
    fresh = fields_of(other.get(PAGE).content.decode(), PAGE + form)
    assert "Somebody else" not in other.post(PAGE + form, fresh | second, follow=True).content.decode()
    assert stored() != after_first


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"issuer": "https://another.example.com"}, "which is not the issuer entered"),
        ({"token_endpoint": None}, "names no token_endpoint"),
        ({"jwks_uri": 7}, "names no jwks_uri"),
        ({"authorization_endpoint": "http://login.example.com/auth"}, "does not begin with https://"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "cannot be used"),
        ({"userinfo_endpoint": "http://10.0.0.1/userinfo"}, "cannot be used"),
        ({"token_endpoint": "http://169.254.169.254/"}, "cannot be used"),
        ({"response_types_supported": ["id_token"]}, "authorization code flow"),
        ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, "accepts no client secret"),
    ],
)
def test_an_issuer_whose_description_is_not_in_order_is_refused(
    op: OpenIDProvider, alice: User, metadata: dict[str, Any], said: str
) -> None:
    """The page says what is wrong; nothing is stored and nothing recorded."""
    op.metadata = metadata
    response = admin().post(PAGE + "connection/", connection_form(op))
    assert response.status_code == 400
    assert said in response.content.decode()
    assert stored() == {}
    assert events("oidc.configured") == []


@pytest.mark.parametrize(
    ("issuer", "said"),
    [
        ("{}/", "which is not the issuer entered"),
        ("{}/realms/none", "answers with status 404"),
        ("{}?x=1", "no query"),
        ("{}/.well-known/openid-configuration", "Enter the issuer only"),
        ("http://127.0.0.1:9", "cannot be reached"),
        ("http://10.0.0.1", "private address"),
        ("http://user:password@127.0.0.1", "no user name"),
        ("ftp://127.0.0.1", "must begin with https://"),
        ("keycloak", "must begin with https://"),
    ],
)
def test_what_is_no_issuer_is_refused(op: OpenIDProvider, alice: User, issuer: str, said: str) -> None:
    """Typed wrongly, unreachable, or an address the operator has not permitted."""
    response = admin().post(PAGE + "connection/", connection_form(op, issuer=issuer.format(op.issuer)))
    assert response.status_code == 400
    assert said in response.content.decode()
    assert stored() == {}


@pytest.mark.parametrize("scopes", ["profile email", 'openid "quoted"', "openid ä"])
def test_scopes_must_be_scopes_and_ask_for_an_id_token(op: OpenIDProvider, alice: User, scopes: str) -> None:
    """Without openid there is no ID token, and so no sign-in."""
    assert admin().post(PAGE + "connection/", connection_form(op, scopes=scopes)).status_code == 400
    assert op.requests == []


def test_who_may_come_in_is_stored_in_order_and_recorded(op: OpenIDProvider, alice: User) -> None:
    """Rules are kept in the order of their numbers, emptied ones go, and the event has before and after."""
    connect(op)
    rules = [("groups", "staff", "member", "2"), ("groups", "admins", "admin", "1"), ("", "", "member", "3")]
    form = rules_form(*rules, domains="Example.com\nexample.org example.com", provisions="on", default_role="none")
    assert admin().post(PAGE + "accounts/", form).status_code == 302
    assert [change.field for change in events()[-1].changes] == ["domains", "provisions", "default_role", "rules"]
    after = {change.field: change.after for change in events()[-1].changes}
    assert after["domains"] == ["example.com", "example.org"]
    assert after["default_role"] == ""
    assert [(rule["value"], rule["role"]) for rule in after["rules"]] == [("admins", "admin"), ("staff", "member")]
    page = admin().get(PAGE).content.decode()
    assert page.index('value="admins"') < page.index('value="staff"')


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (rules_form(domains="https://example.com"), "is not a domain"),
        (rules_form(domains="localhost"), "is not a domain"),
        (rules_form(("groups", "", "admin", "1")), "A rule needs a claim and a value."),
        (rules_form(("groups", "staff", "owner", "1")), "Select a valid choice"),
        (rules_form(default_role="owner"), "Select a valid choice"),
        (rules_form(default_role="none", provisions="on"), "Nobody would get a role"),
        (rules_form(*[("groups", str(number), "member", str(number)) for number in range(51)]), "at most 50 forms"),
    ],
)
def test_what_would_not_do_what_it_says_is_refused(
    op: OpenIDProvider, alice: User, fields: dict[str, str], said: str
) -> None:
    """Half a rule, no domain, no role: said on the page, and nothing changes."""
    connect(op)
    before = stored()
    response = admin().post(PAGE + "accounts/", fields)
    assert response.status_code == 400
    assert said in response.content.decode()
    assert stored() == before


def test_it_can_be_switched_on_only_once_a_test_has_worked(op: OpenIDProvider, alice: User) -> None:
    """A test is a whole round trip of the admin's own browser, which signs nobody in and changes no account."""
    connect(op, scopes="openid email groups")
    admit(("groups", "staff", "auditor"))
    client = admin()
    client.post(PAGE + "switch/", {"is_enabled": "on"})
    assert not stored()["is_enabled"]
    assert "Test the sign-in first" in client.get(PAGE).content.decode()
    accounts = User.objects.count()
    response = round_trip(client, PAGE + "test/")
    assert response["Location"] == PAGE + "tested/"
    shown = client.get(response["Location"]).content.decode()
    for expected in ("works", "would be created", "auditor", "groups is staff", "dana@example.com", "on-call"):
        assert expected in shown
    assert (User.objects.count(), Identity.objects.count(), events("login.success")[1:]) == (accounts, 0, [])
    assert "Alice" in client.get("/profile/").content.decode(), "she is still herself"
    (tested,) = events("oidc.tested")
    assert (tested.outcome, tested.metadata) == ("success", {"role": "auditor"})
    assert tested.actor is not None
    assert tested.actor.name == "Alice"
    assert DANA["email"] not in repr(tested), "claims are a person's and stay out of the log"
    client.post(PAGE + "switch/", {"is_enabled": "on"})
    assert events()[-1].changes == [Change(field="enabled", before=False, after=True)]
    assert round_trip(visitor()).status_code == 302


@pytest.mark.parametrize(
    "change",
    [{"client_id": "another"}, {"client_secret": "another"}, {"scopes": "openid"}],
    ids=["client", "secret", "scopes"],
)
def test_a_changed_connection_needs_a_new_test(sso: OpenIDProvider, change: dict[str, str]) -> None:
    """It goes off with the change, in the same event, and stays off until the new connection has passed."""
    client = admin()
    form = connection_form(sso, client_secret="", scopes="openid email") | change
    page = client.post(PAGE + "connection/", form, follow=True).content.decode()
    assert "off until the new connection has passed a test" in page
    assert Change(field="enabled", before=True, after=False) in events()[-1].changes
    client.post(PAGE + "switch/", {"is_enabled": "on"})
    assert not stored()["is_enabled"]


def test_another_issuer_needs_a_new_test(sso: OpenIDProvider) -> None:
    """The other provider's word has not been heard yet."""
    with OpenIDProvider() as other:
        admin().post(PAGE + "connection/", connection_form(other, client_secret="", scopes="openid email"))
    assert not stored()["is_enabled"]
    assert not OIDCProvider.objects.get().is_tested


def test_a_new_name_needs_no_test(sso: OpenIDProvider) -> None:
    """Only what the provider sees does."""
    admin().post(PAGE + "connection/", connection_form(sso, name="Okta", client_secret="", scopes="openid email"))
    assert stored()["is_enabled"]
    assert "Sign in with Okta" in visitor().get("/accounts/login/").content.decode()


def test_a_test_that_fails_says_why_and_counts_for_nothing(op: OpenIDProvider, alice: User) -> None:
    """The admin reads the detail that visitors are not told; it is no failed sign-in."""
    connect(op, client_secret="not this one")
    client = admin()
    response = round_trip(client, PAGE + "test/")
    assert "invalid_client" in client.get(response["Location"]).content.decode()
    (tested,) = events("oidc.tested")
    assert (tested.outcome, tested.metadata) == ("failure", {"reason": "provider_error"})
    assert events("login.failure") == []
    assert not OIDCProvider.objects.get().is_tested


def test_a_test_begins_at_the_public_address(op: OpenIDProvider, alice: User) -> None:
    """At another host name the answer would find no session: the page says where to go instead."""
    connect(op)
    client = admin()
    page = client.post(PAGE + "test/", headers={"host": "localhost:8000"}, follow=True).content.decode()
    assert "Open this page at http://127.0.0.1:8000" in page
    assert events("oidc.tested") == []


def test_a_test_of_a_provider_that_is_down_says_so(op: OpenIDProvider, alice: User) -> None:
    """It fails before the browser goes anywhere."""
    connect(op)
    OIDCProvider.objects.update(issuer="http://127.0.0.1:9")
    client = admin()
    response = client.post(PAGE + "test/", follow=True)
    assert "cannot be reached" in response.content.decode()
    assert events("oidc.tested")[0].outcome == "failure"


def test_a_test_says_when_such_a_sign_in_would_be_refused(op: OpenIDProvider, alice: User) -> None:
    """The connection works, and the admin sees that the address would not be let in."""
    connect(op)
    admit(domains=["example.org"])
    client = admin()
    shown = client.get(round_trip(client, PAGE + "test/")["Location"]).content.decode()
    assert "would be refused" in shown
    assert "dana@example.com is not allowed" in shown
    assert events("oidc.tested")[0].metadata == {"refusal": "domain_not_allowed"}
    assert OIDCProvider.objects.get().is_tested


def test_a_test_counts_for_the_connection_it_was_made_with(op: OpenIDProvider, alice: User) -> None:
    """Changed while the admin was at the provider: the answer belongs to the old one."""
    connect(op)
    client = admin()
    back = at_provider(leaving_to(client.post(PAGE + "test/")))
    connect(op, scopes="openid email groups")
    client.get(back)
    assert events("oidc.tested")[0].metadata == {"reason": "configuration_changed"}
    assert not OIDCProvider.objects.get().is_tested


def test_a_test_is_finished_by_the_admin_who_began_it(op: OpenIDProvider, alice: User, bob: User) -> None:
    """Not by another browser, not after signing out, and not by somebody who is no admin any more."""
    connect(op)
    client = admin()
    back = at_provider(leaving_to(client.post(PAGE + "test/")))
    assert visitor().get(back).status_code == 400
    User.objects.filter(pk=alice.pk).update(role="member")
    assert client.get(back)["Location"] == "/"
    assert events("oidc.tested") == []
    assert events()[-1].action == "access.denied"


def test_only_admins_reach_the_settings(sso: OpenIDProvider, bob: User) -> None:
    """A member is refused each page and each form; a visitor is sent to sign in; nothing changes."""
    before = stored()
    member = visitor()
    assert sign_in(member, bob.email).status_code == 302
    for name in ("", "connection/", "accounts/", "switch/", "test/", "tested/", "linked/"):
        for method in ("get", "post"):
            assert getattr(member, method)(PAGE + name).status_code == 403
            assert getattr(visitor(), method)(PAGE + name)["Location"].startswith("/accounts/login/?next=")
    assert stored() == before
    assert sso.requests.count("POST /token") == 0


CHANGES: list[tuple[str, dict[str, str]]] = [
    ("connection/", {"name": "Okta", "client_id": CLIENT_ID, "scopes": "openid email"}),
    ("accounts/", rules_form(domains="example.net")),
    ("switch/", {"is_required": "on"}),
]


@pytest.mark.parametrize(("path", "fields"), CHANGES)
def test_nothing_changes_unless_it_can_be_recorded(
    sso: OpenIDProvider, broken_ledger: Broken, path: str, fields: dict[str, str]
) -> None:
    """The ledger is broken: the answer is an error and the row as before."""
    client, before = admin(), stored()
    fields = fields | {"issuer": sso.issuer}
    with broken_ledger():
        assert client.post(PAGE + path, fields).status_code == 500
    assert stored() == before
    assert client.post(PAGE + path, fields).status_code == 302
    assert stored() != before


@pytest.mark.parametrize(("path", "fields"), CHANGES)
def test_nothing_is_recorded_unless_it_changes(sso: OpenIDProvider, path: str, fields: dict[str, str]) -> None:
    """The row cannot be written: no event claims that it was."""
    client = admin()
    count = len(events())
    with unwritable("sso_oidcprovider"):
        assert client.post(PAGE + path, fields | {"issuer": sso.issuer}).status_code == 500
    assert len(events()) == count


@pytest.mark.parametrize("table", ["ledger_bundle", "sso_oidcprovider"])
def test_a_test_that_cannot_be_recorded_does_not_count(op: OpenIDProvider, alice: User, table: str) -> None:
    """No record, no permission to switch on; and no record of a test that could not be noted."""
    connect(op)
    client = admin()
    back = at_provider(leaving_to(client.post(PAGE + "test/")))
    with unwritable(table):
        assert client.get(back).status_code == 500
    assert not OIDCProvider.objects.get().is_tested
    assert events("oidc.tested") == []


def test_unlinking_is_recorded_and_lets_the_address_link_anew(sso: OpenIDProvider, broken_ledger: Broken) -> None:
    """An admin finds the account by its address and unlinks it; without a record it stays linked."""
    round_trip(visitor())
    identity = Identity.objects.get()
    client = admin()
    assert DANA["sub"] in client.get(PAGE + "linked/?email=DANA").content.decode()
    assert DANA["sub"] not in client.get(PAGE + "linked/?email=bob").content.decode()
    with broken_ledger():
        assert client.post(PAGE + "linked/", {"identity": identity.pk}).status_code == 500
    assert Identity.objects.exists()
    count = len(events())
    with away("sso_identity"):
        assert client.post(PAGE + "linked/", {"identity": identity.pk}).status_code == 500
    assert len(events()) == count
    assert client.post(PAGE + "linked/", {"identity": identity.pk}).status_code == 302
    event = events()[-1]
    assert (event.action, event.targets[0].email) == ("user.updated", "dana@example.com")
    assert event.changes == [Change(field="single_sign_on", before=f"{DANA['sub']} at {sso.issuer}", after=None)]
    for wrong in (str(identity.pk), "0", "x", ""):
        assert client.post(PAGE + "linked/", {"identity": wrong}).status_code == 404


def test_claims_of_any_shape_are_shown(op: OpenIDProvider, alice: User) -> None:
    """Hundreds of groups, deep objects, markup: cut, escaped, and no fault."""
    connect(op)
    deep: Any = "end"
    for _ in range(40):
        deep = {"more": deep}
    op.person |= {"groups": [f"group {n}" for n in range(500)], "deep": deep, "x": "<script>alert(1)</script>" * 100}
    client = admin()
    response = client.get(round_trip(client, PAGE + "test/")["Location"])
    assert response.status_code == 200
    assert b"<script>alert" not in response.content
    assert "group 99" in response.content.decode()
    assert "group 100" not in response.content.decode()
    assert len(json.dumps(client.session["sso_test_result"])) < 20_000


def test_a_secret_under_another_server_key_is_a_fault_that_says_so(sso: OpenIDProvider, settings: Any) -> None:
    """The page still opens, signing in is told as the provider's fault, and entering the secret again mends it."""
    settings.SECRET_KEY = "another key of this server, long enough"
    response = visitor().post("/accounts/sso/1/")
    assert response.status_code == 502
    client = admin()
    client.post(PAGE + "test/")
    assert "cannot be read with this server" in client.get(PAGE + "tested/").content.decode()
    client.post(PAGE + "connection/", connection_form(sso))
    round_trip(client, PAGE + "test/")
    assert OIDCProvider.objects.get().is_tested


def test_without_a_password_an_admin_counts_while_single_sign_on_is_on(sso: OpenIDProvider, alice: User) -> None:
    """Alice may go while Dana can come in. Then it cannot be switched off, nor by a changed connection, and Dana stays."""
    admit(("groups", "staff", "admin"))
    client = visitor()
    round_trip(client)
    dana = User.objects.get(email="dana@example.com")
    assert (dana.is_admin, dana.has_usable_password()) == (True, False)
    assert not is_last_admin(alice)
    User.objects.filter(pk=alice.pk).update(role="member")
    before, count = stored(), len(events())
    page = client.post(PAGE + "switch/", {}, follow=True).content.decode()
    assert "Give an admin a password first." in page
    answer = client.post(PAGE + "connection/", connection_form(sso, scopes="openid email profile"))
    assert answer.status_code == 400
    assert "Give an admin a password first." in answer.content.decode()
    assert (stored(), len(events())) == (before, count)
    User.objects.filter(pk=alice.pk).update(role="admin", expires_at=timezone.now() + timedelta(days=9))
    client.post(PAGE + "switch/", {})
    assert stored() == before, "an admin whose time will be over is not enough"
    User.objects.filter(pk=alice.pk).update(expires_at=None)
    assert not is_last_admin(alice)
    client.post(PAGE + "switch/", {})
    assert not stored()["is_enabled"]
    assert is_last_admin(alice)
    with pytest.raises(Conflict), recording() as record:
        change_role(record, User.objects.get(pk=alice.pk), "member", user_actor(dana), Context())


def test_a_warning_where_no_admin_could_get_in_without_the_provider(sso: OpenIDProvider, alice: User) -> None:
    """And one where the provider's whole public would get accounts."""
    client = admin()
    assert "No admin has a password" not in client.get(PAGE).content.decode()
    assert "gets one here" in client.get(PAGE).content.decode()
    sso.person["email"] = alice.email
    round_trip(client := visitor())
    User.objects.update(password="!")
    client = visitor()
    round_trip(client)
    assert "No admin has a password" in client.get(PAGE).content.decode()
    admit(domains=["example.com"])
    assert "gets one here" not in client.get(PAGE).content.decode()
    assert is_signed_in(client)
