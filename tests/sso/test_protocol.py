"""A provider that misbehaves, or somebody between it and us: every such answer is refused, recorded, and signs nobody in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from django.contrib.sessions.models import Session
from django.core.cache import cache

from opssentinal.sso.models import Identity, OIDCProvider
from opssentinal.workspace.models import User
from tests.sso.conftest import START, at_provider, connect, enable, leaving_to, round_trip, visitor
from tests.sso.openid_provider import CLIENT_ID, DANA, Claims, OpenIDProvider
from tests.workspace.conftest import events, is_signed_in

Change = Callable[[Claims], Claims]


def assert_refused(response: Any, reason: str, status: int = 403) -> None:
    """Nobody is signed in, nothing is created, and one event tells why."""
    assert response.status_code == status, response.content.decode()
    assert not is_signed_in(response.client)
    assert [event.metadata["reason"] for event in events("login.failure")] == [reason]
    assert events("login.success") == events("user.created") == []
    assert not Identity.objects.exists()
    assert not User.objects.filter(email="dana@example.com").exists()


def with_(**changes: Any) -> Change:
    """The claims with some of them changed; None leaves one out."""
    return lambda claims: {name: value for name, value in (claims | changes).items() if value is not None}


def test_the_request_carries_state_nonce_and_a_pkce_challenge(sso: OpenIDProvider) -> None:
    """All three are new each time, and the redirect URI is the registered one whatever the host name says."""
    client = visitor()
    for _ in range(2):
        at_provider(leaving_to(client.post(START, {"scope": "admin", "auth_params": "prompt=none"})))
    first, second = sso.asked
    for name, least in {"state": 16, "nonce": 43, "code_challenge": 43}.items():
        assert len(first[name]) >= least
        assert first[name] != second[name]
    assert set(first["scope"].split()) == {"openid", "email"}, "what a visitor adds does not reach the provider"
    assert "prompt" not in first


@pytest.mark.parametrize(
    ("supported", "used"),
    [(None, "basic"), (["client_secret_basic"], "basic"), (["client_secret_post", "client_secret_basic"], "post")],
)
def test_the_client_shows_its_secret_as_the_provider_wants_it(
    op: OpenIDProvider, alice: User, supported: list[str] | None, used: str
) -> None:
    """In the header unless the provider says otherwise, which is the default of the standard."""
    if supported:
        op.metadata["token_endpoint_auth_methods_supported"] = supported
    connect(op)
    enable()
    round_trip(visitor())
    assert op.authentication == [used]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_(nonce="another"), "nonce_mismatch"),
        (with_(nonce=None), "nonce_mismatch"),
        (with_(nonce=["a"]), "nonce_mismatch"),
        (with_(aud="another-client"), "token_invalid"),
        (with_(aud=None), "token_invalid"),
        (with_(aud=["another-client"]), "token_invalid"),
        (with_(aud=[CLIENT_ID, "another-client"]), "token_invalid"),
        (with_(aud=[CLIENT_ID, "another-client"], azp="another-client"), "token_invalid"),
        (with_(azp="another-client"), "token_invalid"),
        (with_(iss="https://id.example.com"), "token_invalid"),
        (with_(iss=None), "token_invalid"),
        (with_(exp=int(time.time()) - 3_600), "token_expired"),
        (with_(exp=None), "token_invalid"),
        (with_(iat=int(time.time()) + 86_400), "token_invalid"),
        (with_(nbf=int(time.time()) + 86_400), "token_invalid"),
        (with_(iat=None), "token_invalid"),
        (with_(sub=None), "token_invalid"),
        (with_(sub=""), "token_invalid"),
        (with_(sub="x" * 256), "token_invalid"),
        (with_(sub=7), "token_invalid"),
    ],
)
def test_a_token_whose_claims_are_wrong_is_refused(sso: OpenIDProvider, change: Change, reason: str) -> None:
    """Signed as it should be, and yet not the answer to this sign-in at this product."""
    sso.token_claims = change
    assert_refused(round_trip(visitor()), reason)


def test_an_audience_of_several_is_accepted_if_it_was_made_for_us(sso: OpenIDProvider) -> None:
    """`azp` says for whom."""
    sso.token_claims = with_(aud=["another-client", CLIENT_ID], azp=CLIENT_ID)
    assert round_trip(visitor()).status_code == 302


def test_a_clock_that_is_a_little_off_is_no_fault(sso: OpenIDProvider) -> None:
    """Half a minute either way."""
    sso.token_claims = with_(exp=int(time.time()) - 20, iat=int(time.time()) + 20)
    assert round_trip(visitor()).status_code == 302


def _unsigned(op: OpenIDProvider, claims: Claims) -> str:
    return jwt.encode(claims, None, algorithm="none", headers={"kid": "one"})


def _hmac_with_public_key(op: OpenIDProvider, claims: Claims) -> str:
    """HS256 with what everybody knows as the key: PyJWT refuses to make it, so by hand."""
    pem = (
        op.keys[0]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    parts = [{"alg": "HS256", "typ": "JWT", "kid": "one"}, claims]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    mark = base64.urlsafe_b64encode(hmac.new(pem, text, hashlib.sha256).digest()).rstrip(b"=")
    return (text + b"." + mark).decode()


def _stripped(op: OpenIDProvider, claims: Claims) -> str:
    return op.signed(claims).rpartition(".")[0] + "."


def _altered(op: OpenIDProvider, claims: Claims) -> str:
    head, _, mark = op.signed(claims).split(".")
    other = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "admin"}).encode()).rstrip(b"=").decode()
    return f"{head}.{other}.{mark}"


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(_unsigned, id="alg none"),
        pytest.param(_hmac_with_public_key, id="HS256 with the public key"),
        pytest.param(lambda op, claims: jwt.encode(claims, "x" * 64, "HS256", {"kid": "one"}), id="HS256"),
        pytest.param(lambda op, claims: op.signed(claims, key=1), id="another key under the same name"),
        pytest.param(lambda op, claims: op.signed(claims, key=1, kid="two"), id="a key that is not published"),
        pytest.param(lambda op, claims: op.signed(claims, key=1, kid=None), id="another key without a name"),
        pytest.param(lambda op, claims: op.signed(claims, algorithm="RS512"), id="another algorithm than the key's"),
        pytest.param(_stripped, id="no signature"),
        pytest.param(_altered, id="altered claims"),
        pytest.param(lambda op, claims: "not a token", id="no token"),
        pytest.param(lambda op, claims: "", id="empty"),
        pytest.param(lambda op, claims: None, id="none at all"),
    ],
)
def test_a_token_that_the_provider_did_not_sign_is_refused(
    sso: OpenIDProvider, forged: Callable[[OpenIDProvider, Claims], str]
) -> None:
    """Whatever it says, and although it came from the token endpoint."""
    sso.sign = lambda claims: forged(sso, claims)
    assert_refused(round_trip(visitor()), "token_invalid")


def test_a_token_without_the_name_of_its_key_is_checked_with_the_only_one(sso: OpenIDProvider) -> None:
    """RFC 7517: `kid` is optional."""
    sso.sign = lambda claims: sso.signed(claims, kid=None)
    assert round_trip(visitor()).status_code == 302


def test_userinfo_of_another_subject_is_refused(sso: OpenIDProvider) -> None:
    """Otherwise somebody's token could be dressed with somebody else's address."""
    sso.userinfo = with_(sub="somebody-else")
    assert_refused(round_trip(visitor()), "token_invalid")


def test_what_the_signed_token_says_stands_over_userinfo(sso: OpenIDProvider) -> None:
    """The address of the token is the one that counts."""
    sso.token_claims = with_(email="dana@corp.example", email_verified=True)
    round_trip(visitor())
    assert User.objects.filter(email="dana@corp.example").exists()


def test_an_address_and_its_verification_are_not_mixed_from_two_sources(sso: OpenIDProvider) -> None:
    """Each vouches for the address it names, and not for one that the other names."""
    sso.token_claims = with_(email="alice@example.com")
    assert_refused(round_trip(visitor()), "email_unverified")
    sso.token_claims = with_(email_verified=True)
    sso.person["email_verified"] = False
    assert round_trip(visitor()).status_code == 403
    sso.token_claims = with_(email=DANA["email"])
    sso.person["email_verified"] = True
    assert round_trip(visitor()).status_code == 302, "both name the same one"


def test_an_answer_is_good_for_one_browser_once(sso: OpenIDProvider) -> None:
    """State is bound to the session that began: another browser cannot use it, and the same one not twice."""
    client = visitor()
    back = at_provider(leaving_to(client.post(START)))
    assert_refused(visitor().get(back), "state_mismatch", 400)
    assert client.get(back).status_code == 302
    assert client.post("/accounts/logout/").status_code == 302
    assert client.get(back).status_code == 400
    assert not is_signed_in(client)


@pytest.mark.parametrize("query", ["", "?code=x", "?code=x&state=", "?code=x&state=invented"])
def test_an_answer_that_was_not_asked_for_is_refused(sso: OpenIDProvider, query: str) -> None:
    """Nobody can be signed in to somebody else's account by a link."""
    assert_refused(visitor().get(f"/accounts/sso/1/callback/{query}"), "state_mismatch", 400)


