"""Making, checking and revoking keys; each change is in the log, and no secret is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from opssentinal.apikeys import authentication, services
from opssentinal.apikeys import token as tokens
from opssentinal.apikeys.authentication import authenticate, authenticate_cached, note_use
from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.principal import EVENTS_READ, EVENTS_WRITE, SCOPES
from opssentinal.apikeys.services import CreatedKey, revoke_key
from opssentinal.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from opssentinal.formats import event_json
from opssentinal.ledger.reader import head, newest
from opssentinal.workspace.models import User

from .conftest import ALICE, HERE

Make = Callable[..., CreatedKey]


def test_creating_a_key_is_recorded(make_key: Make) -> None:
    """api_key.created names the key, its scopes and its source, with the actor; the token is nowhere but in the answer."""
    expires_at = timezone.now() + timedelta(days=1)
    made = make_key(tenant="acme", expires_at=expires_at, networks=["10.0.0.0/8"])
    [event] = newest(5)
    assert (event.action, event.actor, event.context, event.source) == ("api_key.created", ALICE, HERE, "opssentinal")
    assert [(target.type, target.id, target.name) for target in event.targets] == [
        ("api_key", made.key.public_id, "Billing")
    ]
    assert event.metadata == {
        "scopes": [EVENTS_WRITE],
        "source": "billing",
        "tenant": "acme",
        "networks": ["10.0.0.0/8"],
        "expires_at": expires_at.isoformat().replace("+00:00", "Z"),
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM apikeys_apikey")
        stored = repr(cursor.fetchall())
    for text in (stored, event_json(event).decode()):
        assert made.token not in text
        assert made.token[12:44] not in text


def test_a_valid_token_gives_its_principal(make_key: Make) -> None:
    """The principal says what the key was made with."""
    made = make_key(tenant="acme", scopes=[EVENTS_READ, EVENTS_WRITE])
    principal = authenticate(made.token)
    assert (principal.id, principal.name, principal.source, principal.tenant) == (
        made.key.public_id,
        "Billing",
        "billing",
        "acme",
    )
    assert principal.scopes == {EVENTS_READ, EVENTS_WRITE}
    with pytest.raises(Forbidden):
        principal.require("keys:admin")


def test_a_wrong_checksum_costs_no_look_up(log: None, django_assert_num_queries: Any) -> None:
    """A token that cannot be one is refused without asking the database; a well-formed unknown one after one question."""
    token = tokens.make_token()
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    with django_assert_num_queries(0), pytest.raises(Unauthenticated):
        authenticate(wrong)
    with django_assert_num_queries(1), pytest.raises(Unauthenticated):
        authenticate(token)


def test_a_right_public_id_with_another_secret_is_refused(make_key: Make) -> None:
    """The public id is shown everywhere: it opens nothing."""
    made, other = make_key(), tokens.make_token()
    body = made.token[:12] + other[12:44]
    forged = body + tokens._checksum(body)
    assert tokens.is_well_formed(forged) and tokens.public_id(forged) == made.key.public_id
    with pytest.raises(Unauthenticated):
        authenticate(forged)


def test_the_cache_is_two_seconds_old_at_most(make_key: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked up serves for 2 seconds; then it is looked up again, and a revocation elsewhere is seen."""
    made = make_key()
    now = [1000.0]
    monkeypatch.setattr(authentication.time, "monotonic", lambda: now[0])
    assert authenticate_cached(made.token) is None
    authenticate(made.token)
    APIKey.objects.update(revoked_at=timezone.now())
    now[0] += authentication.CACHE_S - 0.01
    assert authenticate_cached(made.token) is not None
    now[0] += 0.01
    assert authenticate_cached(made.token) is None
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticate(made.token)
    assert authentication.CACHE_S <= 2


def test_revoking_stops_here_at_once_and_is_recorded(make_key: Make) -> None:
    """revoke_key forgets the cache, records api_key.revoked and refuses to do it twice."""
    made = make_key()
    authenticate(made.token)
    revoke_key(made.key.public_id, actor=ALICE, context=HERE)
    with pytest.raises(Unauthenticated) as refused:
        authenticate(made.token)
    assert refused.value.code == "key_revoked"
    assert [event.action for event in newest(5)] == ["api_key.revoked", "api_key.created"]
    with pytest.raises(Conflict):
        revoke_key(made.key.public_id, actor=ALICE, context=HERE)
    assert head().size == 2