def test_a_state_is_over_after_ten_minutes(sso: OpenIDProvider) -> None:
    """An answer to a sign-in that was begun long ago is refused."""
    client = visitor()
    back = at_provider(leaving_to(client.post(START)))
    stored = client.session
    for kept in stored["socialaccount_states"].values():
        kept[1] -= 601
    stored.save()
    assert_refused(client.get(back), "state_mismatch", 400)


@pytest.mark.parametrize("issuer", ["https://another.example.com", None, ""])
def test_the_answer_of_another_issuer_is_refused(sso: OpenIDProvider, issuer: str | None) -> None:
    """RFC 9207 against mix-up: the code is not even sent to the token endpoint."""
    sso.answer["iss"] = issuer
    assert_refused(round_trip(visitor()), "issuer_mismatch")
    assert "POST /token" not in sso.requests


def test_a_provider_that_does_not_name_itself_in_answers_may_leave_it_out(op: OpenIDProvider, alice: User) -> None:
    """Older providers know nothing of RFC 9207; a wrong name is refused all the same."""
    op.metadata["authorization_response_iss_parameter_supported"] = False
    connect(op)
    enable()
    op.answer["iss"] = None
    assert round_trip(visitor()).status_code == 403, "not provisioned: the token was accepted"
    op.answer["iss"] = "https://another.example.com"
    round_trip(visitor())
    assert [event.metadata["reason"] for event in events("login.failure")] == ["not_provisioned", "issuer_mismatch"]