def test_a_look_up_in_flight_does_not_outlive_a_revocation(make_key: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that read the key before it was revoked, and ends after, leaves nothing that is believed later."""
    made = make_key()
    look_up = authentication._look_up

    def overtaken(public_id: str, digest: str) -> Any:
        found = look_up(public_id, digest)
        revoke_key(public_id, actor=ALICE, context=HERE)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(authentication, "_look_up", overtaken)
        assert authenticate(made.token).id == made.key.public_id  # it asked before
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticate(made.token)


def test_a_key_of_another_tenant_cannot_be_revoked(make_key: Make) -> None:
    """Bound to a tenant, a key cannot be told apart from one that does not exist by somebody of another tenant."""
    made = make_key(tenant="acme")
    for public_id in (made.key.public_id, "00000000"):
        with pytest.raises(NotFound):
            revoke_key(public_id, actor=ALICE, context=HERE, tenant="other")
    assert authenticate(made.token)


def test_a_key_ends_with_the_account_that_made_it(make_key: Make) -> None:
    """Switching an account off ends the keys it created."""
    user = User.objects.create_user("alice@example.com", "correct horse battery", role="admin")
    made = make_key(created_by=user)
    assert authenticate(made.token)
    User.objects.update(is_active=False)
    authentication.forget_cached()
    with pytest.raises(Unauthenticated):
        authenticate(made.token)


@pytest.mark.parametrize("role", ["member", "auditor"])
def test_a_key_works_while_who_made_it_is_an_admin(make_key: Make, role: str) -> None:
    """However the role was lost; whether the key was revoked then is not what counts."""
    user = User.objects.create_user("alice@example.com", "correct horse battery", role="admin")
    made = make_key(created_by=user)
    assert authenticate(made.token)
    User.objects.update(role=role)
    authentication.forget_cached()
    with pytest.raises(Unauthenticated, match="not an active admin"):
        authenticate(made.token)


def test_last_use_is_written_once_a_minute(
    make_key: Make, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Using a key notes when, but no more often than each minute; asking whether it is one notes nothing."""
    made = make_key()
    principal = authenticate(made.token)
    made.key.refresh_from_db()
    assert made.key.last_used_at is None
    note_use(principal)
    made.key.refresh_from_db()
    first = made.key.last_used_at
    assert first is not None and abs(timezone.now() - first) < timedelta(seconds=30)
    with django_assert_num_queries(0):
        note_use(principal)
    monkeypatch.setattr(authentication, "LAST_USED_EVERY", timedelta(0))
    note_use(principal)
    made.key.refresh_from_db()
    assert made.key.last_used_at is not None and made.key.last_used_at > first


def test_a_use_noted_by_a_clock_that_was_ahead_is_noted_anew(make_key: Make) -> None:
    """A last use in the future is no last use."""
    made = make_key()
    made.key.last_used_at = timezone.now() + timedelta(days=400)
    made.key.save()
    note_use(authenticate(made.token))
    made.key.refresh_from_db()
    assert made.key.last_used_at is not None and made.key.last_used_at <= timezone.now()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"source": "Billing"}, "source"),
        ({"source": ""}, "source"),
        ({"source": "a" * 65}, "source"),
        ({"source": "opssentinal"}, "source"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["events:delete"]}, "scopes"),
        ({"networks": ["10.0.0.1/8"]}, "networks"),
        ({"networks": ["10.0.0.0/8"] * 51}, "networks"),
        ({"tenant": "x" * 129}, "tenant"),
    ],
)
def test_what_no_key_may_be(make_key: Make, fields: dict[str, Any], path: str) -> None:
    """Each field is checked, by name; no key may speak for the product itself."""
    with pytest.raises(InvalidInput) as refused:
        make_key(**fields)
    assert refused.value.path == path
    assert not APIKey.objects.exists()


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_is_kept_as_clients_addresses_are(make_key: Make, typed: str, kept: str) -> None:
    """A network of IPv4 spelt as one of IPv6 lets in whoever is in it; clients' addresses are spelt the shorter way."""
    made = make_key(networks=[typed])
    assert made.key.networks == [kept]
    inside = str(ip_network(kept).network_address)
    authenticate(made.token).require_network(inside)
    with pytest.raises(Forbidden):
        authenticate(made.token).require_network("2001:db7::1" if "." in kept else "192.0.2.1")


def test_a_key_made_before_lets_in_who_it_was_meant_for(make_key: Make) -> None:
    """What is stored in the longer spelling is read like what is entered now."""
    made = make_key()
    APIKey.objects.update(networks=["::ffff:10.0.0.0/104"])
    authenticate(made.token).require_network("10.1.2.3")


def test_a_key_does_not_begin_expired(make_key: Make) -> None:
    """An expiry in the past is a mistake."""
    with pytest.raises(InvalidInput):
        make_key(expires_at=timezone.now() - timedelta(seconds=1))


def test_what_is_told_of_a_key_has_no_secret(make_key: Make) -> None:
    """The facts of a key name everything but its token and hash."""
    made = make_key()
    said = repr(services.key_facts(made.key))
    assert made.token[12:] not in said and made.key.token_sha256 not in said


def test_scopes_are_a_closed_set() -> None:
    """There are these scopes and no others; the guide explains each."""
    from .test_token import GUIDE

    guide = GUIDE.read_text()
    assert set(SCOPES) == {
        "events:write", "events:read", "exports:read", "exports:write", "incidents:read", "incidents:write", "keys:admin",
    }  # fmt: skip
    assert all(f"`{scope}`" in guide for scope in SCOPES)