def test_a_discovery_document_that_changes_its_issuer_stops_signing_in(sso: OpenIDProvider) -> None:
    """It is compared each time it is fetched: whoever takes over the address cannot pass off as the provider."""
    client = visitor()
    back = at_provider(leaving_to(client.post(START)))
    sso.metadata["issuer"] = "https://another.example.com"
    cache.clear()  # a minute later
    assert_refused(client.get(back), "provider_error", 502)


@pytest.mark.parametrize(
    ("error", "reason", "status"), [("access_denied", "cancelled", 403), ("server_error", "provider_error", 502)]
)
def test_an_error_of_the_provider_is_told_and_recorded(
    sso: OpenIDProvider, error: str, reason: str, status: int
) -> None:
    """Cancelling there is no fault of anybody, other errors are the provider's. Its text is not repeated to visitors."""
    sso.answer |= {"code": None, "error": error, "error_description": "<b>call 555-0100</b>"}
    response = round_trip(visitor())
    assert_refused(response, reason, status)
    assert "555-0100" not in response.content.decode()


def test_a_wrong_client_secret_is_a_fault_of_the_connection(sso: OpenIDProvider) -> None:
    """The provider refuses the code; nothing of it reaches the visitor."""
    connect(sso, client_secret="not this one")
    enable()
    assert_refused(round_trip(visitor()), "provider_error", 502)


def test_a_changed_connection_ends_what_was_begun_with_the_old_one(sso: OpenIDProvider) -> None:
    """A code of one client is never shown to another."""
    client = visitor()
    back = at_provider(leaving_to(client.post(START)))
    connect(sso, scopes="openid email groups")
    enable()
    assert_refused(client.get(back), "configuration_changed", 400)
    assert "POST /token" not in sso.requests


def test_a_provider_that_is_down_is_recorded_and_told(sso: OpenIDProvider) -> None:
    """The button leads to a page that says so."""
    client = visitor()
    OIDCProvider.objects.update(issuer="http://127.0.0.1:9")
    assert_refused(client.post(START), "provider_error", 502)


def test_an_internal_address_is_asked_only_where_the_operator_permits_it(sso: OpenIDProvider, settings: Any) -> None:
    """The provider's own documents cannot lead the product into the network it stands in."""
    client = visitor()
    back = at_provider(leaving_to(client.post(START)))
    sso.metadata["jwks_uri"] = "http://169.254.169.254/latest/meta-data/"
    cache.clear()  # a minute later
    assert_refused(client.get(back), "provider_error", 502)


def test_a_pkce_verifier_belongs_to_its_own_sign_in(sso: OpenIDProvider) -> None:
    """A code that was given to another request is refused by the provider: it was injected."""
    client = visitor()
    stolen = parse_qs(urlsplit(at_provider(leaving_to(visitor().post(START)))).query)["code"][0]
    sso.answer["code"] = stolen
    assert_refused(round_trip(client), "provider_error", 502)


def test_a_refused_visitor_keeps_no_session(sso: OpenIDProvider) -> None:
    """What the provider said of somebody who may not come in is not kept."""
    sso.person["email_verified"] = False
    round_trip(visitor())
    assert DANA["sub"] not in repr([session.get_decoded() for session in Session.objects.all()])
